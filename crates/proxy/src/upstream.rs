//! A connection to an instance with the request counted on it: how it is opened, what it has carried
//! before, and what it waits for. Never chooses the instance.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use model::{Address, Millis};
use tokio::time::{Sleep, sleep};

use crate::back::side::InstanceSide;
use crate::deadline::Deadline;
use crate::instance::InFlightGuard;
use crate::pool::Used;
use crate::reuse::Kept;
use crate::room::{Served, Waits};
use crate::stopwatch::Stopwatch;
use crate::stream::{InstanceStream, says_nothing};
use crate::timer_id::TimerId;
use crate::turn::Turn;
use crate::worker::Worker;

/// The first redial to an address of this machine follows after a random time between this and twice
/// this. Each later one waits twice as long as the one before, up to [`MOST_DOUBLINGS`] times.
const REDIAL_MS: u64 = 10;
const MOST_DOUBLINGS: u32 = 4;

/// Time without an answer on a new connection after which the instance may have no room for it.
const PATIENT_MS: u64 = 50;

/// The longest time that an idle connection is kept, whatever its instance declares.
const MOST_IDLE_MS: u64 = 60_000;

/// A connection to an instance, with the request counted on it.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    pub(crate) side: InstanceSide,
    pub(crate) flight: InFlightGuard,
    pub(crate) since_ms: u64,
    /// Timer for another dial before the time to connect is over; see
    /// [`UpstreamConnection::poll_connected`].
    redial: Option<Pin<Box<Sleep>>>,
    dials: u32,
    /// True if the instance's machine has made or refused the connection.
    is_answered: bool,
    /// True while the instance may leave unread what is sent to it.
    patient: bool,
    /// Set if the connection has carried an answer.
    served: Option<Served>,
    /// True if the connection has carried a body of this client.
    own: bool,
    /// Set while the attempt may have to wait until another connection is closed.
    waits: Option<Waits>,
    /// Runs since the last byte was sent. Set if instances are picked by their latency.
    pub(crate) stopwatch: Option<Stopwatch>,
}

impl UpstreamConnection {
    /// Begins to connect, which may take `within`.
    pub(crate) fn dial(
        flight: InFlightGuard,
        stopwatch: Option<Stopwatch>,
        within: Millis,
        now_ms: u64,
    ) -> std::io::Result<Self> {
        let stream = InstanceStream::connect(&flight.instance().address)?;
        if let Some(host) = flight.instance().host() {
            host.tries(within, now_ms);
        }
        Ok(Self::on(stream, flight, stopwatch, now_ms))
    }

    /// Takes up a connection that has been idle.
    pub(crate) fn again(
        used: Used,
        flight: InFlightGuard,
        stopwatch: Option<Stopwatch>,
        now_ms: u64,
    ) -> Self {
        let Used { stream, served, own, patient } = used;
        if patient {
            stream.watch_for_silence();
        }
        Self {
            served: Some(served),
            own,
            is_answered: true,
            ..Self::on(stream, flight, stopwatch, now_ms)
        }
    }

    fn on(
        stream: InstanceStream,
        flight: InFlightGuard,
        stopwatch: Option<Stopwatch>,
        since_ms: u64,
    ) -> Self {
        Self {
            side: InstanceSide::h1(stream),
            flight,
            since_ms,
            redial: None,
            dials: 0,
            is_answered: false,
            patient: false,
            served: None,
            own: false,
            waits: None,
            stopwatch,
        }
    }

    /// Returns whether the instance has answered on this connection.
    pub(crate) fn is_used(&self) -> bool {
        self.served.is_some()
    }

    /// Returns whether the instance is on this machine. There, a connection that is not made at once
    /// waits for room in the instance's accept queue. Elsewhere, a delay says nothing about the queue.
    pub(crate) fn is_here(&self) -> bool {
        match &self.flight.instance().address {
            Address::Unix(_) => true,
            Address::Tcp(address) => {
                address.ip().is_loopback() || self.side.stream().local_ip() == Some(address.ip())
            }
        }
    }

