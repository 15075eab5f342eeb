//! One client's connection: a state machine that is polled, from accept to close. Never spawns a task,
//! and never waits for two events in a way that could lose half a write.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http1::{Progress, RequestParser};
use model::Network;

use crate::caller::Caller;
use crate::deadline::Deadline;
use crate::eviction::{self, Doing};
use crate::exchange::Exchange;
use crate::exchange::end::ExchangeEnd;
use crate::front::h1::Client;
use crate::front::side::ClientSide;
use crate::idle::IdleConnection;
use crate::lingering_close::LingeringClose;
use crate::pages::{ErrorPage, Form};
use crate::socket::Socket;
use crate::timer_id::TimerId;
use crate::timers::{Departure, Watch};
use crate::tunnel::Tunnel;
use crate::turn::{Turn, Wakeup};
use crate::worker::Worker;
use crate::worker::seat::{News, Seat};

/// Requests of one connection served in one poll, before other connections of the worker are polled.
const PIPELINED: usize = 32;

/// Time after which an idle connection gives up its task. Giving up a task and getting one again costs a
/// few system calls, which connections in constant use never pay.
const REST_MS: u64 = 100;

#[derive(Debug)]
enum Stage {
    /// The connection is idle, or a head is coming.
    Head(Head),
    Exchange(Box<Exchange>),
    Tunnel(Box<Tunnel>),
    LingeringClose(LingeringClose),
    /// The worker keeps the connection as an [`IdleConnection`]. The one left here is empty.
    AtRest,
}

#[derive(Debug)]
struct Head {
    /// The time since when the connection is idle or, once a byte has come, since when the head is
    /// coming.
    since_ms: u64,
    /// The time when the connection gives up its task, unless bytes come.
    rest_ms: u64,
    parser: Option<Box<RequestParser>>,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stage: Stage,
    client: ClientSide,
    caller: Caller,
    /// Dropped last: the instance is free by then.
    seat: Seat,
}

/// The outcome of one step: a new stage, or what the connection waits for.
enum Step {
    Changed,
    Waits(Wakeup),
    /// The connection has been idle for a while, and may stay so until then.
    Rests {
        until: Deadline,
    },
    Closed,
}

impl Connection {
    pub(crate) fn new(worker: Rc<Worker>, stream: Socket, peer: SocketAddr, port: Rc<str>) -> Self {
        let peer = peer.ip().to_canonical();
        let is_trusted = Network::any_contains(&worker.settings().trusted_proxies, peer);
        let origin = (!is_trusted).then(|| eviction::origin(peer));
        let head = Head::idle_since(worker.shared.now_ms());
        Self {
            stage: Stage::Head(head),
            client: ClientSide::H1(Client::new(stream)),
            caller: Caller::new(peer, port),
            seat: Seat::open(worker, origin),
        }
    }

