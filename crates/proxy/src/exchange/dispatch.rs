//! Dispatches a request to an instance: chooses one, waits if there is none, connects, and tries again where
//! that is allowed (I10). Sends nothing itself, and does not decide what the client gets instead.

use std::sync::Arc;
use std::task::Poll;

use balance::{ReleasePace, Standing};

use crate::deadline::Deadline;
use crate::exchange::account::Belongs;
use crate::exchange::arm::ChosenArm;
use crate::exchange::failure::AttemptFailure;
use crate::exchange::held::Held;
use crate::exchange::incoming::{AnswerKind, SeenOfAnswer};
use crate::exchange::link::InstanceLink;
use crate::exchange::outgoing::Outgoing;
use crate::exchange::own_answer::OwnAnswer;
use crate::exchange::pick::{Backlog, Chosen, PickResult, Seeker};
use crate::exchange::request_info::RequestInfo;
use crate::exchange::tries::Tries;
use crate::instance::{InFlightGuard, InstanceState};
use crate::pages::ErrorPage;
use crate::pool::Demand;
use crate::stats::AppStats;
use crate::stopwatch::Stopwatch;
use crate::stream::is_local;
use crate::tunnel::JITTER_MS;
use crate::turn::Turn;
use crate::upstream::UpstreamConnection;

/// The dispatch of one request.
#[derive(Debug)]
pub(super) struct Dispatch {
    link: InstanceLink,
    tries: Tries,
    arm: ChosenArm,
    held: Held,
    /// How long its answer may take once its instance has left, in milliseconds.
    drain_ms: u64,
    /// When its connection is cut, since its instance has left.
    cut_at: Deadline,
}

/// The outcome of one step.
pub(super) enum DispatchStep {
    /// Nothing can be done until something happens.
    Rests,
    Moved,
    /// The attempt came to nothing.
    Failed(AttemptFailure),
    /// No instance can have the request.
    Refused(OwnAnswer),
}

/// What follows when an attempt has come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// Another attempt.
    Retry,
    /// The client gets this page.
    Reply(ErrorPage),
    /// The answer breaks off.
    Cut,
    /// Nothing: the client has left, or there was no attempt.
    Nothing,
}

impl Default for Dispatch {
    #[inline]
    fn default() -> Self {
        Self {
            link: InstanceLink::None,
            tries: Tries::default(),
            arm: ChosenArm::default(),
            held: Held::default(),
            drain_ms: 0,
            cut_at: Deadline::never(),
        }
    }
}

impl Dispatch {
    pub(super) fn link(&self) -> &InstanceLink {
        &self.link
    }

    /// The connection that the request goes out on, if it does.
    pub(super) fn upstream_mut(&mut self) -> Option<&mut UpstreamConnection> {
        self.link.upstream_mut()
    }

    /// When a held request is looked at though nothing happened.
    pub(super) fn held_look(&self) -> Deadline {
        self.held.look()
    }

    /// When the connection is cut.
    pub(super) fn cut_at(&self) -> Deadline {
        self.cut_at
    }

    /// How many attempts there were.
    pub(super) fn attempts(&self) -> u32 {
        self.tries.attempts()
    }

    /// The request has been routed: an instance is to be chosen.
    pub(super) fn begin(&mut self, belongs: Belongs) {
        if belongs == Belongs::Anew {
            self.held.changes_app();
            self.arm.changes_app();
        }
        self.link = InstanceLink::Unchosen;
    }

