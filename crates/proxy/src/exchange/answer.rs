//! The answer on its way to the client: head judged and written anew, body framed anew. Never makes
//! a broken answer look whole.

use std::task::Poll;

use http1::{After, BadAnswer, Body, Persistence, Progress, ResponseHead};

use crate::buffer::LARGE;
use crate::exchange::attempt::{Failure, Link};
use crate::exchange::{Answer, Continue, Exchange};
use crate::reuse::Next;
use crate::split::User;
use crate::stats::AppStats;
use crate::tunnel::{Terms, Tunnel};
use crate::turn::Turn;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// Bytes of interim answers before the final one: so many at once, and so many more with each second.
/// Their number has no bound (RFC 9110, 15.2).
const INTERIM_BYTES: u64 = 64 << 10;
const INTERIM_RATE: u64 = 4 << 10;

impl Exchange {
    /// Reads once from the upstream, if the client keeps up.
    pub(crate) fn receive(&mut self, turn: &mut Turn<'_, '_>) -> usize {
        let Link::Open(upstream) = &mut self.link else { return 0 };
        let room = turn.client.output.len() < LARGE && self.from_upstream.len() < 2 * LARGE;
        if upstream.ended || !room {
            return 0;
        }
        if self.from_upstream.tail().capacity() == 0 {
            self.from_upstream = turn.worker.stock.take();
        }
        match self.from_upstream.fill(turn.cx, &mut upstream.stream) {
            Poll::Pending => {
                if self.from_upstream.is_empty() {
                    turn.worker.stock.put(std::mem::take(&mut self.from_upstream));
                }
                0
            }
            Poll::Ready(Ok(0)) => {
                upstream.ended = true;
                1
            }
            Poll::Ready(Ok(count)) => {
                upstream.flight.instance().moved(turn.now_ms);
                count
            }
            Poll::Ready(Err(_)) => {
                // What came before is worth reading, unless only a clean end would make it whole.
                upstream.ended = true;
                if matches!(self.answer, Answer::Body { body: Body::UntilClose, .. }) {
                    self.attempt_failed(Failure::Broken, turn);
                }
                1
            }
        }
    }

    /// Turns what the upstream sent into what the client gets. Tells whether anything moved.
    pub(crate) fn translate(&mut self, turn: &mut Turn<'_, '_>) -> usize {
        let mut moved = 0;
        while let Link::Open(upstream) = &self.link {
            let ended = upstream.ended;
            let step = match &self.answer {
                Answer::Awaited(_) => self.translate_head(turn),
                Answer::Body { .. } => self.translate_body(ended, turn),
                Answer::Done | Answer::Cut | Answer::Switched => 0,
            };
            moved += step;
            if step == 0 {
                if ended && matches!(self.answer, Answer::Awaited(_)) {
                    self.attempt_failed(Failure::Broken, turn);
                    moved += 1;
                }
                break;
            }
        }
        moved
    }

    fn translate_head(&mut self, turn: &mut Turn<'_, '_>) -> usize {
        let Answer::Awaited(parser) = &mut self.answer else { return 0 };
        if self.from_upstream.is_empty() {
            return 0;
        }
        let len = match parser.parse(self.from_upstream.unread(), self.terms.to()) {
            Ok(Progress::Unfinished) => return 0,
            Ok(Progress::Finished(len)) => len,
            // On a connection that was used before, that is what an earlier answer has left there.
            Err(BadAnswer::StatusLine) if self.is_on_used() => {
                self.attempt_failed(Failure::Stale, turn);
                return 1;
            }
            Err(error) => {
                tracing::debug!(%error, "an instance's answer cannot be passed on");
                self.attempt_failed(Failure::BadAnswer, turn);
                return 1;
            }
        };
        // Nor is this an answer to the request, but to the silence before it (RFC 9110, 15.5.9).
        if parser.head().says_idle_for_too_long() && self.is_on_used() && self.terms.is_resendable()
        {
            self.attempt_failed(Failure::Stale, turn);
            return 1;
        }
        let Answer::Awaited(parser) = &mut self.answer else { return 0 };
        if parser.head().is_interim() {
            self.interim(len, turn)
        } else {
            self.accept(len, turn)
        }
        len
    }

