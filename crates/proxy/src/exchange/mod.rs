//! One request, from its head to the end of its answer. Reads the steps in order: choose and
//! connect (`attempt`), send (`sending`), answer (`answer`); never holds a snapshot across a wait.

mod answer;
mod attempt;
mod choice;
mod deadlines;
mod held;
mod hold;
mod known;
mod notes;
mod pacing;
mod place;
mod presence;
mod reply;
mod sending;
mod terms;

use std::sync::Arc;
use std::task::Poll;

use http1::{After, Body, Encoder, RequestHead, ResponseParser};
use model::ReleaseNo;

use crate::access_log::Entry;
use crate::buffer::Buffer;
use crate::exchange::attempt::Link;
use crate::exchange::held::Held;
use crate::exchange::known::Known;
use crate::exchange::notes::log_entry;
use crate::exchange::pacing::Pacing;
use crate::exchange::place::Place;
use crate::exchange::presence::Presence;
use crate::exchange::terms::Terms;
use crate::forwarded::{rewritten, was_passed_on};
use crate::gap::Waiting;
use crate::reuse::Reuse;
use crate::stats::{AppStats, ReleaseStats};
use crate::tunnel::Tunnel;
use crate::turn::Turn;
use crate::worker::Worker;

/// Bytes moved in one poll before others get their turn.
const TURN_BYTES: usize = 256 << 10;
/// A longer body is not kept for a second attempt.
pub(crate) const REPLAY: usize = 64 << 10;

/// How an exchange has ended, for the connection.
#[derive(Debug)]
pub(crate) enum End {
    /// The connection waits for the next request.
    Next,
    /// The answer is whole and the connection is to close.
    Close,
    /// The same, and the client has said that this was its last request.
    Last,
    /// The client has gone.
    Gone,
    /// The answer broke off: the client must see that.
    Reset,
    /// The protocol was switched.
    Tunnel(Box<Tunnel>),
}

/// How far the answer has come.
#[derive(Debug)]
pub(crate) enum Answer {
    Awaited(Box<ResponseParser>),
    Body {
        body: Body,
        encoder: Encoder,
        endless: bool,
    },
    /// All of it is in the output.
    Done,
    /// It broke off.
    Cut,
    /// It is a 101: a tunnel follows.
    Switched,
}

/// Who tells the client to go on with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continue {
    /// It does not ask, or it has been told.
    Settled,
    /// The upstream may, until then; then we do.
    Upstream { until_ms: u64 },
}

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    app: Option<Arc<AppStats>>,
    terms: Terms,
    /// Bytes of its head, while that stands at the start of the client's input: until the request
    /// goes out it may have to be routed anew.
    head_len: usize,
    /// The request as the upstream gets it; kept from its first byte on while `intact`.
    request: Buffer,
    intact: bool,
    body: Body,
    encoder: Encoder,
    body_done: bool,
    pacing: Pacing,
    proceed: Continue,
    presence: Presence,
    link: Link,
    held: Held,
    known: Known,
    arm: Option<ReleaseNo>,
    release: Option<Arc<ReleaseStats>>,
    /// The release that this request was last counted against: once, however often it is tried.
    faulted: Option<ReleaseNo>,
    tried: Vec<u64>,
    attempts: u32,
    fresh_only: bool,
    /// One instance has let it wait for an answer in vain.
    kept_waiting: bool,
    answer: Answer,
    from_upstream: Buffer,
    /// Bytes of interim answers.
    interims: u64,
    /// Whether the connection to the instance may be used again.
    reuse: Reuse,
    status: u16,
    drain_ms: u64,
    cut_at_ms: u64,
    waiting: Option<Waiting>,
    outcome: Outcome,
    /// Notes for the access log, if there is one.
    entry: Option<Box<Entry>>,
}

/// How a request is counted. Decided once, by whoever ends it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    Fine,
    Failed,
    Aborted,
}