    /// Polls until the connection is made, and redials on this machine. If an accept queue is full, the
    /// kernel retries only after one second, then three, and small queues (Python's has five places)
    /// would cost seconds. Redials are spread by random delays.
    pub(crate) fn poll_connected(&mut self, turn: &mut Turn<'_, '_>) -> Poll<std::io::Result<()>> {
        loop {
            if let Poll::Ready(connected) = self.side.stream().poll_connected(turn.cx) {
                self.is_answered = !connected.as_ref().is_err_and(says_nothing);
                if let Some(host) = self.flight.instance().host().filter(|_| self.is_answered) {
                    host.answered();
                }
                return Poll::Ready(connected);
            }
            if !self.is_here() {
                return Poll::Pending;
            }
            let after_ms = REDIAL_MS << self.dials.min(MOST_DOUBLINGS);
            let after = || Duration::from_millis(after_ms + turn.worker.random() % after_ms);
            let redial = self.redial.get_or_insert_with(|| Box::pin(sleep(after())));
            std::task::ready!(redial.as_mut().poll(turn.cx));
            self.redial = None;
            self.dials += 1;
            self.side = InstanceSide::h1(InstanceStream::connect(&self.flight.instance().address)?);
        }
    }

    /// Returns whether the attempt has had no result for a while.
    pub(crate) fn is_late(&self, now_ms: u64) -> bool {
        now_ms >= self.since_ms + PATIENT_MS
    }

    /// Returns when the attempt begins to wait for room, unless an answer comes first.
    fn look_ms(&self) -> Option<u64> {
        (self.served.is_none() && self.waits.is_none()).then_some(self.since_ms + PATIENT_MS)
    }

    /// Returns when to look at the connection if no event comes before.
    pub(crate) fn wake(&self, now_ms: u64) -> Deadline {
        let look_ms = self.look_ms().filter(|at_ms| *at_ms > now_ms);
        look_ms.map_or(Deadline::never(), Deadline::at)
    }

    /// Begins to wait for room if the instance has not answered on a new connection for a while. Idle
    /// connections of this proxy may keep the instance from accepting it; they make room from then on.
    pub(crate) fn wait_for_room_if_late(&mut self, now_ms: u64) {
        if self.look_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            self.waits = Waits::for_room(&self.flight.instance().room);
        }
    }

    /// Notes that the answer on this connection has begun.
    pub(crate) fn answered(&mut self, now_ms: u64) {
        if let Some(host) = self.flight.instance().host() {
            host.answered();
        }
        let waited = self.waits.take().is_some();
        if self.served.is_none() {
            self.served = Some(Served::first(&self.flight.instance().room, waited, now_ms));
        }
    }

    /// Lets the instance leave unread what is sent to it for as long as it likes.
    pub(crate) fn wait_for_reader(&mut self) {
        if self.flight.instance().host().is_some() {
            self.side.stream().wait_for_reader();
            self.patient = true;
        }
    }

    /// Returns whether the instance's machine has given no sign of life: it neither made nor refused the
    /// connection, if `connecting` took too long, or has not acknowledged what was sent.
    pub(crate) fn hears_nothing(&self, connecting: bool) -> bool {
        (connecting && !self.is_answered) || self.side.is_lost()
    }

    /// Returns whether a body that the connection carried before was this client's.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// Tells the instance's latency record the time since the stopwatch started, if there is a stopwatch.
    pub(crate) fn note_time(&self, now_ms: u64) {
        if let Some(stopwatch) = self.stopwatch {
            self.flight.instance().took(stopwatch.took_us(), now_ms);
        }
    }

    /// Gives the connection back to the pool for the next request.
    pub(crate) fn give_back(self, client: TimerId, kept: Kept, worker: &Worker, now_ms: u64) {
        let settings = worker.settings();
        let limits = &settings.limits;
        // One second less than the instance declares: the instance may count from a different moment.
        let said = |s: u64| s.saturating_sub(1).saturating_mul(1000).min(MOST_IDLE_MS);
        let idle_ms = kept.idle_s.map_or(limits.upstream_idle.0, said);
        let Self { side, flight, served: Some(served), patient, .. } = self else { return };
        if idle_ms == 0 || worker.is_draining() {
            return;
        }
        let until_ms = now_ms.saturating_add(idle_ms);
        let stream = side.into_parts().0;
        let used = Used { stream, served, own: kept.own, patient };
        let most = limits.upstream_idle_max;
        worker.pool.put((client, used), flight.instance(), kept, most, (now_ms, until_ms));
    }
}