    /// Whether the instance answered on this connection before.
    fn is_on_used(&self) -> bool {
        matches!(&self.link, Link::Open(upstream) if upstream.is_used())
    }

    fn interim(&mut self, len: usize, turn: &mut Turn<'_, '_>) {
        let Answer::Awaited(parser) = &mut self.answer else { return };
        let proceed = parser.head().status() == 100;
        self.interims += len as u64;
        let lasts_s = turn.now_ms.saturating_sub(self.terms.started_ms()) / 1000;
        if self.interims > INTERIM_BYTES.saturating_add(lasts_s.saturating_mul(INTERIM_RATE)) {
            return self.attempt_failed(Failure::BadAnswer, turn);
        }
        // A 100 that nobody waits for any more would be taken for another one's.
        let wanted = !proceed || self.proceed != Continue::Settled;
        if self.terms.to().version == http1::Version::Http11 && wanted {
            let out = turn.client.out(turn.worker);
            parser.head().forward(
                self.from_upstream.unread(),
                self.terms.to(),
                After::KeepAlive,
                b"",
                out,
            );
        }
        if proceed {
            self.proceed = Continue::Settled;
        }
        parser.restart();
        self.from_upstream.consume(len);
    }

    /// The final head.
    fn accept(&mut self, len: usize, turn: &mut Turn<'_, '_>) {
        let Answer::Awaited(parser) = &mut self.answer else { return };
        let head = parser.head();
        let (encoder, persistence) = head.encoding(self.terms.to());
        // A body that is not read to its end makes the rest of the connection unreadable.
        if persistence == Persistence::Close || !self.body_done || turn.worker.is_draining() {
            self.terms.close();
        }
        let mut cookies = match self.known.user() {
            Some(user) if user.has_news() && may_add_cookies(head) => {
                cookies(user, self.app.as_deref(), turn.worker)
            }
            Some(_) | None => Vec::new(),
        };
        let date = (!head.is_dated()).then(|| turn.worker.date(turn.now_ms));
        let added = match &date {
            None => &cookies[..],
            Some(date) if cookies.is_empty() => date,
            Some(date) => {
                cookies.extend_from_slice(date);
                &cookies
            }
        };
        let out = turn.client.out(turn.worker);
        head.forward(self.from_upstream.unread(), self.terms.to(), self.terms.after(), added, out);
        self.status = head.status();
        let next = match head.is_switch() {
            true => Answer::Switched,
            false => Answer::Body {
                body: head.body(self.terms.to()),
                encoder,
                endless: head.is_event_stream(),
            },
        };
        self.reuse.answered(head, self.terms.to(), !(self.body_done && self.request.is_empty()));
        if let Answer::Awaited(parser) = std::mem::replace(&mut self.answer, next) {
            turn.worker.return_response_parser(parser);
        }
        if self.is_endless() {
            self.set_end(turn);
        }
        if self.is_endless() || matches!(self.answer, Answer::Switched) {
            self.clear_instance();
        }
        self.from_upstream.consume(len);
        self.proceed = Continue::Settled;
        self.note_answer(turn.now_ms);
        if let Link::Open(upstream) = &mut self.link {
            upstream.answered(turn.now_ms);
            upstream.note_time(turn.now_ms);
        }
        if let Some(release) = &self.release {
            let cells = turn.worker.cells(release);
            cells.answered(self.status, turn.client.whence.ip, turn.now_ms);
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.succeeded(turn.now_ms);
        }
        self.held.answered();
    }

    /// Its instance can answer. One that breaks off each answer in the middle cannot: what has an end
    /// must have come to it.
    fn clear_instance(&self) {
        if let Link::Open(upstream) = &self.link {
            upstream.flight.instance().answered();
        }
    }