impl Exchange {
    /// Takes a request's head, of `len` bytes, off the client's input. Its first byte came at `since_ms`.
    pub(crate) fn begin(
        head: &RequestHead,
        len: usize,
        since_ms: u64,
        turn: &mut Turn<'_, '_>,
    ) -> Self {
        let place = Place::of(head, turn);
        let passed_on = !head.body().is_empty() && was_passed_on(head, turn);
        let request = rewritten(head, place.strip, turn);
        let input = turn.client.input.unread();
        let body = head.body();
        let body_done = body.is_empty();
        let until_ms = turn.now_ms + turn.worker.shared.config.limits.continue_wait.0;
        let mut exchange = Self {
            app: None,
            terms: Terms::of(head, input, turn.worker.is_draining(), turn.now_ms),
            head_len: len,
            request,
            intact: true,
            encoder: if body.is_chunked() { Encoder::Chunked } else { Encoder::Plain },
            body,
            body_done,
            pacing: Pacing::of(head, turn.now_ms),
            proceed: match head.awaits_continue() && !body_done {
                true => Continue::Upstream { until_ms },
                false => Continue::Settled,
            },
            presence: Presence::since(turn.now_ms),
            link: Link::None,
            held: Held::default(),
            known: Known::default(),
            arm: None,
            release: None,
            faulted: None,
            tried: Vec::new(),
            attempts: 0,
            fresh_only: false,
            kept_waiting: false,
            answer: Answer::Awaited(turn.worker.response_parser()),
            from_upstream: Buffer::default(),
            interims: 0,
            reuse: Reuse::of(head, input, || passed_on),
            status: 0,
            drain_ms: 0,
            cut_at_ms: u64::MAX,
            waiting: None,
            outcome: Outcome::Open,
            entry: log_entry(head, since_ms, turn),
        };
        let instead = exchange.route(head, &place, turn);
        exchange.answer_instead(instead, turn);
        exchange
    }

