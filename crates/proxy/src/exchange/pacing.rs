//! Checks whether the client of an exchange is fast enough at sending its body and at reading its answer.
//! Never counts time in which the proxy waits for an instance.

use http1::RequestHead;
use model::{AppLimits, Millis};

use crate::body_limits::{BodyLimits, TooLarge};
use crate::deadline::Deadline;
use crate::delivery::Delivery;
use crate::pace::LeastPace;
use crate::turn::Turn;

/// The bytes that move between the client and the proxy, and the least pace required of the client.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// The limits of the app.
    limits: AppLimits,
    body_limits: BodyLimits,
    delivery: Delivery,
    /// The time when bytes last moved, in either direction.
    moved_at_ms: u64,
}

impl Pacing {
    /// Returns the pacing of a request whose head was complete at `now_ms`, before its app is known.
    #[inline]
    pub(crate) fn of(head: &RequestHead, now_ms: u64) -> Self {
        let (limits, delivery) = (AppLimits::default(), Delivery::default());
        Self { limits, body_limits: BodyLimits::new(head), delivery, moved_at_ms: now_ms }
    }

    /// Applies the limits of the app.
    ///
    /// # Errors
    /// If the head already declares a body that is too large.
    pub(crate) fn bind(&mut self, limits: AppLimits, head: &RequestHead) -> Result<(), TooLarge> {
        self.limits = limits;
        self.body_limits.bound(limits.body, head)
    }

    /// Returns the limits of the app.
    pub(crate) fn limits(&self) -> &AppLimits {
        &self.limits
    }

    /// Notes that bytes moved or an instance was chosen: all waits begin anew.
    pub(crate) fn moved(&mut self, now_ms: u64) {
        self.moved_at_ms = now_ms;
    }

    /// Returns the deadline `limit` after bytes last moved.
    pub(crate) fn since_moved(&self, limit: Millis) -> Deadline {
        Deadline::at(self.moved_at_ms + limit.0)
    }

    /// Counts bytes of the body that have been passed on.
    ///
    /// # Errors
    /// If the body is larger than allowed.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.body_limits.take(bytes)
    }

    /// Counts bytes of the answer that the kernel took.
    pub(crate) fn hand(&mut self, bytes: usize) {
        self.delivery.hand(bytes);
    }

    /// Returns the number of bytes of the body that have been passed on.
    pub(crate) fn taken(&self) -> u64 {
        self.body_limits.taken()
    }

    /// Returns the number of bytes of the answer that the kernel took.
    pub(crate) fn handed(&self) -> u64 {
        self.delivery.handed()
    }

    /// Returns when the client has to have sent more, while the proxy waits for its body.
    pub(crate) fn body_due(&self, turn: &Turn<'_, '_>) -> Deadline {
        let stalls = self.since_moved(self.limits.body_read);
        stalls.min(self.body_limits.due(self.moved_at_ms, self.pace(turn)))
    }

    /// Returns when the client has to have read more, while there is something for it to read.
    pub(crate) fn reader_due(&self, turn: &Turn<'_, '_>) -> Deadline {
        let stalls = self.since_moved(turn.worker.settings().limits.write_stall);
        stalls.min(self.delivery.due(self.moved_at_ms, self.pace(turn)))
    }

    /// Counts the time since bytes last moved as time spent waiting for the body.
    pub(crate) fn waited_for_body(&mut self, turn: &Turn<'_, '_>) {
        let pace = self.pace(turn);
        self.body_limits.waited(self.moved_at_ms, turn.now_ms, pace);
    }

    /// Counts the time since bytes last moved as time spent waiting for the client to read.
    pub(crate) fn waited_for_reader(&mut self, turn: &Turn<'_, '_>) {
        let pace = self.pace(turn);
        self.delivery.waited(self.moved_at_ms, turn.now_ms, pace);
    }

    /// Returns whether less of the body has come than is required by now.
    pub(crate) fn sends_too_slowly(&mut self, turn: &Turn<'_, '_>) -> bool {
        let (since_ms, now_ms, pace) = (self.moved_at_ms, turn.now_ms, self.pace(turn));
        let stalls = self.since_moved(self.limits.body_read).is_over(now_ms);
        stalls || self.body_limits.is_late(since_ms, now_ms, pace)
    }

    /// Returns whether the client has read less than is required by now.
    pub(crate) fn reads_too_slowly(&mut self, turn: &Turn<'_, '_>) -> bool {
        let (since_ms, now_ms, pace) = (self.moved_at_ms, turn.now_ms, self.pace(turn));
        let stalls = self.since_moved(turn.worker.settings().limits.write_stall).is_over(now_ms);
        stalls || self.delivery.is_late(since_ms, now_ms, pace, turn.client)
    }

    /// Returns the least pace that is required of the client.
    fn pace(&self, turn: &Turn<'_, '_>) -> LeastPace {
        let scarce_since_ms = turn.worker.scarce_since_ms();
        LeastPace::new(&self.limits, &turn.worker.settings().limits, scarce_since_ms)
    }
}
