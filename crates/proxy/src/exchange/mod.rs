//! One request, from its head to the end of its answer. `request_info` holds what is known of the
//! request, `relay` moves its bytes, and this file decides what the client is told. Never holds a
//! snapshot across a wait.

mod account;
mod arm;
mod dispatch;
pub(crate) mod end;
mod failure;
mod held;
mod incoming;
mod known;
mod link;
mod outgoing;
mod own_answer;
mod pacing;
mod pick;
mod presence;
mod relay;
mod request_info;
mod route;
mod terms;
mod tries;
mod waits_for;

use std::task::Poll;

use http1::{After, Progress, RequestHead};

use crate::eviction::Doing;
use crate::exchange::end::ExchangeEnd;
use crate::exchange::incoming::AnswerState;
use crate::exchange::own_answer::OwnAnswer;
use crate::exchange::relay::{Relay, Stop};
use crate::exchange::request_info::RequestInfo;
use crate::exchange::route::Place;
use crate::exchange::terms::Terms;
use crate::forwarded::rewritten;
use crate::front::side::ClientSide;
use crate::turn::{Turn, Wakeup};
use crate::worker::Worker;

/// Bytes moved in one poll, before other connections of the worker are polled.
const TURN_BYTES: usize = 256 << 10;

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    info: RequestInfo,
    relay: Relay,
}

impl Exchange {
    /// Begins the exchange of a request whose head is complete. Its first byte came at `since_ms`.
    pub(crate) fn begin(head: &RequestHead, since_ms: u64, turn: &mut Turn<'_, '_>) -> Box<Self> {
        let place = Place::of(head, turn);
        let bytes = rewritten(head, place.strip, turn);
        let terms = Terms::of(head, turn.client.head_bytes(), turn.worker.closes_connections());
        // In one expression: these are hundreds of bytes, which are not to be moved once they are there.
        let mut exchange = Box::new(Self {
            info: RequestInfo::of(head, terms, since_ms, turn),
            relay: Relay::of(head, bytes, &terms, turn),
        });
        exchange.route(head, &place, turn);
        exchange
    }

    /// Assigns the request to the app that the head belongs to. That may be another app than before.
    fn route(&mut self, head: &RequestHead, place: &Place, turn: &mut Turn<'_, '_>) {
        let instead = match place.route(head, turn) {
            Ok(route) => {
                let (belongs, instead) = self.info.take(route, head, turn.now_ms);
                self.relay.begin(belongs);
                instead
            }
            Err(page) => Some(OwnAnswer::Page(page)),
        };
        if let Some(answer) = instead {
            self.reply(&answer, turn);
        }
    }

    /// Routes a request that has not been sent yet by the newest snapshot. Its app may have another route
    /// or other limits by now, or the request may belong to another app.
    fn route_again(&mut self, turn: &mut Turn<'_, '_>) {
        let mut parser = turn.worker.parsers.request();
        // The head was parsed before, so it parses again.
        if let Ok(Progress::Finished(_)) = parser.parse(turn.client.head_bytes()) {
            let place = Place::of(parser.head(), turn);
            let bytes = rewritten(parser.head(), place.strip, turn);
            self.relay.replace_head(bytes, &turn.worker.stock);
            self.route(parser.head(), &place, turn);
        }
        turn.worker.parsers.put_request(parser);
    }

    /// Moves bytes until the exchange has to wait or ends.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<ExchangeEnd> {
        match self.advance(turn) {
            Ok(()) => Poll::Pending,
            Err(end) => {
                self.relay.settle(&mut self.info, turn.worker, turn.now_ms);
                self.relay.give_back(&turn.worker.stock);
                Poll::Ready(end)
            }
        }
    }

    fn advance(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), ExchangeEnd> {
        if !turn.snapshot_changed {
            self.relay.look_at_instance(&self.info, turn);
        } else if self.relay.look_again(&self.info, turn) {
            self.route_again(turn);
        }
        if self.relay.due(&self.info, turn).is_over(turn.now_ms) {
            let overdue = self.relay.overdue(&mut self.info, turn);
            overdue.or_else(|stop| self.stop(stop, turn))?;
        }
        let mut unread = !turn.client.is_flushed();
        let mut moved = 0;
        loop {
            let now = self.exchange_bytes(turn)?;
            if let Some(end) = self.relay.end(&mut self.info, turn) {
                return Err(end);
            }
            if now == 0 {
                return Ok(());
            }
            if std::mem::take(&mut unread) {
                self.info.pacing.waited_for_reader(turn);
            }
            self.info.pacing.moved(turn.now_ms);
            moved += now;
            if moved >= TURN_BYTES {
                turn.cx.waker().wake_by_ref();
                return Ok(());
            }
        }
    }

    /// Reads and writes once in every direction. Returns the number of bytes and steps moved.
    fn exchange_bytes(&mut self, turn: &mut Turn<'_, '_>) -> Result<usize, ExchangeEnd> {
        let mut moved = match self.relay.poll(&mut self.info, turn) {
            Ok(moved) => moved,
            Err(stop) => self.stop(stop, turn).map(|()| 1)?,
        };
        let is_done = matches!(self.relay.answer(), AnswerState::Done);
        if is_done && self.info.terms.after() == After::Close {
            turn.client.close_follows();
        }
        match turn.client.poll_flush(turn.cx, turn.worker) {
            Poll::Ready(Ok(count)) => {
                self.info.pacing.hand(count);
                moved += count;
            }
            Poll::Ready(Err(_)) => return Err(self.relay.client_left(&mut self.info)),
            Poll::Pending => {}
        }
        Ok(moved + self.relay.read_client(&mut self.info, turn)?)
    }

    /// Handles a stop: no instance gives the rest of the answer.
    fn stop(&mut self, stop: Stop, turn: &mut Turn<'_, '_>) -> Result<(), ExchangeEnd> {
        match stop {
            Stop::Reply(answer) => self.reply(&answer, turn),
            Stop::End(end) => return Err(end),
        }
        Ok(())
    }

    /// Answers in place of an instance and makes no further attempt. Must not be called after a part of
    /// an answer has gone out.
    fn reply(&mut self, answer: &OwnAnswer, turn: &mut Turn<'_, '_>) {
        self.info.account.answered_ourselves(answer, turn.worker);
        self.relay.give_up(&mut self.info, turn.client);
        let date = turn.worker.date(turn.now_ms);
        let form = self.info.terms.form();
        answer.reply(form, |reply| turn.client.reply(reply, form, &date, turn.worker));
    }

    /// Ends the exchange as aborted by its client.
    pub(crate) fn abort(&mut self) {
        self.relay.abort(&mut self.info);
    }

    /// Ends the exchange because its connection is closed: the proxy shuts down and its time to drain is
    /// over.
    pub(crate) fn broken_off(&mut self, worker: &Worker) {
        if self.info.account.app().is_some() && !self.relay.is_endless() {
            self.info.account.fails();
        }
        self.relay.settle(&mut self.info, worker, worker.shared.now_ms());
    }

    /// Returns when to wake up if no event comes before.
    pub(crate) fn wakeup(&self, turn: &Turn<'_, '_>) -> Wakeup {
        self.relay.wakeup(&self.info, turn)
    }

    /// Returns what the client does. Used to choose connections to evict.
    pub(crate) fn doing(&self, client: &ClientSide) -> Doing {
        self.relay.doing(&self.info, client)
    }
}