    /// Goes on as far as possible without waiting.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<End> {
        if turn.news {
            self.look_again(turn);
        } else if self.is_endless() {
            self.set_end(turn);
        }
        if turn.now_ms >= self.due_ms(turn)
            && let Some(end) = self.overdue(turn)
        {
            return Poll::Ready(self.ended(end, turn));
        }
        let mut unread = !turn.client.output.is_empty();
        let mut moved = 0;
        loop {
            let mut now = self.attempt(turn);
            match self.exchange_bytes(turn) {
                Ok(count) => now += count,
                Err(Left) => {
                    self.presence.has_left();
                }
            }
            if self.presence.is_gone() {
                self.abort();
                return Poll::Ready(self.ended(End::Gone, turn));
            }
            if let Some(end) = self.end(turn) {
                return Poll::Ready(self.ended(end, turn));
            }
            if now == 0 {
                return Poll::Pending;
            }
            if std::mem::take(&mut unread) {
                self.pacing.waited_for_reader(turn);
            }
            self.pacing.moved(turn.now_ms);
            moved += now;
            if moved >= TURN_BYTES {
                turn.cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Reads and writes once in every direction. Tells how much moved.
    fn exchange_bytes(&mut self, turn: &mut Turn<'_, '_>) -> Result<usize, Left> {
        let mut moved = self.send_body(turn)?;
        moved += self.send(turn);
        moved += self.receive(turn);
        moved += self.translate(turn);
        if matches!(self.answer, Answer::Done) && self.terms.after() == After::Close {
            turn.client.stream.ends();
        }
        match turn.client.flush(turn.cx, turn.worker) {
            Poll::Ready(Ok(count)) => {
                self.pacing.hand(count);
                moved += count;
            }
            Poll::Ready(Err(_)) => return Err(Left),
            Poll::Pending => {}
        }
        Ok(moved + self.read_client(turn)?)
    }

    /// Reads the body, or what else the client sends: its leaving is noticed here.
    fn read_client(&mut self, turn: &mut Turn<'_, '_>) -> Result<usize, Left> {
        if !self.is_read_on(turn) {
            return if self.is_open() && self.presence.was_reset(turn) { Err(Left) } else { Ok(0) };
        }
        let client = &mut *turn.client;
        if client.ended || turn.now_ms < self.watched_from_ms(client) {
            return Ok(0);
        }
        match client.read(turn.cx, turn.worker) {
            Poll::Pending => Ok(0),
            Poll::Ready(Err(_)) => Err(Left),
            Poll::Ready(Ok(0)) => {
                client.ended = true;
                // It will never send the rest of its body.
                let lost = !self.body_done && matches!(self.answer, Answer::Awaited(_));
                if lost && client.input.is_empty() { Err(Left) } else { Ok(1) }
            }
            Poll::Ready(Ok(count)) => {
                if self.waits_for_body() {
                    self.pacing.waited_for_body(turn);
                }
                Ok(count)
            }
        }
    }

    /// Whether the request is on its way on a connection to an instance.
    fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    fn end(&mut self, turn: &mut Turn<'_, '_>) -> Option<End> {
        match &self.answer {
            Answer::Awaited(_) | Answer::Body { .. } => None,
            // What came before the break goes out first, as far as the client takes it.
            Answer::Cut if turn.client.output.is_empty() => Some(End::Reset),
            Answer::Switched => self.tunnel(turn).map(|tunnel| End::Tunnel(Box::new(tunnel))),
            // Who still sends its body may read nothing before that is out.
            Answer::Done if turn.client.output.is_empty() || !self.body_done => {
                Some(match self.terms.after() {
                    After::KeepAlive if self.body_done => End::Next,
                    After::Close if self.body_done && self.terms.is_last() => End::Last,
                    After::KeepAlive | After::Close => End::Close,
                })
            }
            Answer::Cut | Answer::Done => None,
        }
    }

    /// The answer broke off after its head had gone out.
    pub(crate) fn cut(&mut self) {
        self.link = Link::None;
        if self.outcome == Outcome::Open {
            self.outcome = Outcome::Failed;
        }
        self.answer = Answer::Cut;
    }

    /// Its client is to blame that it ends here.
    pub(crate) fn abort(&mut self) {
        // Whoever has not got the whole answer went away first, whatever we were about to say.
        if self.outcome == Outcome::Open {
            self.outcome = Outcome::Aborted;
        }
        self.link = Link::None;
    }

    /// Counts the request and gives back what it used.
    fn ended(&mut self, end: End, turn: &mut Turn<'_, '_>) -> End {
        self.settle(turn.worker, turn.now_ms);
        turn.worker.stock.put(std::mem::take(&mut self.request));
        turn.worker.stock.put(std::mem::take(&mut self.from_upstream));
        end
    }

    fn settle(&mut self, worker: &Worker, now_ms: u64) {
        self.waiting = None;
        self.held.ends();
        if self.outcome == Outcome::Open {
            self.outcome = Outcome::Fine;
        }
        if let Some(app) = self.app.take() {
            worker.count(&app, |cells| &cells.requests);
            worker.app_cells(&app).took(now_ms.saturating_sub(self.terms.started_ms()));
            match self.outcome {
                Outcome::Failed => worker.count(&app, |cells| &cells.failed),
                Outcome::Aborted => worker.count(&app, |cells| &cells.client_aborted),
                Outcome::Open | Outcome::Fine => {}
            }
        }
        self.note_end(worker, now_ms);
    }

    /// The connection ends under it: the proxy is being shut down and its time is over.
    pub(crate) fn broken_off(&mut self, worker: &Worker) {
        if self.outcome == Outcome::Open && self.app.is_some() && !self.is_endless() {
            self.outcome = Outcome::Failed;
        }
        self.settle(worker, worker.shared.now_ms());
    }
}

/// The client's connection is gone.
#[derive(Debug)]
pub(crate) struct Left;
