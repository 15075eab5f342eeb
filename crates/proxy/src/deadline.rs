//! A point in time on the proxy's clock at which a wait ends, or never.

use std::sync::atomic::{AtomicU64, Ordering};

/// The time at which something is due. Never is later than all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// Returns a deadline that never comes.
    pub(crate) const fn never() -> Self {
        Self(u64::MAX)
    }

    /// Returns a deadline at that time, in milliseconds by the proxy's clock.
    pub(crate) const fn at(ms: u64) -> Self {
        // A deadline whose number would mean never still comes.
        Self(if ms == u64::MAX { u64::MAX - 1 } else { ms })
    }

    /// Returns whether the deadline never comes.
    pub(crate) const fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    /// Returns whether the deadline has passed. Never does not pass.
    pub(crate) const fn is_over(self, now_ms: u64) -> bool {
        self.0 <= now_ms && !self.is_never()
    }
}

/// A deadline that one thread sets for others.
#[derive(Debug)]
pub(crate) struct SharedDeadline(AtomicU64);

impl SharedDeadline {
    /// Returns a deadline that never comes.
    pub(crate) const fn never() -> Self {
        Self(AtomicU64::new(Deadline::never().0))
    }

    pub(crate) fn set(&self, deadline: Deadline) {
        self.0.store(deadline.0, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Deadline {
        Deadline(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_comes_last_and_does_not_come() {
        let last = Deadline::at(u64::MAX);
        assert!(!last.is_never(), "a drain for ever is a drain");
        assert!(last < Deadline::never());
        assert_eq!(Deadline::never().min(Deadline::at(5)), Deadline::at(5));
        assert!(Deadline::at(5).is_over(5));
        assert!(!Deadline::at(5).is_over(4));
        assert!(!Deadline::never().is_over(u64::MAX));
        let shared = SharedDeadline::never();
        assert!(shared.get().is_never());
        shared.set(last);
        assert_eq!(shared.get(), last);
    }
}
