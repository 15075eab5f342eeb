//! Limits on the size and the pace of a client's body. Only the time in which the proxy waits for the
//! client counts, and all bytes so far count: a client that has sent most of its body at once may pause
//! for longer, unless connections are scarce.

use http1::RequestHead;

use crate::deadline::Deadline;
use crate::pace::{LeastPace, TransferProgress};

/// The limits of one request's body on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// The largest number of bytes, if there is a bound.
    most: Option<u64>,
    taken: u64,
    /// True if the length was declared: the client then has the whole body. An open-ended body may take
    /// its time, unless connections are scarce.
    declared: bool,
    waited_ms: u64,
    progress: TransferProgress,
}

/// The body is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl BodyLimits {
    pub(crate) fn new(head: &RequestHead) -> Self {
        let declared = head.content_length().is_some();
        let progress = TransferProgress::default();
        Self { most: None, taken: 0, declared, waited_ms: 0, progress }
    }

    /// Sets the largest number of bytes; `None` for no bound.
    ///
    /// # Errors
    /// If the head already declares more.
    pub(crate) fn bound(&mut self, most: Option<u64>, head: &RequestHead) -> Result<(), TooLarge> {
        self.most = most;
        self.allow(head.content_length().unwrap_or(0))
    }

    /// Counts bytes of the body that have been passed on.
    ///
    /// # Errors
    /// If the body is larger than allowed.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.taken = self.taken.saturating_add(bytes as u64);
        self.allow(self.taken)
    }

    fn allow(&self, bytes: u64) -> Result<(), TooLarge> {
        if self.most.is_some_and(|most| bytes > most) { Err(TooLarge) } else { Ok(()) }
    }

    /// Returns the number of bytes that have been passed on.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Counts the time from `since_ms` to `now_ms` as time spent waiting for the client.
    pub(crate) fn waited(&mut self, since_ms: u64, now_ms: u64, pace: LeastPace) {
        self.waited_ms = self.waited_ms.saturating_add(now_ms.saturating_sub(since_ms));
        self.progress.waited(since_ms, now_ms, pace);
    }

    /// Returns when more has to have come, if the proxy has waited for the client since `since_ms`.
    pub(crate) fn due(&self, since_ms: u64, pace: LeastPace) -> Deadline {
        self.declared_due(since_ms, pace).min(self.progress.due(since_ms, pace))
    }

    /// Returns whether less has come than is required by now, if the proxy has waited for the client
    /// since `since_ms`.
    pub(crate) fn is_late(&mut self, since_ms: u64, now_ms: u64, pace: LeastPace) -> bool {
        let lacks = self.progress.due(since_ms, pace).is_over(now_ms)
            && !self.progress.suffices(self.taken, now_ms, pace);
        lacks || self.declared_due(since_ms, pace).is_over(now_ms)
    }

    fn declared_due(&self, since_ms: u64, pace: LeastPace) -> Deadline {
        let most_ms = match (self.declared, pace.rate) {
            (false, _) | (_, 0) => return Deadline::never(),
            (true, rate) => self.taken.saturating_mul(1000) / rate,
        };
        let left_ms = most_ms.max(pace.grace.0).saturating_sub(self.waited_ms);
        Deadline::at(since_ms.saturating_add(left_ms))
    }
}
