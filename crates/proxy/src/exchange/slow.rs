//! Whether the client of an exchange keeps up, with its body and with its answer. Never judges while
//! it is an instance that is waited for.

use crate::crowd::{Doing, Moved};
use crate::exchange::attempt::Link;
use crate::exchange::{Answer, Continue, Exchange};
use crate::pace::Pace;
use crate::turn::{Client, Turn};

impl Exchange {
    /// When the client has to have sent more, while its body is waited for.
    pub(crate) fn body_due_ms(&self, turn: &Turn<'_, '_>) -> u64 {
        let stalls_ms = self.moved_at_ms + self.limits.body_read.0;
        stalls_ms.min(self.intake.due_ms(self.moved_at_ms, self.pace(turn)))
    }

    /// When the client has to have read more, while there is something for it to read.
    pub(crate) fn reader_due_ms(&self, turn: &Turn<'_, '_>) -> u64 {
        let stalls_ms = self.moved_at_ms + turn.worker.shared.config.limits.write_stall.0;
        stalls_ms.min(self.delivery.due_ms(self.moved_at_ms, self.pace(turn)))
    }

    /// The body was waited for since something moved last.
    pub(crate) fn waited_for_body(&mut self, turn: &Turn<'_, '_>) {
        let pace = self.pace(turn);
        self.intake.waited(self.moved_at_ms, turn.now_ms, pace);
    }

    /// The client's reading was waited for since something moved last.
    pub(crate) fn waited_for_reader(&mut self, turn: &Turn<'_, '_>) {
        let pace = self.pace(turn);
        self.delivery.waited(self.moved_at_ms, turn.now_ms, pace);
    }

    /// Whether less of the body has come than has to by now.
    pub(crate) fn sends_too_slowly(&mut self, turn: &Turn<'_, '_>) -> bool {
        let (since_ms, now_ms, pace) = (self.moved_at_ms, turn.now_ms, self.pace(turn));
        let stalls = now_ms >= since_ms + self.limits.body_read.0;
        stalls || self.intake.is_late(since_ms, now_ms, pace)
    }

    /// Whether the client has read less than it has to by now.
    pub(crate) fn reads_too_slowly(&mut self, turn: &Turn<'_, '_>) -> bool {
        let (since_ms, now_ms, pace) = (self.moved_at_ms, turn.now_ms, self.pace(turn));
        let stalls = now_ms >= since_ms + turn.worker.shared.config.limits.write_stall.0;
        stalls || self.delivery.is_late(since_ms, now_ms, pace, &turn.client.stream)
    }

    /// What the client does, should some have to leave.
    pub(crate) fn doing(&self, client: &Client) -> Doing {
        let moved = |bytes| Moved { since_ms: self.terms.started_ms(), bytes };
        match (&self.answer, &self.link) {
            (_, Link::Unchosen | Link::Connecting(_)) => Doing::Busy,
            _ if !client.output.is_empty() => Doing::Answer(moved(self.delivery.handed())),
            (Answer::Awaited(_) | Answer::Body { .. }, _)
                if self.waits_for_body() && self.proceed == Continue::Settled =>
            {
                Doing::Body(moved(self.intake.taken()))
            }
            _ => Doing::Busy,
        }
    }

    /// What is asked of the client while it is waited for.
    fn pace(&self, turn: &Turn<'_, '_>) -> Pace {
        let scarce_since_ms = turn.worker.scarce_since_ms();
        Pace::new(&self.limits, &turn.worker.shared.config.limits, scarce_since_ms)
    }
}