    fn translate_body(&mut self, ended: bool, turn: &mut Turn<'_, '_>) -> usize {
        let Answer::Body { body, encoder, .. } = &mut self.answer else { return 0 };
        let mut moved = 0;
        let mut done = body.is_empty();
        while !done && !self.from_upstream.is_empty() && turn.client.output.len() < 2 * LARGE {
            let input = self.from_upstream.unread();
            let Ok(step) = body.read(input) else {
                self.attempt_failed(Failure::BadAnswer, turn);
                return 1;
            };
            let taken = step.skip + step.data;
            let plain = *encoder == http1::Encoder::Plain && taken == input.len();
            if plain && step.skip == 0 && turn.client.output.is_empty() {
                // Nothing to write anew: the buffer itself goes out.
                std::mem::swap(&mut self.from_upstream, &mut turn.client.output);
            } else {
                encoder.data(&input[step.skip..taken], turn.client.out(turn.worker));
                self.from_upstream.consume(taken);
            }
            done = step.done;
            moved += taken;
            if taken == 0 {
                break;
            }
        }
        if ended && !done && self.from_upstream.is_empty() {
            if !body.whole_at_close() {
                self.attempt_failed(Failure::Broken, turn);
                return moved + 1;
            }
            done = true;
        }
        if done {
            encoder.end(body.trailers(), turn.client.out(turn.worker));
            self.finish(turn);
            moved += 1;
        }
        moved
    }

    /// An answer that has no end of its own: it ends with its instance, and that is no failure.
    pub(crate) fn is_endless(&self) -> bool {
        matches!(self.answer, Answer::Body { endless: true, .. })
    }

    /// An event stream whose instance goes: its client comes back to another. Not to be mistaken for
    /// one that its app has ended, it lacks the last chunk.
    pub(crate) fn end_stream(&mut self) {
        self.link = Link::None;
        self.cut_at_ms = u64::MAX;
        self.terms.close();
        self.answer = Answer::Done;
    }

    /// The answer is whole: the instance is free, whatever the client still has to read.
    fn finish(&mut self, turn: &mut Turn<'_, '_>) {
        self.clear_instance();
        self.answer = Answer::Done;
        self.cut_at_ms = u64::MAX;
        let Link::Open(upstream) = std::mem::replace(&mut self.link, Link::None) else { return };
        upstream.flight.instance().moved(turn.now_ms);
        let sent = self.body_done && self.request.is_empty() && !upstream.deaf;
        let clean = self.from_upstream.is_empty() && !upstream.ended;
        if let (Next::Stays(kept), true) = (self.reuse.next(upstream.is_own()), sent && clean) {
            upstream.give_back(turn.client.slot, kept, turn.worker, turn.now_ms);
        }
    }

    /// The tunnel that a 101 opens.
    pub(crate) fn tunnel(&mut self, turn: &mut Turn<'_, '_>) -> Option<Tunnel> {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Open(Upstream { stream, flight, .. }) => {
                let rest = std::mem::take(&mut self.from_upstream);
                let idle_ms = self.pacing.limits().tunnel_idle.0;
                let terms = Terms {
                    app: self.app.as_ref().map(|app| app.key),
                    drain_ms: self.drain_ms,
                    idle_ms,
                };
                Some(Tunnel::new(stream, flight, rest, terms, turn))
            }
            Link::None | Link::Unchosen | Link::Connecting(_) => None,
        }
    }
}

/// A cookie is one user's own: never on an answer that is offered to caches of many. Nor on one that
/// only renews what a cache has, nor on a switch, whose clients rarely keep cookies.
fn may_add_cookies(head: &ResponseHead) -> bool {
    !(head.is_shared() || head.is_switch() || head.status() == 304)
}

/// The user's `Set-Cookie` lines, as the newest snapshot has it.
fn cookies(user: &User, app: Option<&AppStats>, worker: &Worker) -> Vec<u8> {
    let table = worker.table.borrow();
    let split = app.and_then(|app| table.app(app.key)).and_then(|entry| entry.split.as_ref());
    let shared = &worker.shared;
    split.map_or_else(Vec::new, |split| split.cookies(user, &shared.keyring, shared.epoch_s()))
}
