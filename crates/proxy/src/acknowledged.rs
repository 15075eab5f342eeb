//! The order on which I2 rests: what all workers have acknowledged is read before the requests in flight.
//! Kept apart, with its atomics from `sync.rs`, so that `tests/orders` can try every order of the threads.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The newest snapshot that one worker has acknowledged: the worker sends nothing any more to an instance
/// that the snapshot lacks, beyond what it has counted as in flight before.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(AtomicU64);

impl Acknowledged {
    /// Acknowledges the snapshot of that sequence. The worker has counted all its requests before.
    pub(crate) fn set(&self, sequence: u64) {
        self.0.store(sequence, Ordering::Release);
    }

    /// The sequence of the snapshot. Whoever reads it sees all requests that the worker has counted before.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// How many requests and tunnels are in flight on one instance.
#[derive(Debug, Default)]
pub(crate) struct InFlightCount(AtomicU32);

impl InFlightCount {
    /// Counts one more. Returns how many there were before.
    pub(crate) fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Counts one less. Returns how many there were before.
    pub(crate) fn remove(&self) -> u32 {
        self.0.fetch_sub(1, Ordering::SeqCst)
    }

    /// The count for a report.
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// The count for a pick, which may be a moment old.
    pub(crate) fn estimate(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads what is acknowledged, and then what is in flight. The other order would miss a request that is
/// sent between the two: its worker acknowledges the snapshot without the instance right after, and the
/// instance is stopped under the request.
pub(crate) fn in_order<A, C>(
    acknowledged: impl FnOnce() -> A,
    in_flight: impl FnOnce(&A) -> C,
) -> (A, C) {
    let acknowledged = acknowledged();
    let in_flight = in_flight(&acknowledged);
    (acknowledged, in_flight)
}
