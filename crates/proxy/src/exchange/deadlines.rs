//! When an exchange is looked at though nothing happens, and what follows then. Measures nothing itself.

use crate::buffer::LARGE;
use crate::crowd::{Doing, Moved};
use crate::exchange::attempt::{Failure, Link};
use crate::exchange::{Answer, Continue, End, Exchange};
use crate::pages::Page;
use crate::slots::Watch;
use crate::turn::{Client, Turn, Wakeup};

impl Exchange {
    /// From when on the client's socket is watched though nothing is expected of it: 0 if it is.
    pub(crate) fn watched_from_ms(&self, client: &Client) -> u64 {
        if self.body_done { client.watched_from_ms(self.terms.started_ms()) } else { 0 }
    }

    /// When to wake up though nothing happens.
    pub(crate) fn wakeup(&self, turn: &Turn<'_, '_>) -> Wakeup {
        let watch = match self.link {
            Link::Unchosen | Link::Connecting(_) => Watch::Waiting,
            Link::Open(_) => Watch::Engaged,
            Link::None => Watch::Nothing,
        };
        let look_ms = match self.watched_from_ms(turn.client) {
            from_ms if turn.now_ms < from_ms => from_ms,
            _ => u64::MAX,
        };
        let upstream_ms = match (&self.link, &self.answer) {
            (Link::Connecting(up) | Link::Open(up), Answer::Awaited(_)) => up.wake_ms(turn.now_ms),
            (_, _) => u64::MAX,
        };
        Wakeup {
            at_ms: self.due_ms(turn).min(look_ms).min(upstream_ms).min(self.client_look_ms(turn)),
            watch,
        }
    }

    /// When its patience ends.
    pub(crate) fn due_ms(&self, turn: &Turn<'_, '_>) -> u64 {
        let limits = &turn.worker.shared.config.limits;
        let since = |limit: model::Millis| self.pacing.since_moved(limit);
        let at_ms = match (&self.answer, &self.link) {
            (_, Link::Unchosen) => self.held.look_ms(),
            // Whoever listens here and has no room is slow, not gone.
            (_, Link::Connecting(upstream)) if upstream.is_here() => {
                upstream.since_ms + self.pacing.limits().first_byte.0
            }
            (_, Link::Connecting(upstream)) => upstream.since_ms + limits.connect.0,
            _ if !turn.client.output.is_empty() => self.pacing.reader_due_ms(turn),
            (Answer::Awaited(_), _) if self.waits_for_body() => match self.proceed {
                Continue::Upstream { until_ms } => until_ms,
                Continue::Settled => self.pacing.body_due_ms(turn),
            },
            (Answer::Awaited(_), _) => since(self.pacing.limits().first_byte),
            (Answer::Body { endless: true, .. }, _) => u64::MAX,
            (Answer::Body { .. }, _) => since(self.pacing.limits().between_bytes),
            (Answer::Done | Answer::Cut | Answer::Switched, _) => since(limits.write_stall),
        };
        at_ms.min(self.cut_at_ms)
    }

    pub(crate) fn waits_for_body(&self) -> bool {
        !self.body_done && self.request.is_empty()
    }

    /// A deadline has passed.
    pub(crate) fn overdue(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        if turn.now_ms >= self.cut_at_ms && self.is_endless() {
            self.end_stream();
            return None;
        }
        if turn.now_ms >= self.cut_at_ms {
            self.cut_at_ms = u64::MAX;
            self.attempt_failed(Failure::Drained, turn);
            return None;
        }
        match (&self.answer, &self.link) {
            (_, Link::Unchosen) => {}
            (_, Link::Connecting(_)) => self.attempt_timed_out(turn),
            _ if !turn.client.output.is_empty() => {
                if self.pacing.reads_too_slowly(turn) {
                    self.abort();
                    return Some(End::Reset);
                }
            }
            (Answer::Awaited(_), _) if self.waits_for_body() => match self.proceed {
                Continue::Upstream { .. } => {
                    self.proceed = Continue::Settled;
                    self.pacing.moved(turn.now_ms);
                    turn.client
                        .out(turn.worker)
                        .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Continue::Settled => {
                    if self.pacing.sends_too_slowly(turn) {
                        self.abort();
                        self.answer_ourselves(Page::TIMEOUT, turn);
                    }
                }
            },
            (Answer::Awaited(_) | Answer::Body { .. }, _) => self.attempt_timed_out(turn),
            (Answer::Done | Answer::Cut | Answer::Switched, _) => return Some(End::Reset),
        }
        None
    }

    /// When to look at the client though nothing happens.
    pub(crate) fn client_look_ms(&self, turn: &Turn<'_, '_>) -> u64 {
        match &self.link {
            Link::None => u64::MAX,
            Link::Open(_) if self.is_read_on(turn) => u64::MAX,
            Link::Unchosen | Link::Connecting(_) | Link::Open(_) => self.presence.look_ms(),
        }
    }

    /// Whether its body is read, or what else the client sends: its leaving is noticed there.
    pub(crate) fn is_read_on(&self, turn: &Turn<'_, '_>) -> bool {
        let client = &turn.client;
        match (&self.link, self.body_done) {
            (Link::Unchosen | Link::Connecting(_), _) => false,
            (Link::Open(_), false) => self.request.len() < LARGE && client.input.len() < LARGE,
            (Link::None, _) | (Link::Open(_), true) => client.input.is_empty(),
        }
    }

    /// What the client does, should some have to leave.
    pub(crate) fn doing(&self, client: &Client) -> Doing {
        let moved = |bytes| Moved { since_ms: self.terms.started_ms(), bytes };
        match (&self.answer, &self.link) {
            (_, Link::Unchosen | Link::Connecting(_)) => Doing::Busy,
            _ if !client.output.is_empty() => Doing::Answer(moved(self.pacing.handed())),
            (Answer::Awaited(_) | Answer::Body { .. }, _)
                if self.waits_for_body() && self.proceed == Continue::Settled =>
            {
                Doing::Body(moved(self.pacing.taken()))
            }
            _ => Doing::Busy,
        }
    }
}