    /// Moves towards an open connection.
    #[inline]
    pub(super) fn step(
        &mut self,
        outgoing: &Outgoing,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> DispatchStep {
        match &mut self.link {
            InstanceLink::None => DispatchStep::Rests,
            InstanceLink::Open(upstream) => {
                upstream.wait_for_room_if_late(turn.now_ms);
                DispatchStep::Rests
            }
            InstanceLink::Unchosen => self.choose(outgoing, info, turn),
            InstanceLink::Connecting(_) => self.connecting(info, turn),
        }
    }

    fn connecting(&mut self, info: &mut RequestInfo, turn: &mut Turn<'_, '_>) -> DispatchStep {
        let InstanceLink::Connecting(upstream) = &mut self.link else { return DispatchStep::Rests };
        match upstream.poll_connected(turn) {
            Poll::Pending => self.waits_to_connect(info, turn),
            Poll::Ready(Ok(())) => self.connected(info, turn),
            Poll::Ready(Err(error)) if is_local(&error) => {
                DispatchStep::Failed(AttemptFailure::ConnectOurs)
            }
            Poll::Ready(Err(_)) => DispatchStep::Failed(AttemptFailure::Connect),
        }
    }

    fn choose(
        &mut self,
        outgoing: &Outgoing,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> DispatchStep {
        let Some(app) = info.account.app().map(Arc::clone) else { return DispatchStep::Rests };
        if self.held.looks_again(turn.now_ms) {
            self.tries.begin_anew();
        }
        if self.held.is_held() && info.presence.check_gone(turn) {
            return DispatchStep::Rests;
        }
        match self.seeker(info).judge(&app, turn) {
            PickResult::Goes(chosen) => {
                if let Some(backlog) = chosen.behind
                    && self.lets_others_go(&app, backlog, outgoing, info, turn)
                {
                    return DispatchStep::Rests;
                }
                self.go(chosen, &app, info, turn);
                DispatchStep::Moved
            }
            PickResult::Waits(patience) => {
                let bytes = outgoing.held_bytes(turn.client);
                match self.held.enter(&app, patience.hold_ms, bytes, &mut info.presence, turn) {
                    true => DispatchStep::Rests,
                    false => DispatchStep::Refused(patience.instead),
                }
            }
            PickResult::Lost => DispatchStep::Refused(OwnAnswer::Page(ErrorPage::NO_APP)),
        }
    }

    fn seeker<'a>(&'a self, info: &'a RequestInfo) -> Seeker<'a> {
        Seeker { known: &info.known, tries: &self.tries, kept: self.arm.kept() }
    }

    /// Whether a request that could go lets those go first that came before: all at once would be
    /// more than instances bear that have only just come. Nobody is refused for that: where there is
    /// no room or no time to wait, it goes.
    fn lets_others_go(
        &mut self,
        app: &Arc<AppStats>,
        backlog: Backlog,
        outgoing: &Outgoing,
        info: &mut RequestInfo,
        turn: &Turn<'_, '_>,
    ) -> bool {
        let at_first = ReleasePace::at_first(backlog.instances, turn.worker.shared.config.workers);
        let its_turn = match self.held.may_go(at_first) {
            Some(may_go) => may_go,
            // Its turn had come when it was sent out the first time.
            None => self.arm.kept().is_some() || !turn.worker.hold_queues.is_waiting(app.key),
        };
        let bytes = outgoing.held_bytes(turn.client);
        !its_turn && self.held.enter(app, backlog.hold_ms, bytes, &mut info.presence, turn)
    }

    fn go(
        &mut self,
        chosen: Chosen,
        app: &Arc<AppStats>,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) {
        if self.tries.attempts() > 0 && !self.held.is_held() {
            turn.worker.count(app, |cells| &cells.retried);
        }
        if let Some(held_ms) = self.held.go(turn.now_ms) {
            info.account.held(held_ms);
        }
        if chosen.diverted {
            turn.worker.count(app, |cells| &cells.diverted);
        }
        if chosen.standing == Standing::FailOpen {
            turn.worker.count(app, |cells| &cells.failed_open);
        }
        self.drain_ms = chosen.drain_ms;
        self.tries.count();
        info.pacing.moved(turn.now_ms);
        info.account.chose(&chosen.instance, chosen.release.release, turn.now_ms);
        self.arm.keep(chosen.release);
        self.connect(chosen.instance, chosen.stopwatch, info, turn);
    }

    /// Takes an idle connection or begins a new one; from here on the request counts as in flight.
    fn connect(
        &mut self,
        instance: Arc<InstanceState>,
        stopwatch: Option<Stopwatch>,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) {
        let flight = InFlightGuard::new(Arc::clone(&instance), turn.now_ms);
        let demand = if info.terms.is_resendable() { Demand::Any } else { Demand::Certain };
        let used = match self.tries.may_take_idle() && info.reuse.takes_used() {
            false => None,
            true => {
                let client = turn.timer;
                turn.worker.pool.take(client, instance.key, demand, turn.now_ms)
            }
        };
        if let Some(used) = used {
            self.link =
                InstanceLink::Open(UpstreamConnection::again(used, flight, stopwatch, turn.now_ms));
            return info.account.connected(turn.now_ms, turn.now_ms);
        }
        match UpstreamConnection::dial(flight, stopwatch, turn.now_ms) {
            Ok(upstream) => self.link = InstanceLink::Connecting(upstream),
            Err(error) => {
                self.tries.rule_out(instance.key);
                self.link = InstanceLink::Unchosen;
                if is_local(&error) {
                    tracing::warn!(%error, "cannot open a connection to an instance");
                } else {
                    self.arm.blame(&instance, info.account.app(), turn);
                }
            }
        }
    }

    /// There is no connection yet. Moves on if another instance is to be chosen, or none for a client
    /// that has left.
    fn waits_to_connect(&mut self, info: &mut RequestInfo, turn: &Turn<'_, '_>) -> DispatchStep {
        if info.presence.check_gone_if_due(turn) {
            self.link = InstanceLink::None;
            return DispatchStep::Moved;
        }
        let InstanceLink::Connecting(upstream) = &mut self.link else { return DispatchStep::Rests };
        upstream.wait_for_room_if_late(turn.now_ms);
        let crowded = upstream.is_here() && upstream.is_late(turn.now_ms);
        let key = upstream.flight.instance().key;
        if !crowded || self.tries.tried().contains(&key) {
            return DispatchStep::Rests;
        }
        // It listens and has no room: that is no fault of it. One that has room goes first.
        self.tries.rule_out(key);
        let seeker = self.seeker(info);
        let elsewhere = info.account.app();
        if !elsewhere.is_some_and(|app| seeker.has_another_of_its_release(app, turn)) {
            return DispatchStep::Rests;
        }
        self.link = InstanceLink::Unchosen;
        DispatchStep::Moved
    }

    /// The connection stands: the request goes out on it, unless its client has left meanwhile.
    fn connected(&mut self, info: &mut RequestInfo, turn: &Turn<'_, '_>) -> DispatchStep {
        match std::mem::replace(&mut self.link, InstanceLink::None) {
            InstanceLink::Connecting(up)
                if turn.now_ms > up.since_ms && info.presence.check_gone(turn) => {}
            InstanceLink::Connecting(up) => {
                info.account.connected(up.since_ms, turn.now_ms);
                self.link = InstanceLink::Open(up);
            }
            link @ (InstanceLink::None | InstanceLink::Unchosen | InstanceLink::Open(_)) => {
                self.link = link
            }
        }
        DispatchStep::Moved
    }

    /// The snapshot has changed while the request waited or was in flight. True if the request has to
    /// be routed anew: what refused before may be gone, and others may have come. Nothing was sent, so
    /// that is no retry.
    #[inline]
    pub(super) fn look_again(
        &mut self,
        kind: AnswerKind,
        info: &RequestInfo,
        turn: &Turn<'_, '_>,
    ) -> bool {
        match &self.link {
            InstanceLink::None => false,
            InstanceLink::Unchosen | InstanceLink::Connecting(_) => {
                self.tries.begin_anew();
                self.link = InstanceLink::Unchosen;
                true
            }
            InstanceLink::Open(_) => {
                self.set_end(kind, info, turn);
                false
            }
        }
    }

    /// How long the answer may take, by whether its instance stays. A stream without an end stays
    /// where traffic goes, as a tunnel does: not on a kept standby, nor in a proxy that ends, nor while
    /// its app is closed for its client.
    pub(super) fn set_end(&mut self, kind: AnswerKind, info: &RequestInfo, turn: &Turn<'_, '_>) {
        let InstanceLink::Open(upstream) = &self.link else { return };
        let key = upstream.flight.instance().key;
        let (stays, jitter) = match kind {
            AnswerKind::EventStream => {
                let app = info.account.app().map(|app| app.key);
                let stays = turn.worker.carries(key) && !turn.is_closed(app);
                (stays, turn.worker.random() % JITTER_MS)
            }
            AnswerKind::Finite => (turn.worker.table.borrow().serves(key), 0),
        };
        if stays {
            self.cut_at = Deadline::never();
        } else if self.cut_at.is_never() {
            self.cut_at = Deadline::at(turn.now_ms + self.drain_ms + jitter);
        }
    }

    /// Why the attempt fails if its time is over.
    pub(super) fn late(&self) -> AttemptFailure {
        match &self.link {
            InstanceLink::Connecting(upstream) if upstream.is_here() => AttemptFailure::NoRoom,
            InstanceLink::Connecting(_) => AttemptFailure::Connect,
            InstanceLink::None | InstanceLink::Unchosen | InstanceLink::Open(_) => {
                AttemptFailure::Timeout
            }
        }
    }

    /// The attempt has come to nothing. Another one if I10 allows it.
    pub(super) fn failed(
        &mut self,
        failure: AttemptFailure,
        seen: SeenOfAnswer,
        outgoing: &Outgoing,
        info: &mut RequestInfo,
        turn: &Turn<'_, '_>,
    ) -> AfterFailure {
        let Some(mut upstream) = self.link.take() else { return AfterFailure::Nothing };
        let instance = Arc::clone(upstream.flight.instance());
        let (sent, used) = (!upstream.side.is_unsent(), upstream.is_used());
        if failure == AttemptFailure::Timeout && sent {
            upstream.note_time(turn.now_ms);
        }
        upstream.side.release_input(&turn.worker.stock);
        drop(upstream);
        info.account.attempt_failed(failure);
        self.cut_at = Deadline::never();
        // An idle connection that its owner closed is nobody's fault, unless it costs the request. Nor
        // is one that bore what an earlier answer had left on it.
        let stale = used
            && matches!(failure, AttemptFailure::Broken | AttemptFailure::Stale)
            && seen != SeenOfAnswer::Head;
        if !failure.is_ours() && !stale {
            self.arm.blame(&instance, info.account.app(), turn);
        }
        if seen == SeenOfAnswer::Head {
            return AfterFailure::Cut;
        }
        let unanswered = seen == SeenOfAnswer::Nothing
            || (seen == SeenOfAnswer::Bytes && failure == AttemptFailure::Stale);
        let again = || {
            outgoing.is_kept()
                && unanswered
                && info.account.app().is_some_and(|app| app.may_retry(turn.now_ms))
        };
        let may = match failure {
            _ if info.account.app().is_none() => false,
            AttemptFailure::Connect | AttemptFailure::ConnectOurs => true,
            _ if self.tries.are_used_up() => false,
            AttemptFailure::Broken if !sent => true,
            AttemptFailure::Broken | AttemptFailure::Stale => again(),
            AttemptFailure::Timeout => self.may_ask_another(&instance, info, turn) && again(),
            AttemptFailure::NoRoom | AttemptFailure::BadAnswer | AttemptFailure::Drained => false,
        };
        let may = may && info.presence.may_retry(turn);
        if info.presence.is_gone() {
            return AfterFailure::Nothing;
        }
        if !may {
            if stale {
                self.arm.failed(turn);
            }
            return AfterFailure::Reply(failure.page());
        }
        if failure == AttemptFailure::Timeout {
            self.tries.kept_waiting();
        } else if used {
            self.tries.want_fresh();
        } else {
            self.tries.rule_out(instance.key);
        }
        self.link = InstanceLink::Unchosen;
        AfterFailure::Retry
    }

    /// One that hangs is tried once only, and the request goes to another: so nobody waits for more
    /// than two of them, and an app that is slow is not asked for the same again and again.
    fn may_ask_another(
        &mut self,
        hung: &InstanceState,
        info: &RequestInfo,
        turn: &Turn<'_, '_>,
    ) -> bool {
        self.tries.rule_out(hung.key);
        let has_another = |app: &Arc<AppStats>| self.seeker(info).has_another(app, turn);
        !self.tries.were_kept_waiting() && info.account.app().is_some_and(has_another)
    }

    /// The head of the answer has come.
    #[inline]
    pub(super) fn answered(&mut self, status: u16, turn: &Turn<'_, '_>) {
        if let InstanceLink::Open(upstream) = &mut self.link {
            upstream.answered(turn.now_ms);
            upstream.note_time(turn.now_ms);
        }
        self.arm.answered(status, turn);
        self.held.answered();
    }

    /// Its instance can answer. One that breaks off each answer in the middle cannot: what has an end
    /// must have come to it.
    pub(super) fn clear_instance(&self) {
        if let InstanceLink::Open(upstream) = &self.link {
            upstream.flight.instance().answered();
        }
    }

    /// The instance is not needed any more, or has gone.
    pub(super) fn drop_connection(&mut self) {
        self.link = InstanceLink::None;
    }

    /// The answer is whole, or a tunnel follows: what the connection is good for is up to the caller.
    #[inline]
    pub(super) fn take_connection(&mut self) -> Option<UpstreamConnection> {
        self.cut_at = Deadline::never();
        self.link.take()
    }

    /// How long the answer may take once its instance has left, in milliseconds.
    pub(super) fn drain_ms(&self) -> u64 {
        self.drain_ms
    }

    /// No instance is going to answer.
    pub(super) fn gives_up(&mut self) {
        self.link = InstanceLink::None;
        self.held.gives_up();
    }

    /// The answer goes on, whatever has become of its instance.
    pub(super) fn never_cut(&mut self) {
        self.cut_at = Deadline::never();
    }

    /// The request has ended.
    pub(super) fn request_ended(&mut self) {
        self.held.request_ended();
    }
}
