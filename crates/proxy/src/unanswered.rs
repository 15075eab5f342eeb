//! Measures for how long requests of an app have waited with none succeeding, over all workers, exactly.
//! Costs three uncontended atomic operations per request. Kept apart, with its atomics from `sync.rs`, so
//! that `tests/orders` can try every order of the threads.

use std::sync::Arc;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The gaps of one app. Times are milliseconds by the proxy's clock.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct AvailabilityGap {
    waiting: AtomicU32,
    /// The time of the last success, or the time when the first of the waiting requests came.
    since_ms: AtomicU64,
    /// The longest gap since it was last taken, plus one; 0 without traffic.
    longest: AtomicU64,
}

impl AvailabilityGap {
    /// Notes that a request has come.
    pub(crate) fn begin(self: &Arc<Self>, now_ms: u64) -> UnansweredRequest {
        // The time is set before the count, so a thread that sees a request waiting also sees since when.
        if self.waiting.load(Ordering::Acquire) == 0 {
            self.since_ms.fetch_max(now_ms, Ordering::AcqRel);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        UnansweredRequest { gap: Arc::clone(self) }
    }

    /// Returns the longest gap that ended since the last call, or the one that still lasts. `None`
    /// without traffic. A gap that lasts is returned again by the next call, longer.
    pub(crate) fn take_ms(&self, now_ms: u64) -> Option<u64> {
        let ended = self.longest.swap(0, Ordering::AcqRel);
        let lasting = match self.waiting.load(Ordering::Acquire) {
            0 => 0,
            _ => now_ms.saturating_sub(self.since_ms.load(Ordering::Acquire)) + 1,
        };
        ended.max(lasting).checked_sub(1)
    }

    fn close(&self, now_ms: u64) {
        let since = self.since_ms.fetch_max(now_ms, Ordering::AcqRel);
        let gap = now_ms.saturating_sub(since) + 1;
        if self.longest.load(Ordering::Relaxed) < gap {
            self.longest.fetch_max(gap, Ordering::AcqRel);
        }
    }
}

/// One request that waits for its answer.
#[derive(Debug)]
pub(crate) struct UnansweredRequest {
    gap: Arc<AvailabilityGap>,
}

impl UnansweredRequest {
    /// Notes that the answer has come.
    pub(crate) fn succeeded(self, now_ms: u64) {
        self.gap.close(now_ms);
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        self.gap.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
