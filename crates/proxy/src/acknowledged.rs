//! The order on which I2 rests: reports read the acknowledgements of all workers before the requests in
//! flight. Kept apart, with its atomics from `sync.rs`, so that `tests/orders` can try every order of the
//! threads.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The newest snapshot that one worker has acknowledged. To an instance that the snapshot lacks, the
/// worker sends nothing any more, except for requests that it has counted as in flight before.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(AtomicU64);

impl Acknowledged {
    /// Acknowledges the snapshot of that sequence. The worker must have counted all its requests before.
    pub(crate) fn set(&self, sequence: u64) {
        self.0.store(sequence, Ordering::Release);
    }

    /// Returns the sequence of the snapshot. A reader sees all requests that the worker has counted
    /// before.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The number of requests and tunnels in flight on one instance.
#[derive(Debug, Default)]
pub(crate) struct InFlightCount(AtomicU32);

impl InFlightCount {
    /// Adds one. Returns the count before.
    pub(crate) fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Removes one. Returns the count before.
    pub(crate) fn remove(&self) -> u32 {
        self.0.fetch_sub(1, Ordering::SeqCst)
    }

    /// Returns the count for a report.
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Returns the count for a pick. It may be slightly out of date.
    pub(crate) fn estimate(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads the acknowledgements, and then the requests in flight. The other order would miss a request that
/// is sent between the two: its worker acknowledges the snapshot without the instance right after, and
/// the instance would be stopped while it serves the request.
pub(crate) fn in_order<A, C>(
    acknowledged: impl FnOnce() -> A,
    in_flight: impl FnOnce(&A) -> C,
) -> (A, C) {
    let acknowledged = acknowledged();
    let in_flight = in_flight(&acknowledged);
    (acknowledged, in_flight)
}
