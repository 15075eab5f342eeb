//! How a client delivers its body: not more than it may, and not slower. Measures only the time in
//! which it is the client that is waited for, and all that has come: who sent most of it at once may
//! pause for longer, unless connections are scarce.

use http1::RequestHead;

use crate::pace::{Pace, Progress};

/// One request's body on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intake {
    most: u64,
    taken: u64,
    /// Its length was declared: whoever sends it has it. What is open-ended may take its time, unless
    /// connections are scarce.
    declared: bool,
    waited_ms: u64,
    progress: Progress,
}

/// The body is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Intake {
    pub(crate) fn new(head: &RequestHead) -> Self {
        let declared = head.content_length().is_some();
        let progress = Progress::default();
        Self { most: u64::MAX, taken: 0, declared, waited_ms: 0, progress }
    }

    /// Not more bytes than these; none for as many as come. Tells whether the head already says too
    /// much.
    pub(crate) fn bound(&mut self, most: Option<u64>, head: &RequestHead) -> Result<(), TooLarge> {
        self.most = most.unwrap_or(u64::MAX);
        let too_large = head.content_length().is_some_and(|length| length > self.most);
        if too_large { Err(TooLarge) } else { Ok(()) }
    }

    /// So many bytes of the body have been passed on.
    ///
    /// # Errors
    /// If these are more than allowed.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.taken = self.taken.saturating_add(bytes as u64);
        if self.taken > self.most { Err(TooLarge) } else { Ok(()) }
    }

    /// All bytes that have been passed on.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The client was waited for from `since_ms` to `now_ms`.
    pub(crate) fn waited(&mut self, since_ms: u64, now_ms: u64, pace: Pace) {
        self.waited_ms = self.waited_ms.saturating_add(now_ms.saturating_sub(since_ms));
        self.progress.waited(since_ms, now_ms, pace);
    }

    /// Until when more has to come, if it has been waited for since then.
    pub(crate) fn due_ms(&self, since_ms: u64, pace: Pace) -> u64 {
        self.declared_due_ms(since_ms, pace).min(self.progress.due_ms(since_ms, pace))
    }

    /// Whether less has come than has to by now, if it has been waited for since `since_ms`.
    pub(crate) fn is_late(&mut self, since_ms: u64, now_ms: u64, pace: Pace) -> bool {
        let lacks = now_ms >= self.progress.due_ms(since_ms, pace)
            && !self.progress.suffices(self.taken, now_ms, pace);
        lacks || now_ms >= self.declared_due_ms(since_ms, pace)
    }

    fn declared_due_ms(&self, since_ms: u64, pace: Pace) -> u64 {
        let most_ms = match (self.declared, pace.rate) {
            (false, _) | (_, 0) => return u64::MAX,
            (true, rate) => self.taken.saturating_mul(1000) / rate,
        };
        let left_ms = most_ms.max(pace.grace.0).saturating_sub(self.waited_ms);
        since_ms.saturating_add(left_ms)
    }
}
