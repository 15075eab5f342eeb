//! How a client delivers its body: not more than it may, and not slower. Measures only the time in
//! which it is the client that is waited for, and all that has come: who sent most of it at once may
//! pause for longer.

use http1::RequestHead;

use crate::config::Limits;

/// One request's body on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intake {
    most: u64,
    taken: u64,
    /// Its length was declared: whoever sends it has it. What is open-ended may take its time.
    declared: bool,
    waited_ms: u64,
}

/// The body is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Intake {
    pub(crate) fn new(head: &RequestHead) -> Self {
        let declared = head.content_length().is_some();
        Self { most: u64::MAX, taken: 0, declared, waited_ms: 0 }
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

    /// The client was waited for so long.
    pub(crate) fn waited(&mut self, waited_ms: u64) {
        self.waited_ms = self.waited_ms.saturating_add(waited_ms);
    }

    /// Until when more has to come, if it has been waited for since then.
    pub(crate) fn due_ms(&self, since_ms: u64, limits: &Limits) -> u64 {
        let most_ms = match (self.declared, limits.body_rate) {
            (false, _) | (_, 0) => return u64::MAX,
            (true, rate) => self.taken.saturating_mul(1000) / rate,
        };
        let left_ms = most_ms.max(limits.body_grace.0).saturating_sub(self.waited_ms);
        since_ms.saturating_add(left_ms)
    }
}
