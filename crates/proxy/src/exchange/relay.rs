//! A request on its way to an instance and the answer on its way back, and the steps between the two.
//! Never writes an answer of the proxy itself, and never ends the exchange.

use std::task::Poll;

use http1::RequestHead;

use crate::buffer::{Buffer, Stock};
use crate::deadline::Deadline;
use crate::eviction::{Doing, Moved};
use crate::exchange::account::Belongs;
use crate::exchange::dispatch::{AfterFailure, Dispatch, DispatchStep};
use crate::exchange::end::{ExchangeEnd, Rest};
use crate::exchange::failure::AttemptFailure;
use crate::exchange::incoming::{AnswerKind, AnswerState, Arrived, Incoming};
use crate::exchange::link::InstanceLink;
use crate::exchange::outgoing::{Continue, Outgoing};
use crate::exchange::own_answer::OwnAnswer;
use crate::exchange::request_info::RequestInfo;
use crate::exchange::terms::Terms;
use crate::exchange::waits_for::WaitsFor;
use crate::front::side::ClientSide;
use crate::pages::ErrorPage;
use crate::reuse::Next;
use crate::timers::Watch;
use crate::tunnel::{self, Tunnel};
use crate::turn::{Turn, Wakeup};
use crate::upstream::UpstreamConnection;
use crate::worker::Worker;

/// A request and its answer between the client and an instance.
#[derive(Debug)]
pub(super) struct Relay {
    outgoing: Outgoing,
    dispatch: Dispatch,
    incoming: Incoming,
}

/// The reason why no instance gives the rest of the answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client gets this answer instead.
    Reply(OwnAnswer),
    /// The exchange ends.
    End(ExchangeEnd),
}

impl Relay {
    /// Returns the relay of a request whose head, as written for an instance, is `bytes`.
    #[inline]
    pub(super) fn of(
        head: &RequestHead,
        bytes: Buffer,
        terms: &Terms,
        turn: &Turn<'_, '_>,
    ) -> Self {
        Self {
            outgoing: Outgoing::of(head, bytes, terms, turn),
            dispatch: Dispatch::default(),
            incoming: Incoming::awaited(turn.worker),
        }
    }

    /// Begins to look for an instance: the app of the request is known.
    pub(super) fn begin(&mut self, belongs: Belongs) {
        self.dispatch.begin(belongs);
    }

    /// Returns whether the request has to be routed anew because the snapshot has changed, and still can
    /// be.
    #[inline]
    pub(super) fn look_again(&mut self, info: &RequestInfo, turn: &Turn<'_, '_>) -> bool {
        self.dispatch.look_again(self.incoming.kind(), info, turn) && turn.client.has_head()
    }

    /// Replaces the head of a request that has been routed anew.
    pub(super) fn replace_head(&mut self, bytes: Buffer, stock: &Stock) {
        self.outgoing.replace_head(bytes, stock);
    }

    /// Checks whether the instance of an endless answer stays. The answer may go on for that long.
    #[inline]
    pub(super) fn look_at_instance(&mut self, info: &RequestInfo, turn: &Turn<'_, '_>) {
        if self.is_endless() {
            self.dispatch.set_end(AnswerKind::EventStream, info, turn);
        }
    }

