//! Failures in a row, and the time without requests that follows from them. All workers share it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use balance::Ejection;

/// The results of attempts at an instance or a host: how often in a row they failed by its own fault, and
/// its ejection for that.
#[derive(Debug)]
pub(crate) struct Failures {
    /// The number of failures in a row that eject.
    limit: u32,
    in_a_row: AtomicU32,
    rests_until_ms: AtomicU64,
    rests: AtomicU32,
}

impl Failures {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            in_a_row: AtomicU32::new(0),
            rests_until_ms: AtomicU64::new(0),
            rests: AtomicU32::new(0),
        }
    }

    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.rests_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Returns whether there were failures since the last success.
    pub(crate) fn are_there(&self) -> bool {
        self.in_a_row.load(Ordering::Relaxed) != 0
    }

    /// Returns whether it was ejected and nothing has succeeded since.
    pub(crate) fn is_doubted(&self) -> bool {
        self.rests_until_ms.load(Ordering::Relaxed) != 0 && self.are_there()
    }

    /// Notes a success.
    pub(crate) fn succeeded(&self) {
        if self.are_there() {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Ends the ejection.
    pub(crate) fn end(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.rests_until_ms.store(0, Ordering::Relaxed);
    }

    /// Counts a failure. Returns whether there are now too many.
    pub(crate) fn failed(&self) -> bool {
        self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= self.limit
    }

    /// Ejects for a while. After it one more failure is enough, until something has succeeded.
    pub(crate) fn eject(&self, now_ms: u64) {
        let before = Ejection {
            until_ms: self.rests_until_ms.load(Ordering::Relaxed),
            times: self.rests.load(Ordering::Relaxed),
        };
        let next = balance::time_out(before, now_ms);
        self.rests_until_ms.store(next.until_ms, Ordering::Relaxed);
        self.rests.store(next.times, Ordering::Relaxed);
        self.in_a_row.store(self.limit - 1, Ordering::Relaxed);
    }

    /// Prolongs the ejection until then, without counting another one.
    pub(crate) fn rest_until(&self, until_ms: u64) {
        self.rests_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }
}