    /// Resumes an idle connection with the state that it had when it gave up its task.
    pub(crate) fn resume(worker: Rc<Worker>, timer: TimerId, idle: IdleConnection) -> Self {
        let IdleConnection { stream, peer, port, since_ms } = idle;
        let rest_ms = worker.shared.now_ms() + REST_MS;
        let head = Head { rest_ms, ..Head::idle_since(since_ms) };
        Self {
            stage: Stage::Head(head),
            client: ClientSide::H1(Client::new(Socket::new(stream))),
            caller: Caller::new(peer, port),
            seat: Seat::at(worker, timer),
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stage, client, caller, seat } = self.get_mut();
        seat.visit(cx, |seat, cx, news| {
            let News { now_ms, snapshot_changed, departure } = news;
            let (worker, timer) = (seat.worker(), seat.timer());
            let mut turn = Turn { cx, worker, client, caller, timer, now_ms, snapshot_changed };
            let leaves = match departure {
                Some(Departure::MakesRoom) => stage.leave(&mut turn, seat),
                Some(Departure::Cut) => stage.cut(&mut turn),
                None => false,
            };
            if leaves {
                return None;
            }
            let wakeup = stage.advance(&mut turn, seat)?;
            Some((wakeup, stage.doing(client)))
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.seat.rests() {
            return;
        }
        let worker = self.seat.worker();
        if let Stage::Exchange(exchange) = &mut self.stage {
            exchange.broken_off(worker);
        }
        worker.connection_ended();
        let Client { input, output, .. } = self.client.h1();
        worker.stock.put(std::mem::take(input));
        worker.stock.put(std::mem::take(output));
    }
}

impl Stage {
    fn doing(&self, client: &ClientSide) -> Doing {
        match self {
            Self::Head(head) if !client.has_input() => Doing::Idle(head.since_ms),
            Self::Head(head) => Doing::Head(head.since_ms),
            Self::Exchange(exchange) => exchange.doing(client),
            Self::Tunnel(tunnel) => tunnel.doing(),
            Self::LingeringClose(_) => Doing::Closing,
            Self::AtRest => Doing::Busy,
        }
    }

    /// Makes room because there are too many connections, unless the request now waits for its instance.
    /// Returns true if the connection is simply closed. If half a head has come, the client gets an
    /// answer first.
    fn leave(&mut self, turn: &mut Turn<'_, '_>, seat: &Seat) -> bool {
        match self.doing(turn.client) {
            Doing::Idle(_) => return true,
            Doing::Head(_) => *self = refuse(ErrorPage::CROWDED, turn),
            Doing::Body(_) | Doing::Answer(_) | Doing::Tunnel(_) => {
                if let Self::Exchange(exchange) = self {
                    exchange.abort();
                }
                // The client must not take the bytes sent so far for a complete answer.
                turn.client.cut();
                return true;
            }
            Doing::Fresh | Doing::Busy | Doing::Closing => seat.cancel_eviction(),
        }
        false
    }

    /// Cuts the connection. One with a request or a stream is counted. Returns true: the connection is over.
    fn cut(&self, turn: &mut Turn<'_, '_>) -> bool {
        match self.doing(turn.client) {
            Doing::Idle(_) | Doing::Closing => {}
            Doing::Head(_)
            | Doing::Fresh
            | Doing::Body(_)
            | Doing::Answer(_)
            | Doing::Tunnel(_)
            | Doing::Busy => {
                turn.worker.shared.service.cut.fetch_add(1, Ordering::Relaxed);
                // The client must not take the bytes sent so far for a complete answer.
                turn.client.cut();
            }
        }
        true
    }

    /// Advances until it has to wait. Returns when to wake it up, or `None` if the connection is over.
    fn advance(&mut self, turn: &mut Turn<'_, '_>, seat: &Seat) -> Option<Wakeup> {
        for _ in 0..PIPELINED {
            match self.step(turn) {
                Step::Changed => {}
                Step::Waits(wakeup) => return Some(wakeup),
                Step::Rests { until } => self.rest(until, turn, seat)?,
                Step::Closed => return None,
            }
        }
        turn.cx.waker().wake_by_ref();
        Some(Wakeup { at: Deadline::never(), watch: seat.watch() })
    }

    fn step(&mut self, turn: &mut Turn<'_, '_>) -> Step {
        match self {
            Self::Head(head) => match head.poll(turn) {
                Ok(step) => return step,
                Err(next) => *self = next,
            },
            Self::Exchange(exchange) => match exchange.poll(turn) {
                Poll::Pending => return Step::Waits(exchange.wakeup(turn)),
                Poll::Ready(end) => match after(end, turn) {
                    Some(next) => *self = next,
                    None => return Step::Closed,
                },
            },
            Self::Tunnel(tunnel) => match tunnel.poll(turn) {
                Poll::Pending => return Step::Waits(tunnel.wakeup()),
                Poll::Ready(()) => *self = Self::LingeringClose(LingeringClose::new(turn)),
            },
            Self::LingeringClose(lingering_close) => match lingering_close.poll(turn) {
                Poll::Pending => return Step::Waits(lingering_close.wakeup()),
                Poll::Ready(()) => return Step::Closed,
            },
            Self::AtRest => return Step::Closed,
        }
        Step::Changed
    }

    /// Gives up the task until an event comes, at the latest until `until`. Returns `None` if that is
    /// done.
    fn rest(&mut self, until: Deadline, turn: &mut Turn<'_, '_>, seat: &Seat) -> Option<()> {
        let Self::Head(head) = self else { return None };
        let stream = turn.client.h1().stream.take().free().ok()?;
        let (port, since_ms) = (Rc::clone(&turn.caller.port), head.since_ms);
        let idle = IdleConnection { stream, peer: turn.caller.peer, port, since_ms };
        match seat.rest(until, idle) {
            Ok(()) => {
                *self = Self::AtRest;
                None
            }
            Err(stream) => {
                turn.client.h1().stream = Socket::new(stream);
                head.rest_ms = turn.now_ms + REST_MS;
                Some(())
            }
        }
    }
}

/// Returns the stage after an exchange, or `None` if the connection is simply closed.
fn after(end: ExchangeEnd, turn: &Turn<'_, '_>) -> Option<Stage> {
    match end {
        ExchangeEnd::Next => Some(Stage::Head(Head::idle_since(turn.now_ms))),
        // The client sends nothing more: there are no bytes to discard, and no reason to linger.
        ExchangeEnd::Last if turn.client.is_quiet() => None,
        ExchangeEnd::Last | ExchangeEnd::Close => {
            Some(Stage::LingeringClose(LingeringClose::new(turn)))
        }
        ExchangeEnd::Gone => None,
        ExchangeEnd::Reset => {
            // The client must see a reset, not an end, so that it does not take the answer for a complete
            // one.
            turn.client.cut();
            None
        }
        ExchangeEnd::Tunnel(tunnel) => Some(Stage::Tunnel(tunnel)),
    }
}

impl Head {
    fn idle_since(since_ms: u64) -> Self {
        Self { since_ms, rest_ms: since_ms + REST_MS, parser: None }
    }

    /// Reads until a head is complete. `Err` is the next stage.
    fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Result<Step, Stage> {
        loop {
            if turn.client.has_input() {
                let parser = self.parser.get_or_insert_with(|| turn.worker.parsers.request());
                match parser.parse(turn.client.head_bytes()) {
                    Ok(Progress::Finished(len)) => {
                        turn.client.h1().begin(parser.head(), len);
                        let exchange = Exchange::begin(parser.head(), self.since_ms, turn);
                        if let Some(parser) = self.parser.take() {
                            turn.worker.parsers.put_request(parser);
                        }
                        return Err(Stage::Exchange(exchange));
                    }
                    Ok(Progress::Unfinished) => {}
                    Err(refused) => return Err(refuse(ErrorPage::refused(refused), turn)),
                }
            }
            let begun = turn.client.has_input();
            let wakeup = self.wakeup(turn, begun);
            if turn.client.has_ended() {
                return Ok(Step::Closed);
            }
            if wakeup.at.is_over(turn.now_ms) {
                return if begun {
                    Err(refuse(ErrorPage::TIMEOUT, turn))
                } else {
                    Ok(Step::Closed)
                };
            }
            match turn.client.poll_read(turn.cx, turn.worker) {
                Poll::Pending => return Ok(self.waits(turn, wakeup, begun)),
                Poll::Ready(Ok(count)) if count > 0 && !begun => self.since_ms = turn.now_ms,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Ok(Step::Closed),
            }
        }
    }

    /// Waits for bytes. An idle connection gives up its task when it is time. Not while the proxy shuts
    /// down, where it would be woken again at once.
    fn waits(&self, turn: &Turn<'_, '_>, wakeup: Wakeup, begun: bool) -> Step {
        if begun || turn.worker.is_draining() {
            Step::Waits(wakeup)
        } else if turn.now_ms < self.rest_ms {
            Step::Waits(Wakeup { at: wakeup.at.min(Deadline::at(self.rest_ms)), ..wakeup })
        } else {
            Step::Rests { until: wakeup.at }
        }
    }

    fn wakeup(&self, turn: &Turn<'_, '_>, begun: bool) -> Wakeup {
        let settings = turn.worker.settings();
        let limits = &settings.limits;
        let at = match begun {
            true => Deadline::at(self.since_ms + limits.head.0),
            false => Deadline::at(self.since_ms + limits.idle.0).min(turn.worker.closes_idle_at()),
        };
        Wakeup { at, watch: Watch::Nothing }
    }
}

/// Answers a request that cannot be parsed, and closes in a way that lets the client read the answer.
fn refuse(page: ErrorPage, turn: &mut Turn<'_, '_>) -> Stage {
    let date = turn.worker.date(turn.now_ms);
    page.write(Form::UNREAD, &date, turn.client.h1().out(turn.worker));
    Stage::LingeringClose(LingeringClose::new(turn))
}
