//! The attempts at a request. Bounds their number; never makes one.

/// The bound on attempts at one request, for all reasons together.
const MOST_ATTEMPTS: u32 = 8;

/// The attempts at a request.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The keys of the instances and hosts that are not tried again.
    tried: Vec<u64>,
    attempts: u32,
    /// True after a reused connection broke: further attempts open new ones.
    fresh_only: bool,
    /// True if one instance has let the request wait for an answer in vain.
    kept_waiting: bool,
}

impl Tries {
    /// Allows all instances again: those that refused may be gone, and others may have come.
    pub(super) fn begin_anew(&mut self) {
        self.tried.clear();
        self.attempts = 0;
    }

    /// Counts an attempt.
    pub(super) fn count(&mut self) {
        self.attempts += 1;
    }

    /// Returns the number of attempts.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns whether no attempt is left.
    pub(super) fn are_used_up(&self) -> bool {
        self.attempts >= MOST_ATTEMPTS
    }

    /// Returns the keys of the instances and hosts that are not tried again.
    pub(super) fn tried(&self) -> &[u64] {
        &self.tried
    }

    /// Excludes an instance, or all instances of a host, from further attempts.
    pub(super) fn rule_out(&mut self, key: u64) {
        self.tried.push(key);
    }

    /// Notes that a reused connection broke.
    pub(super) fn want_fresh(&mut self) {
        self.fresh_only = true;
    }

    /// Returns whether an attempt may take an idle connection.
    pub(super) fn may_take_idle(&self) -> bool {
        !self.fresh_only
    }

    /// Notes that an instance let the request wait for an answer in vain.
    pub(super) fn kept_waiting(&mut self) {
        self.kept_waiting = true;
    }

    /// Returns whether an instance let the request wait for an answer in vain.
    pub(super) fn were_kept_waiting(&self) -> bool {
        self.kept_waiting
    }
}