    /// Moves bytes in both directions as far as possible. Returns how much moved.
    #[inline]
    pub(super) fn poll(
        &mut self,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, Stop> {
        let mut moved = self.attempt(info, turn)?;
        let Some(upstream) = self.dispatch.upstream_mut() else { return Ok(moved) };
        moved += match self.outgoing.take_from(turn.client, upstream, &mut info.pacing) {
            Ok(count) => count,
            Err(_) if !self.is_awaited() => return Err(Stop::End(self.client_left(info))),
            Err(bad) => {
                // The instance must not take a broken body for a complete one, so its connection is cut.
                info.terms.close();
                return Err(Stop::Reply(OwnAnswer::Page(bad.page())));
            }
        };
        let sent = self.outgoing.send(upstream, info, turn);
        moved += sent.or_else(|failure| self.failed(failure, info, turn))?;
        let Some(upstream) = self.dispatch.upstream_mut() else { return Ok(moved) };
        let received = self.incoming.receive(upstream, turn);
        moved += received.or_else(|failure| self.failed(failure, info, turn))?;
        Ok(moved + self.translate(info, turn)?)
    }

    /// Reads the body, or whatever else the client sends. A client that leaves is noticed here.
    #[inline]
    pub(super) fn read_client(
        &mut self,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, ExchangeEnd> {
        if !self.is_read_on(turn.client) {
            let is_open = matches!(self.dispatch.link(), InstanceLink::Open(_));
            return match is_open && info.presence.was_reset(turn) {
                true => Err(self.client_left(info)),
                false => Ok(0),
            };
        }
        if turn.client.has_ended() || self.unwatched_until(info, turn).is_some() {
            return Ok(0);
        }
        let client = &mut *turn.client;
        match client.poll_read(turn.cx, turn.worker) {
            Poll::Pending => Ok(0),
            Poll::Ready(Err(_)) => Err(self.client_left(info)),
            Poll::Ready(Ok(0)) => {
                // The client will never send the rest of its body.
                let lost = !self.outgoing.is_whole() && self.is_awaited();
                if lost && !client.has_input() { Err(self.client_left(info)) } else { Ok(1) }
            }
            Poll::Ready(Ok(count)) => {
                if self.waits_for_body() {
                    info.pacing.waited_for_body(turn);
                }
                Ok(count)
            }
        }
    }

    /// Moves towards an open connection. Returns the number of steps taken.
    #[inline]
    fn attempt(&mut self, info: &mut RequestInfo, turn: &mut Turn<'_, '_>) -> Result<usize, Stop> {
        let mut steps = 0;
        loop {
            match self.dispatch.step(&self.outgoing, info, turn) {
                DispatchStep::Rests => return Ok(steps),
                DispatchStep::Refused(answer) => return Err(Stop::Reply(answer)),
                DispatchStep::Moved => steps += 1,
                DispatchStep::Failed(failure) => steps += self.failed(failure, info, turn)?,
            }
        }
    }

    /// Translates the bytes from the instance into bytes for the client. Returns how much moved.
    #[inline]
    fn translate(
        &mut self,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, Stop> {
        let mut moved = 0;
        while let Some(upstream) = self.dispatch.upstream_mut() {
            let arrived = self.incoming.read(upstream, info, turn);
            moved += match arrived.and_then(|arrived| self.pass(arrived, info, turn)) {
                Ok(0) => break,
                Ok(count) => count,
                Err(failure) => self.failed(failure, info, turn)?,
            };
        }
        Ok(moved)
    }

    #[inline]
    fn pass(
        &mut self,
        arrived: Arrived,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, AttemptFailure> {
        let Some(upstream) = self.dispatch.upstream_mut() else { return Ok(0) };
        match arrived {
            Arrived::Nothing => Ok(0),
            Arrived::Body(count) => Ok(count),
            Arrived::End(count) => {
                self.finish(info, turn);
                Ok(count + 1)
            }
            // If the client does not wait for a 100 any more, it would take one for the answer to another
            // request.
            Arrived::Continue(len) if self.outgoing.proceed() == Continue::Settled => {
                self.incoming.drop_interim(len, upstream, info, turn.now_ms).map(|()| len)
            }
            Arrived::Continue(len) => {
                self.outgoing.settles();
                self.incoming.pass_interim(len, upstream, info, turn).map(|()| len)
            }
            Arrived::Interim(len) => {
                self.incoming.pass_interim(len, upstream, info, turn).map(|()| len)
            }
            Arrived::Head(len) => {
                self.accept(len, info, turn);
                Ok(len)
            }
        }
    }

    /// Passes on the final head.
    #[inline]
    fn accept(&mut self, len: usize, info: &mut RequestInfo, turn: &mut Turn<'_, '_>) {
        // A body that is not read to its end makes the rest of the connection unreadable.
        if !self.outgoing.is_whole() {
            info.terms.close();
        }
        let Some(upstream) = self.dispatch.upstream_mut() else { return };
        if !self.outgoing.is_out(upstream) {
            info.reuse.note_early_answer();
        }
        self.outgoing.settles();
        let status = self.incoming.accept(len, upstream, info, turn);
        self.look_at_instance(info, turn);
        if self.is_endless() || matches!(self.incoming.state(), AnswerState::Switched) {
            self.dispatch.clear_instance();
        }
        self.dispatch.answered(status, turn);
        info.account.answered(status, turn.now_ms);
    }

    /// Finishes a complete answer. The instance is free, even if the client has not read all of it.
    #[inline]
    fn finish(&mut self, info: &RequestInfo, turn: &mut Turn<'_, '_>) {
        self.dispatch.clear_instance();
        let Some(mut upstream) = self.dispatch.take_connection() else { return };
        upstream.flight.instance().moved(turn.now_ms);
        let sent = self.outgoing.is_out(&upstream);
        let clean = upstream.side.unread() == 0 && !upstream.side.has_ended();
        upstream.side.release_input(&turn.worker.stock);
        if let (Next::Stays(kept), true) = (info.reuse.next(upstream.is_own()), sent && clean) {
            upstream.give_back(turn.timer, kept, turn.worker, turn.now_ms);
        }
    }

    /// Retries if I10 allows it, else replies with an error page, else cuts the answer.
    fn failed(
        &mut self,
        failure: AttemptFailure,
        info: &mut RequestInfo,
        turn: &Turn<'_, '_>,
    ) -> Result<usize, Stop> {
        let unread = self.dispatch.link().upstream().map_or(0, |upstream| upstream.side.unread());
        let seen = self.incoming.seen(unread);
        match self.dispatch.failed(failure, seen, &self.outgoing, info, turn) {
            AfterFailure::Nothing => {}
            AfterFailure::Reply(page) => return Err(Stop::Reply(OwnAnswer::Page(page))),
            AfterFailure::Cut => {
                info.account.fails();
                self.incoming.set_cut();
            }
            AfterFailure::Retry => {
                self.incoming.begin_anew();
                self.outgoing.rewind();
            }
        }
        Ok(1)
    }

    /// Returns the event that has to come next.
    #[inline]
    fn waits_for(&self, turn: &Turn<'_, '_>) -> WaitsFor {
        WaitsFor::of(&self.outgoing, &self.dispatch, &self.incoming, turn)
    }

    /// Returns whether the client has to send more before anything can go out.
    fn waits_for_body(&self) -> bool {
        self.outgoing.waits_for_body(self.dispatch.link().upstream())
    }

    /// Returns when something has to be done if no event comes before.
    #[inline]
    pub(super) fn due(&self, info: &RequestInfo, turn: &Turn<'_, '_>) -> Deadline {
        self.waits_for(turn).due(&info.pacing, turn).min(self.dispatch.cut_at())
    }

    /// Handles an event that has not come in time.
    pub(super) fn overdue(
        &mut self,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Stop> {
        if self.dispatch.cut_at().is_over(turn.now_ms) {
            self.dispatch.never_cut();
            if self.is_endless() {
                self.end_stream(info);
                return Ok(());
            }
            return self.failed(AttemptFailure::Drained, info, turn).map(drop);
        }
        match self.waits_for(turn) {
            WaitsFor::Instance { .. } => Ok(()),
            WaitsFor::Reader if !info.pacing.reads_too_slowly(turn) => Ok(()),
            WaitsFor::Reader => {
                self.abort(info);
                Err(Stop::End(ExchangeEnd::Reset))
            }
            WaitsFor::Continue { .. } => {
                self.outgoing.settles();
                info.pacing.moved(turn.now_ms);
                turn.client.proceed(turn.worker);
                Ok(())
            }
            WaitsFor::Body if !info.pacing.sends_too_slowly(turn) => Ok(()),
            WaitsFor::Body => {
                self.abort(info);
                Err(Stop::Reply(OwnAnswer::Page(ErrorPage::TIMEOUT)))
            }
            WaitsFor::Connection { .. }
            | WaitsFor::Room { .. }
            | WaitsFor::Answer
            | WaitsFor::More
            | WaitsFor::Event => self.failed(self.dispatch.link().late(), info, turn).map(drop),
            WaitsFor::End => Err(Stop::End(ExchangeEnd::Reset)),
        }
    }

    /// Ends an event stream whose instance goes: its client reconnects to another one. The last chunk is
    /// left out, to tell the end from one by the app.
    fn end_stream(&mut self, info: &mut RequestInfo) {
        self.dispatch.drop_connection();
        info.terms.close();
        self.incoming.set_done();
    }

    /// Ends the exchange as aborted by its client.
    pub(super) fn abort(&mut self, info: &mut RequestInfo) {
        info.account.aborts();
        self.dispatch.drop_connection();
    }

    /// Ends the exchange of a client that has left.
    pub(super) fn client_left(&mut self, info: &mut RequestInfo) -> ExchangeEnd {
        self.abort(info);
        ExchangeEnd::Gone
    }

    /// Makes way for a complete answer of the proxy itself.
    pub(super) fn give_up(&mut self, info: &mut RequestInfo, client: &mut ClientSide) {
        self.dispatch.gives_up();
        self.outgoing.discard(client, info.terms.after());
        if !self.outgoing.is_whole() {
            info.terms.close();
        }
        self.incoming.set_done();
    }

    /// Returns when to wake up if no event comes before.
    #[inline]
    pub(super) fn wakeup(&self, info: &RequestInfo, turn: &Turn<'_, '_>) -> Wakeup {
        let (watch, upstream) = match (self.dispatch.link(), self.incoming.state()) {
            (InstanceLink::Unchosen, _) => (Watch::Waiting, Deadline::never()),
            (InstanceLink::Connecting(up), AnswerState::Awaited(_)) => {
                (Watch::Waiting, up.wake(turn.now_ms))
            }
            (InstanceLink::Connecting(_), _) => (Watch::Waiting, Deadline::never()),
            (InstanceLink::Open(up), AnswerState::Awaited(_)) => {
                (Watch::Engaged, up.wake(turn.now_ms))
            }
            (InstanceLink::Open(_), _) => (Watch::Engaged, Deadline::never()),
            (InstanceLink::None, _) => (Watch::Nothing, Deadline::never()),
        };
        let look = self.unwatched_until(info, turn).unwrap_or(Deadline::never());
        let client = self.client_look(info, turn.client);
        Wakeup { at: self.due(info, turn).min(look).min(upstream).min(client), watch }
    }

    /// Returns until when the client's socket is not watched, because nothing is expected from it. `None`
    /// if it is watched or that time is over.
    fn unwatched_until(&self, info: &RequestInfo, turn: &Turn<'_, '_>) -> Option<Deadline> {
        if !self.outgoing.is_whole() {
            return None;
        }
        let until_ms = turn.client.unwatched_until_ms(info.account.started_ms())?;
        let until = Deadline::at(until_ms);
        (!until.is_over(turn.now_ms)).then_some(until)
    }

    /// Returns when to check the client if no event comes before.
    fn client_look(&self, info: &RequestInfo, client: &ClientSide) -> Deadline {
        match self.dispatch.link() {
            InstanceLink::None => Deadline::never(),
            InstanceLink::Open(_) if self.is_read_on(client) => Deadline::never(),
            InstanceLink::Unchosen | InstanceLink::Connecting(_) | InstanceLink::Open(_) => {
                info.presence.look()
            }
        }
    }

    /// Returns whether the proxy reads from the client. Then it notices there that the client leaves.
    fn is_read_on(&self, client: &ClientSide) -> bool {
        match (self.dispatch.link(), self.outgoing.is_whole()) {
            (InstanceLink::Unchosen | InstanceLink::Connecting(_), _) => false,
            (InstanceLink::Open(up), false) => {
                self.outgoing.room(up) > 0 && client.has_input_room()
            }
            (InstanceLink::None, _) | (InstanceLink::Open(_), true) => !client.has_input(),
        }
    }

    /// Returns what the client does. Used to choose connections to evict.
    pub(super) fn doing(&self, info: &RequestInfo, client: &ClientSide) -> Doing {
        let moved = |bytes| Moved { since_ms: info.account.started_ms(), bytes };
        let sends = self.waits_for_body() && self.outgoing.proceed() == Continue::Settled;
        match (self.incoming.state(), self.dispatch.link()) {
            (_, InstanceLink::Unchosen | InstanceLink::Connecting(_)) => Doing::Busy,
            _ if !client.is_flushed() => Doing::Answer(moved(info.pacing.handed())),
            (AnswerState::Awaited(_) | AnswerState::Body { .. }, _) if sends => {
                Doing::Body(moved(info.pacing.taken()))
            }
            _ => Doing::Busy,
        }
    }

    /// Returns the state of the answer.
    pub(super) fn answer(&self) -> &AnswerState {
        self.incoming.state()
    }

    /// Returns whether no part of the answer has gone out.
    fn is_awaited(&self) -> bool {
        matches!(self.incoming.state(), AnswerState::Awaited(_))
    }

    /// Returns whether the answer has no end of its own.
    pub(super) fn is_endless(&self) -> bool {
        self.incoming.kind() == AnswerKind::EventStream
    }

    /// Returns how the exchange ends, if it has come to its end.
    #[inline]
    pub(super) fn end(
        &mut self,
        info: &mut RequestInfo,
        turn: &Turn<'_, '_>,
    ) -> Option<ExchangeEnd> {
        if info.presence.is_gone() {
            return Some(self.client_left(info));
        }
        if let AnswerState::Switched = self.incoming.state() {
            return self.tunnel(info, turn).map(|tunnel| ExchangeEnd::Tunnel(Box::new(tunnel)));
        }
        let unread = !turn.client.is_flushed();
        let rest = Rest { unread, unsent: !self.outgoing.is_whole() };
        ExchangeEnd::of(self.incoming.state(), &info.terms, rest)
    }

    /// Returns the tunnel that a 101 opens.
    fn tunnel(&mut self, info: &RequestInfo, turn: &Turn<'_, '_>) -> Option<Tunnel> {
        let UpstreamConnection { side, flight, .. } = self.dispatch.take_connection()?;
        let terms = tunnel::TunnelTerms {
            app: info.account.app().map(|app| app.key),
            drain_ms: self.dispatch.drain_ms(),
            idle_ms: info.pacing.limits().tunnel_idle.0,
        };
        let (stream, rest) = side.into_parts();
        Some(Tunnel::new(stream, flight, rest, terms, turn))
    }

    /// Counts the request as ended.
    #[inline]
    pub(super) fn settle(&mut self, info: &mut RequestInfo, worker: &Worker, now_ms: u64) {
        self.dispatch.request_ended();
        info.account.request_ended(self.dispatch.attempts(), worker, now_ms);
    }

    /// Gives the buffers back.
    pub(super) fn give_back(&mut self, stock: &Stock) {
        self.outgoing.give_back(stock);
    }
}
