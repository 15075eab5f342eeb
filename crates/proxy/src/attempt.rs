//! Getting a request to the instance that was chosen: connect, and again if that is allowed (I10).
//! Never chooses itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::Address;
use tokio::time::{Sleep, sleep};

use crate::connection::Turn;
use crate::exchange::{Answer, Exchange};
use crate::instance::{InFlight, Instance};
use crate::pages::Page;
use crate::pool::Demand;
use crate::stats::AppStats;
use crate::stopwatch::Stopwatch;
use crate::stream::{Stream, is_local};
use crate::tunnel::JITTER_MS;
use crate::worker::Worker;

/// Attempts at one request, whatever the reason for the next.
pub(crate) const MOST_ATTEMPTS: u32 = 8;

/// How long one dial to an address of this machine waits: so long and up to twice as long.
const REDIAL_MS: u64 = 10;

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

/// A connection to an instance, with the request counted on it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    pub(crate) flight: InFlight,
    pub(crate) since_ms: u64,
    /// Dials again though the time to connect is not over; see [`Upstream::redial`].
    redial: Option<Pin<Box<Sleep>>>,
    /// Bytes of the request went out on it.
    pub(crate) sent: bool,
    /// Writing failed: an answer may have come before that.
    pub(crate) deaf: bool,
    /// The upstream sends nothing more.
    pub(crate) ended: bool,
    reused: bool,
    /// Since the last byte was sent, if instances are picked by the time they take.
    pub(crate) stopwatch: Option<Stopwatch>,
}

impl Upstream {
    /// On this very machine a connection that is not there at once waits for room in the instance's
    /// accept queue, and the kernel asks again only after one second, then three: small queues
    /// (Python's has five places) would cost seconds. So we dial again ourselves, and not all at
    /// the same moment. Elsewhere the network decides.
    fn poll_connected(&mut self, turn: &mut Turn<'_, '_>) -> Poll<std::io::Result<()>> {
        loop {
            if let Poll::Ready(connected) = self.stream.poll_connected(turn.cx) {
                return Poll::Ready(connected);
            }
            match &self.flight.instance().address {
                Address::Tcp(address) if address.ip().is_loopback() => {}
                Address::Tcp(_) | Address::Unix(_) => return Poll::Pending,
            }
            let after = Duration::from_millis(REDIAL_MS + turn.worker.random() % REDIAL_MS);
            let redial = self.redial.get_or_insert_with(|| Box::pin(sleep(after)));
            std::task::ready!(redial.as_mut().poll(turn.cx));
            self.redial = None;
            self.stream = Stream::connect(&self.flight.instance().address)?;
        }
    }

    /// It has taken so long as the stopwatch says, if there is one.
    pub(crate) fn note_time(&self, now_ms: u64) {
        if let Some(stopwatch) = self.stopwatch {
            self.flight.instance().took(stopwatch.took_us(), now_ms);
        }
    }
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection. `Ours` if the instance has no part in it.
    Connect,
    ConnectOurs,
    /// The connection broke before an answer.
    Broken,
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
            Self::ConnectOurs | Self::Drained => true,
            Self::Connect | Self::Broken | Self::Timeout | Self::BadAnswer => false,
        }
    }
}

impl Exchange {
    /// Moves towards an open connection. Tells how many steps that took.
    pub(crate) fn attempt(&mut self, turn: &mut Turn<'_, '_>) -> usize {
        let mut steps = 0;
        loop {
            match &mut self.link {
                Link::None | Link::Open(_) => return steps,
                Link::Unchosen => {
                    if !self.choose(turn) {
                        return steps;
                    }
                }
                Link::Connecting(upstream) => match upstream.poll_connected(turn) {
                    Poll::Pending => return steps,
                    Poll::Ready(Ok(())) => {
                        if let Link::Connecting(up) = std::mem::replace(&mut self.link, Link::None)
                        {
                            self.note_connected(up.since_ms, turn.now_ms);
                            self.link = Link::Open(up);
                        }
                    }
                    Poll::Ready(Err(error)) if is_local(&error) => {
                        self.attempt_failed(Failure::ConnectOurs, turn);
                    }
                    Poll::Ready(Err(_)) => self.attempt_failed(Failure::Connect, turn),
                },
            }
            steps += 1;
        }
    }

