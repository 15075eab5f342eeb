//! The request on its way to the upstream: body decoded, framed anew, written. Never takes more
//! from the client than the upstream is ready for.

use std::task::Poll;

use crate::buffer::{Keep, LARGE};
use crate::exchange::attempt::{Failure, Link};
use crate::exchange::{Answer, Exchange, Left, REPLAY};
use crate::pages::Page;
use crate::stopwatch::Stopwatch;
use crate::turn::Turn;

impl Exchange {
    /// Moves body bytes from the client's input into the request.
    pub(crate) fn send_body(&mut self, turn: &mut Turn<'_, '_>) -> Result<usize, Left> {
        let Link::Open(upstream) = &self.link else { return Ok(0) };
        let deaf = upstream.deaf;
        self.take_head(turn);
        let mut moved = 0;
        while !self.body_done && !turn.client.input.is_empty() && self.request.len() < LARGE {
            let input = turn.client.input.unread();
            let room = (LARGE - self.request.len()).min(input.len());
            let Ok(step) = self.body.read(&input[..room]) else {
                let page = Page::new(400, "The request's body is malformed.");
                return self.refuse_body(page, turn).map(|()| moved + 1);
            };
            if self.pacing.take(step.data).is_err() {
                return self.refuse_body(Page::TOO_LARGE, turn).map(|()| moved + 1);
            }
            if !deaf {
                let data = &input[step.skip..step.skip + step.data];
                self.encoder.data(data, self.request.tail());
            }
            if step.done {
                self.body_done = true;
                if !deaf {
                    self.encoder.end(self.body.trailers(), self.request.tail());
                }
            }
            let taken = step.skip + step.data;
            turn.client.input.consume(taken);
            moved += taken + usize::from(step.done);
            if taken == 0 && !step.done {
                break;
            }
        }
        if moved > 0 && self.request.taken() + self.request.len() > REPLAY + (32 << 10) {
            self.intact = false;
        }
        Ok(moved)
    }

    /// The upstream must not take a broken body for a whole one: its connection is cut.
    fn refuse_body(&mut self, page: Page, turn: &mut Turn<'_, '_>) -> Result<(), Left> {
        match self.answer {
            Answer::Awaited(_) => {
                self.terms.close();
                self.answer_ourselves(page, turn);
                Ok(())
            }
            Answer::Body { .. } | Answer::Done | Answer::Cut | Answer::Switched => Err(Left),
        }
    }

    /// Writes what the upstream takes.
    pub(crate) fn send(&mut self, turn: &mut Turn<'_, '_>) -> usize {
        let Link::Open(upstream) = &mut self.link else { return 0 };
        if self.request.is_empty() || upstream.deaf {
            return 0;
        }
        // Nothing of a request that may be sent again is dropped before its answer comes. One that
        // may not is kept until its first byte is out: until then it is free to go elsewhere.
        let keep =
            if self.intact && self.terms.is_resendable() { Keep::All } else { Keep::Nothing };
        match self.request.drain_to(turn.cx, &mut upstream.stream, keep) {
            Poll::Pending => 0,
            Poll::Ready(Ok(count)) => {
                // The kernel takes the first bytes, whatever the instance does.
                if upstream.sent {
                    upstream.flight.instance().moved(turn.now_ms);
                }
                upstream.sent = true;
                self.presence.begins();
                if let Some(stopwatch) = &mut upstream.stopwatch {
                    *stopwatch = Stopwatch::start();
                }
                count
            }
            Poll::Ready(Err(_)) if !upstream.sent => {
                self.attempt_failed(Failure::Broken, turn);
                1
            }
            Poll::Ready(Err(_)) => {
                // An answer may have come before the connection broke: that is read first.
                upstream.deaf = true;
                self.request.pass(self.request.len());
                1
            }
        }
    }
}
