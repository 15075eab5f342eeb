//! Getting a request to the instance that was chosen: connect, and again if that is allowed (I10).
//! Never chooses itself.

use std::sync::Arc;
use std::task::Poll;

use crate::exchange::{Answer, Exchange};
use crate::instance::{InFlight, Instance};
use crate::pages::Page;
use crate::pool::Demand;
use crate::stats::AppStats;
use crate::stopwatch::Stopwatch;
use crate::stream::is_local;
use crate::tunnel::JITTER_MS;
use crate::turn::Turn;
use crate::upstream::Upstream;

/// Attempts at one request, whatever the reason for the next.
pub(crate) const MOST_ATTEMPTS: u32 = 8;

/// A request's way to an instance.
#[derive(Debug)]
pub(crate) enum Link {
    /// No instance is needed: the answer is ours, or it is whole.
    None,
    /// No instance is chosen; if none can be, the request is held.
    Unchosen,
    Connecting(Upstream),
    Open(Upstream),
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection. `Ours` if the instance has no part in it.
    Connect,
    ConnectOurs,
    /// It listens, and has had no room for another connection in all the time there was.
    NoRoom,
    /// The connection broke before an answer.
    Broken,
    /// What came on a connection that had been idle is no answer to this request.
    Stale,
    /// No answer in time.
    Timeout,
    /// An answer that cannot be passed on.
    BadAnswer,
    /// We cut it: its instance has left and the drain deadline is over.
    Drained,
}

impl Failure {
    /// Whether the instance has no part in it.
    const fn is_ours(self) -> bool {
        match self {
            Self::ConnectOurs | Self::NoRoom | Self::Drained => true,
            Self::Connect | Self::Broken | Self::Stale | Self::Timeout | Self::BadAnswer => false,
        }
    }
}

impl Exchange {
    /// Moves towards an open connection. Tells how many steps that took.
    pub(crate) fn attempt(&mut self, turn: &mut Turn<'_, '_>) -> usize {
        let mut steps = 0;
        loop {
            match &mut self.link {
                Link::None => return steps,
                Link::Open(upstream) => {
                    upstream.lines_up(turn.now_ms);
                    return steps;
                }
                Link::Unchosen => {
                    if !self.choose(turn) {
                        return steps;
                    }
                }
                Link::Connecting(upstream) => match upstream.poll_connected(turn) {
                    Poll::Pending if self.waits_to_connect(turn) => return steps,
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.connected(turn),
                    Poll::Ready(Err(error)) if is_local(&error) => {
                        self.attempt_failed(Failure::ConnectOurs, turn);
                    }
                    Poll::Ready(Err(_)) => self.attempt_failed(Failure::Connect, turn),
                },
            }
            steps += 1;
        }
    }

    /// There is no connection yet. False if another instance is to be chosen, or none for a client
    /// that has left.
    fn waits_to_connect(&mut self, turn: &Turn<'_, '_>) -> bool {
        if self.presence.waits_in_vain(turn) {
            self.link = Link::None;
            return false;
        }
        let Link::Connecting(upstream) = &mut self.link else { return true };
        upstream.lines_up(turn.now_ms);
        let crowded = upstream.is_here() && upstream.is_late(turn.now_ms);
        let key = upstream.flight.instance().key;
        if !crowded || self.tried.contains(&key) {
            return true;
        }
        // It listens and has no room: that is no fault of it. One that has room goes first.
        self.tried.push(key);
        let elsewhere = self.has_another_of_its_release(turn);
        if elsewhere {
            self.link = Link::Unchosen;
        }
        !elsewhere
    }

