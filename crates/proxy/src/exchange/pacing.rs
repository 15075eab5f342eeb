//! Whether the client of an exchange keeps up, with its body and with its answer. Never judges while
//! it is an instance that is waited for.

use http1::RequestHead;
use model::{AppLimits, Millis};

use crate::body_limits::{BodyLimits, TooLarge};
use crate::deadline::Deadline;
use crate::delivery::Delivery;
use crate::pace::LeastPace;
use crate::turn::Turn;

/// What moves between the client and us, and how fast it has to.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// The limits of the app.
    limits: AppLimits,
    body_limits: BodyLimits,
    delivery: Delivery,
    /// When something moved last, in either direction.
    moved_at_ms: u64,
}

impl Pacing {
    /// Of a request whose head was whole at `now_ms`, before its app is known.
    #[inline]
    pub(crate) fn of(head: &RequestHead, now_ms: u64) -> Self {
        let (limits, delivery) = (AppLimits::default(), Delivery::default());
        Self { limits, body_limits: BodyLimits::new(head), delivery, moved_at_ms: now_ms }
    }

    /// The limits of the app bind the client. Tells whether the head already says too much.
    pub(crate) fn bind(&mut self, limits: AppLimits, head: &RequestHead) -> Result<(), TooLarge> {
        self.limits = limits;
        self.body_limits.bound(limits.body, head)
    }

    /// The limits of the app.
    pub(crate) fn limits(&self) -> &AppLimits {
        &self.limits
    }

    /// Something moved, or an instance was chosen: waiting begins anew.
    pub(crate) fn moved(&mut self, now_ms: u64) {
        self.moved_at_ms = now_ms;
    }

    /// When a wait that began when something moved last has taken so long.
    pub(crate) fn since_moved(&self, limit: Millis) -> Deadline {
        Deadline::at(self.moved_at_ms + limit.0)
    }

    /// Takes note of how many bytes of the body have been passed on.
    ///
    /// # Errors
    /// If these are more than allowed.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.body_limits.take(bytes)
    }

    /// The kernel took so many bytes of the answer.
    pub(crate) fn hand(&mut self, bytes: usize) {
        self.delivery.hand(bytes);
    }

    /// All bytes of the body that have been passed on.
    pub(crate) fn taken(&self) -> u64 {
        self.body_limits.taken()
    }

    /// All bytes of the answer that the kernel took.
    pub(crate) fn handed(&self) -> u64 {
        self.delivery.handed()
    }

    /// When the client has to have sent more, while its body is waited for.
    pub(crate) fn body_due(&self, turn: &Turn<'_, '_>) -> Deadline {
        let stalls = self.since_moved(self.limits.body_read);
        stalls.min(self.body_limits.due(self.moved_at_ms, self.pace(turn)))
    }

    /// When the client has to have read more, while there is something for it to read.
    pub(crate) fn reader_due(&self, turn: &Turn<'_, '_>) -> Deadline {
        let stalls = self.since_moved(turn.worker.shared.config.limits.write_stall);
        stalls.min(self.delivery.due(self.moved_at_ms, self.pace(turn)))
    }

    /// The body was waited for since something moved last.
    pub(crate) fn waited_for_body(&mut self, turn: &Turn<'_, '_>) {
        let pace = self.pace(turn);
        self.body_limits.waited(self.moved_at_ms, turn.now_ms, pace);
    }

    /// The client's reading was waited for since something moved last.
    pub(crate) fn waited_for_reader(&mut self, turn: &Turn<'_, '_>) {
        let pace = self.pace(turn);
        self.delivery.waited(self.moved_at_ms, turn.now_ms, pace);
    }

    /// Whether less of the body has come than has to by now.
    pub(crate) fn sends_too_slowly(&mut self, turn: &Turn<'_, '_>) -> bool {
        let (since_ms, now_ms, pace) = (self.moved_at_ms, turn.now_ms, self.pace(turn));
        let stalls = self.since_moved(self.limits.body_read).is_over(now_ms);
        stalls || self.body_limits.is_late(since_ms, now_ms, pace)
    }

    /// Whether the client has read less than it has to by now.
    pub(crate) fn reads_too_slowly(&mut self, turn: &Turn<'_, '_>) -> bool {
        let (since_ms, now_ms, pace) = (self.moved_at_ms, turn.now_ms, self.pace(turn));
        let stalls = self.since_moved(turn.worker.shared.config.limits.write_stall).is_over(now_ms);
        stalls || self.delivery.is_late(since_ms, now_ms, pace, turn.client)
    }

    /// What is asked of the client while it is waited for.
    fn pace(&self, turn: &Turn<'_, '_>) -> LeastPace {
        let scarce_since_ms = turn.worker.scarce_since_ms();
        LeastPace::new(&self.limits, &turn.worker.shared.config.limits, scarce_since_ms)
    }
}
