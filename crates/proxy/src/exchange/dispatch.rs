//! Dispatches a request to an instance: chooses one, waits if there is none, connects, and tries again
//! where I10 allows it. Sends nothing itself, and does not decide what the client gets instead.

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
    /// Milliseconds that the answer may take once its instance has left.
    drain_ms: u64,
    /// The time at which the connection is cut, because its instance has left.
    cut_at: Deadline,
}

/// The outcome of one step.
pub(super) enum DispatchStep {
    /// Nothing can be done until an event comes.
    Rests,
    Moved,
    /// The attempt failed.
    Failed(AttemptFailure),
    /// No instance can take the request.
    Refused(OwnAnswer),
}

/// The step that follows a failed attempt.
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

    /// Returns the open connection that the request is sent on, if there is one.
    pub(super) fn upstream_mut(&mut self) -> Option<&mut UpstreamConnection> {
        self.link.upstream_mut()
    }

    /// Returns when a held request is looked at if no event comes before.
    pub(super) fn held_look(&self) -> Deadline {
        self.held.look()
    }

    /// Returns when the connection is cut.
    pub(super) fn cut_at(&self) -> Deadline {
        self.cut_at
    }

    /// Returns the number of attempts.
    pub(super) fn attempts(&self) -> u32 {
        self.tries.attempts()
    }

    /// Begins to choose an instance: the request has been routed.
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

    /// Returns whether a request that could go lets earlier requests go first, because all of them at
    /// once would be too many for instances that have just come. No request is refused for that: if there
    /// is no room or no time to wait, the request goes.
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
            // The request had its turn when it was sent the first time.
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

    /// Takes an idle connection or opens a new one. From here on the request counts as in flight.
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
        let within = turn.worker.settings().limits.connect;
        match UpstreamConnection::dial(flight, stopwatch, within, turn.now_ms) {
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

    /// Waits for a connection. Moves on if another instance is to be chosen, or if the client has left
    /// and no instance is needed.
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
        // The instance listens but has no room, which is no failure. An instance with room goes first.
        self.tries.rule_out(key);
        let seeker = self.seeker(info);
        let elsewhere = info.account.app();
        if !elsewhere.is_some_and(|app| seeker.has_another_of_its_release(app, turn)) {
            return DispatchStep::Rests;
        }
        self.link = InstanceLink::Unchosen;
        DispatchStep::Moved
    }

    /// Sends the request on the new connection, unless its client has left meanwhile.
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

    /// Reacts to a new snapshot while the request waits or is in flight. Returns true if the request has
    /// to be routed anew: what refused before may be gone, and other instances may have come. Nothing was
    /// sent, so this is no retry.
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

    /// Sets the time limit of the answer, by whether its instance stays. An endless stream stays where
    /// new traffic goes, like a tunnel: not on a kept standby, not in a proxy that shuts down, and not
    /// while its app is closed to its client.
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

    /// Handles a failed attempt. Retries if I10 allows it.
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
        info.account.attempt_failed(failure);
        self.cut_at = Deadline::never();
        let is_silent = upstream.hears_nothing(failure == AttemptFailure::Connect);
        if let Some(host) = instance.host().filter(|_| is_silent) {
            host.timed_out(turn.now_ms);
            self.tries.rule_out(host.key);
        }
        drop(upstream);
        // An idle connection closed by its owner is nobody's fault, unless that costs the request. Nor is
        // a connection with the rest of an earlier answer on it.
        let stale = used
            && !is_silent
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

    /// Returns whether another instance may be tried after one hangs. Only one retry follows a hang: a
    /// client waits for at most two such instances, and a slow app does not get the same request again
    /// and again.
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

    /// Notes that the head of the answer has come.
    #[inline]
    pub(super) fn answered(&mut self, status: u16, turn: &Turn<'_, '_>) {
        if let InstanceLink::Open(upstream) = &mut self.link {
            upstream.answered(turn.now_ms);
            upstream.note_time(turn.now_ms);
        }
        self.arm.answered(status, turn);
        self.held.answered();
    }

    /// Notes that the instance can answer. Called at the end of a finite answer, because an instance that
    /// breaks off every answer in the middle cannot.
    pub(super) fn clear_instance(&self) {
        if let InstanceLink::Open(upstream) = &self.link {
            upstream.flight.instance().answered();
        }
    }

    /// Drops the connection: the instance is not needed any more, or has gone.
    pub(super) fn drop_connection(&mut self) {
        self.link = InstanceLink::None;
    }

    /// Takes the connection after a complete answer or for a tunnel. The caller decides how to use it.
    #[inline]
    pub(super) fn take_connection(&mut self) -> Option<UpstreamConnection> {
        self.cut_at = Deadline::never();
        self.link.take()
    }

    /// Returns how many milliseconds the answer may take once its instance has left.
    pub(super) fn drain_ms(&self) -> u64 {
        self.drain_ms
    }

    /// Gives up: no instance is going to answer.
    pub(super) fn gives_up(&mut self) {
        self.link = InstanceLink::None;
        self.held.gives_up();
    }

    /// Lets the answer go on, whatever happens to its instance.
    pub(super) fn never_cut(&mut self) {
        self.cut_at = Deadline::never();
    }

    /// Notes that the request has ended.
    pub(super) fn request_ended(&mut self) {
        self.held.request_ended();
    }
}
