//! What has been tried for a request. Bounds the attempts; never makes one.

/// Attempts at one request, whatever the reason for the next.
const MOST_ATTEMPTS: u32 = 8;

/// The attempts at a request.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Keys of the instances that are not asked again.
    tried: Vec<u64>,
    attempts: u32,
    /// A connection that had been idle broke: no other one is taken.
    fresh_only: bool,
    /// One instance has let the request wait for an answer in vain.
    kept_waiting: bool,
}

impl Tries {
    /// What refused before may be gone, and others may have come: all may be tried again.
    pub(super) fn begin_anew(&mut self) {
        self.tried.clear();
        self.attempts = 0;
    }

    /// There is one more.
    pub(super) fn count(&mut self) {
        self.attempts += 1;
    }

    /// How many there were.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether there is none left.
    pub(super) fn are_used_up(&self) -> bool {
        self.attempts >= MOST_ATTEMPTS
    }

    /// The instances that are not asked again.
    pub(super) fn tried(&self) -> &[u64] {
        &self.tried
    }

    /// This instance is not asked again.
    pub(super) fn rule_out(&mut self, key: u64) {
        self.tried.push(key);
    }

    /// A connection that had been idle broke.
    pub(super) fn want_fresh(&mut self) {
        self.fresh_only = true;
    }

    /// Whether a connection may be taken that has been idle.
    pub(super) fn may_take_idle(&self) -> bool {
        !self.fresh_only
    }

    /// An instance let the request wait for an answer in vain.
    pub(super) fn kept_waiting(&mut self) {
        self.kept_waiting = true;
    }

    /// Whether one has.
    pub(super) fn were_kept_waiting(&self) -> bool {
        self.kept_waiting
    }
}