    /// The snapshot has changed while the request waited or was in flight.
    pub(crate) fn look_again(&mut self, turn: &mut Turn<'_, '_>) {
        let table = turn.worker.table.borrow();
        match &self.link {
            Link::None => {}
            // What refused before may be gone, and others may have come.
            Link::Unchosen => {
                self.tried.clear();
                self.attempts = 0;
            }
            // Nothing was sent: it goes to an instance that is still there. That is not a retry.
            Link::Connecting(upstream) if !table.serves(upstream.flight.instance().key) => {
                self.attempts = 0;
                self.link = Link::Unchosen;
            }
            Link::Connecting(_) => {}
            Link::Open(_) => {
                drop(table);
                self.set_end(turn);
            }
        }
    }

    /// How long the answer may take, by whether its instance stays. A stream without an end stays
    /// where traffic goes, as a tunnel does: not on a kept standby, nor in a proxy that ends.
    pub(crate) fn set_end(&mut self, turn: &Turn<'_, '_>) {
        let Link::Open(upstream) = &self.link else { return };
        let key = upstream.flight.instance().key;
        let (stays, jitter) = match self.is_endless() {
            true => (turn.worker.carries(key), turn.worker.random() % JITTER_MS),
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
        let demand = if self.resendable { Demand::Any } else { Demand::Certain };
        let idle = match self.fresh_only {
            true => None,
            false => turn.worker.pool.take(instance.key, demand, turn.now_ms),
        };
        self.note_instance(&instance, turn.now_ms);
        let reused = idle.is_some();
        let upstream = |stream| Upstream {
            stream,
            flight,
            since_ms: turn.now_ms,
            redial: None,
            sent: false,
            deaf: false,
            ended: false,
            reused,
            stopwatch,
        };
        match idle.map_or_else(|| Stream::connect(&instance.address), Ok) {
            Ok(stream) if reused => {
                self.link = Link::Open(upstream(stream));
                self.note_connected(turn.now_ms, turn.now_ms);
            }
            Ok(stream) => self.link = Link::Connecting(upstream(stream)),
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
        let failure = match self.link {
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
        let (sent, reused) = (upstream.sent, upstream.reused);
        if failure == Failure::Timeout && sent {
            upstream.note_time(turn.now_ms);
        }
        drop(upstream);
        self.note_failure(failure);
        self.cut_at_ms = u64::MAX;
        let broke_off = !matches!(self.answer, Answer::Awaited(_));
        // An idle connection that its owner closed is nobody's fault, unless it costs the request.
        let closed_idle = reused && failure == Failure::Broken && !broke_off;
        if !failure.is_ours() && !closed_idle {
            self.blame(&instance, turn);
        }
        if broke_off {
            return self.cut();
        }
        let unanswered = self.from_upstream.is_empty();
        self.from_upstream.clear();
        let page = match failure {
            Failure::Timeout | Failure::Drained => Page::GATEWAY_TIMEOUT,
            Failure::Connect | Failure::ConnectOurs | Failure::Broken | Failure::BadAnswer => {
                Page::BAD_GATEWAY
            }
        };
        let may = match failure {
            _ if self.app.is_none() => false,
            Failure::Connect | Failure::ConnectOurs => true,
            _ if self.attempts >= MOST_ATTEMPTS => false,
            Failure::Broken if !sent => true,
            Failure::Broken => self.may_send_again(unanswered, turn),
            Failure::Timeout => self.may_ask_another(&instance, unanswered, turn),
            Failure::BadAnswer | Failure::Drained => false,
        };
        if !may {
            if closed_idle {
                self.count_fault(turn);
            }
            return self.answer_ourselves(page, turn);
        }
        if failure == Failure::Timeout {
            self.kept_waiting = true;
        } else if reused {
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
            turn.worker.cells(release).faults.add_one();
        }
    }

    fn may_send_again(&self, unanswered: bool, turn: &Turn<'_, '_>) -> bool {
        self.resendable
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

/// Gives a connection back, if it may be used again.
pub(crate) fn give_back(upstream: Upstream, idle_s: Option<u64>, worker: &Worker, now_ms: u64) {
    let limits = &worker.shared.config.limits;
    // A second less than the upstream says: it may count from a different moment.
    let idle_ms = idle_s.map_or(limits.upstream_idle.0, |s| s.saturating_sub(1) * 1000);
    if idle_ms == 0 || worker.is_draining() {
        return;
    }
    let Upstream { stream, flight, .. } = upstream;
    let until_ms = now_ms.saturating_add(idle_ms);
    worker.pool.put(stream, flight.instance(), limits.upstream_idle_max, now_ms, until_ms);
}