    /// The connection stands: the request goes out on it, unless its client has left meanwhile.
    fn connected(&mut self, turn: &Turn<'_, '_>) {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Connecting(up) if turn.now_ms > up.since_ms && self.presence.left(turn) => {}
            Link::Connecting(up) => {
                self.note_connected(up.since_ms, turn.now_ms);
                self.link = Link::Open(up);
            }
            link @ (Link::None | Link::Unchosen | Link::Open(_)) => self.link = link,
        }
    }

    /// The snapshot has changed while the request waited or was in flight.
    pub(crate) fn look_again(&mut self, turn: &mut Turn<'_, '_>) {
        match &self.link {
            Link::None => {}
            // What refused before may be gone, and others may have come. Nothing was sent, so this is
            // no retry.
            Link::Unchosen | Link::Connecting(_) => {
                self.tried.clear();
                self.attempts = 0;
                self.link = Link::Unchosen;
                self.route_again(turn);
            }
            Link::Open(_) => self.set_end(turn),
        }
    }

    /// How long the answer may take, by whether its instance stays. A stream without an end stays
    /// where traffic goes, as a tunnel does: not on a kept standby, nor in a proxy that ends, nor while
    /// its app is closed for its client.
    pub(crate) fn set_end(&mut self, turn: &Turn<'_, '_>) {
        let Link::Open(upstream) = &self.link else { return };
        let key = upstream.flight.instance().key;
        let (stays, jitter) = match self.is_endless() {
            true => {
                let app = self.app.as_ref().map(|app| app.key);
                let stays = turn.worker.carries(key) && !turn.is_closed(app);
                (stays, turn.worker.random() % JITTER_MS)
            }
            false => (turn.worker.table.borrow().serves(key), 0),
        };
        match (stays, self.cut_at_ms) {
            (true, _) => self.cut_at_ms = u64::MAX,
            (false, u64::MAX) => self.cut_at_ms = turn.now_ms + self.drain_ms + jitter,
            (false, _) => {}
        }
    }

    /// Takes an idle connection or begins a new one; from here on the request counts as in flight.
    pub(crate) fn connect(
        &mut self,
        instance: Arc<Instance>,
        stopwatch: Option<Stopwatch>,
        turn: &mut Turn<'_, '_>,
    ) {
        let flight = InFlight::new(Arc::clone(&instance), turn.now_ms);
        let demand = if self.terms.is_resendable() { Demand::Any } else { Demand::Certain };
        let used = match self.fresh_only || !self.reuse.takes_used() {
            true => None,
            false => {
                let client = turn.client.slot;
                turn.worker.pool.take(client, instance.key, demand, turn.now_ms)
            }
        };
        self.note_instance(&instance, turn.now_ms);
        if let Some(used) = used {
            self.link = Link::Open(Upstream::again(used, flight, stopwatch, turn.now_ms));
            return self.note_connected(turn.now_ms, turn.now_ms);
        }
        match Upstream::dial(flight, stopwatch, turn.now_ms) {
            Ok(upstream) => self.link = Link::Connecting(upstream),
            Err(error) => {
                self.tried.push(instance.key);
                self.link = Link::Unchosen;
                if is_local(&error) {
                    tracing::warn!(%error, "cannot open a connection to an instance");
                } else {
                    self.blame(&instance, turn);
                }
            }
        }
    }

    /// A deadline of the attempt has passed, or its instance has to go.
    pub(crate) fn attempt_timed_out(&mut self, turn: &mut Turn<'_, '_>) {
        let failure = match &self.link {
            Link::Connecting(upstream) if upstream.is_here() => Failure::NoRoom,
            Link::Connecting(_) => Failure::Connect,
            Link::None | Link::Unchosen | Link::Open(_) => Failure::Timeout,
        };
        self.attempt_failed(failure, turn);
    }

    /// Another attempt if I10 allows one, else an answer of ours, else the answer breaks off.
    pub(crate) fn attempt_failed(&mut self, failure: Failure, turn: &mut Turn<'_, '_>) {
        let upstream = match std::mem::replace(&mut self.link, Link::None) {
            Link::Connecting(upstream) | Link::Open(upstream) => upstream,
            Link::None | Link::Unchosen => return,
        };
        let instance = Arc::clone(upstream.flight.instance());
        let (sent, used) = (upstream.sent, upstream.is_used());
        if failure == Failure::Timeout && sent {
            upstream.note_time(turn.now_ms);
        }
        drop(upstream);
        self.note_failure(failure);
        self.cut_at_ms = u64::MAX;
        let broke_off = !matches!(self.answer, Answer::Awaited(_));
        // An idle connection that its owner closed is nobody's fault, unless it costs the request. Nor
        // is one that bore what an earlier answer had left on it.
        let stale = used && matches!(failure, Failure::Broken | Failure::Stale) && !broke_off;
        if !failure.is_ours() && !stale {
            self.blame(&instance, turn);
        }
        if broke_off {
            return self.cut();
        }
        let unanswered = self.from_upstream.is_empty() || failure == Failure::Stale;
        self.from_upstream.clear();
        let page = match failure {
            Failure::NoRoom | Failure::Timeout | Failure::Drained => Page::GATEWAY_TIMEOUT,
            Failure::Connect
            | Failure::ConnectOurs
            | Failure::Broken
            | Failure::Stale
            | Failure::BadAnswer => Page::BAD_GATEWAY,
        };
        let may = match failure {
            _ if self.app.is_none() => false,
            Failure::Connect | Failure::ConnectOurs => true,
            _ if self.attempts >= MOST_ATTEMPTS => false,
            Failure::Broken if !sent => true,
            Failure::Broken | Failure::Stale => self.may_send_again(unanswered, turn),
            Failure::Timeout => self.may_ask_another(&instance, unanswered, turn),
            Failure::NoRoom | Failure::BadAnswer | Failure::Drained => false,
        };
        let may = may && self.presence.goes_on(turn);
        if self.presence.is_gone() {
            return;
        }
        if !may {
            if stale {
                self.count_fault(turn);
            }
            return self.answer_ourselves(page, turn);
        }
        if failure == Failure::Timeout {
            self.kept_waiting = true;
        } else if used {
            self.fresh_only = true;
        } else {
            self.tried.push(instance.key);
        }
        if let Answer::Awaited(parser) = &mut self.answer {
            parser.restart();
        }
        self.request.rewind();
        self.link = Link::Unchosen;
    }

    /// Counts a failure against an instance and its release; the instance rests if it failed too
    /// often and others can stand in.
    fn blame(&mut self, instance: &Arc<Instance>, turn: &Turn<'_, '_>) {
        self.count_fault(turn);
        if instance.failed() {
            eject(instance, self.app.as_deref(), turn);
        }
    }

    /// Counts the request against the release that had it: once, however often it is tried.
    fn count_fault(&mut self, turn: &Turn<'_, '_>) {
        let Some(release) = &self.release else { return };
        if self.faulted.replace(release.release) != Some(release.release) {
            turn.worker.cells(release).failed(turn.client.whence.ip, turn.now_ms);
        }
    }

    fn may_send_again(&self, unanswered: bool, turn: &Turn<'_, '_>) -> bool {
        self.terms.is_resendable()
            && self.intact
            && unanswered
            && self.interims == 0
            && self.app.as_ref().is_some_and(|app| app.may_retry(turn.now_ms))
    }

    /// One that hangs is tried once only, and the request goes to another: so nobody waits for more
    /// than two of them, and an app that is slow is not asked for the same again and again.
    fn may_ask_another(&mut self, hung: &Instance, unanswered: bool, turn: &Turn<'_, '_>) -> bool {
        self.tried.push(hung.key);
        !self.kept_waiting && self.has_another(turn) && self.may_send_again(unanswered, turn)
    }
}

/// Lets an instance rest, if others can stand in.
fn eject(instance: &Arc<Instance>, app: Option<&AppStats>, turn: &Turn<'_, '_>) {
    let table = turn.worker.table.borrow();
    let Some(entry) = app.and_then(|app| table.app(app.key)) else { return };
    let arm = entry.arms.iter().find(|arm| arm.instances.iter().any(|i| i.key == instance.key));
    // Those that were on their way when it began to rest say nothing new.
    if let Some(arm) = arm.filter(|_| !instance.is_ejected(turn.now_ms)) {
        let resting = arm.instances.iter().filter(|i| i.is_ejected(turn.now_ms)).count();
        if balance::may_eject(arm.instances.len(), resting) {
            instance.eject(turn.now_ms);
        }
    }
}
