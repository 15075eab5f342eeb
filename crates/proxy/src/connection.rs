//! One client's connection: a state machine that is polled, from accept to close. Never spawns, and
//! never waits for two things in a way that could lose half a write.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http1::{Progress, RequestParser};
use model::Network;

use crate::buffer::Buffer;
use crate::crowd::{self, Doing};
use crate::exchange::Exchange;
use crate::exchange::end::End;
use crate::farewell::Farewell;
use crate::lounge::Guest;
use crate::pages::{Form, Page};
use crate::slot_id::SlotId;
use crate::slots::Watch;
use crate::socket::Socket;
use crate::tunnel::Tunnel;
use crate::turn::{Client, Turn, Wakeup};
use crate::whence::Whence;
use crate::worker::Worker;

/// Requests of one connection served in one poll before others get their turn.
const PIPELINED: usize = 32;

/// A connection that has been idle for so long rests: giving up its task and getting one again costs
/// a few system calls, which those that are used all the time never pay.
const REST_MS: u64 = 100;

#[derive(Debug)]
enum Stage {
    /// Between requests, or within a head.
    Head(Head),
    Exchange(Box<Exchange>),
    Tunnel(Box<Tunnel>),
    Farewell(Farewell),
    /// The worker has it as a [`Guest`]; what is left here is empty.
    AtRest,
}

#[derive(Debug)]
struct Head {
    /// Since when it is idle or, once a byte has come, since when the head is coming.
    since_ms: u64,
    /// When it rests, unless something comes.
    rest_ms: u64,
    parser: Option<Box<RequestParser>>,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    worker: Rc<Worker>,
    slot: SlotId,
    watch: Watch,
    client: Client,
    stage: Stage,
}

/// Whether a step changed the stage.
enum Step {
    Changed,
    Waits(Wakeup),
    /// It has been idle for a while, and may stay so until then.
    Rests {
        until_ms: u64,
    },
    Closed,
}

impl Connection {
    pub(crate) fn new(worker: Rc<Worker>, stream: Socket, peer: SocketAddr, port: Rc<str>) -> Self {
        let peer = peer.ip().to_canonical();
        let is_trusted = Network::any_contains(&worker.shared.config.trusted_proxies, peer);
        let origin = (!is_trusted).then(|| crowd::origin(peer));
        let slot = worker.slots.open(worker.sequence(), origin);
        let head = Head::idle_since(worker.shared.now_ms());
        Self::at(worker, slot, (stream, peer, port), head)
    }

    /// Goes on where it was when it went to rest.
    pub(crate) fn resume(worker: Rc<Worker>, slot: SlotId, guest: Guest) -> Self {
        let Guest { stream, peer, port, since_ms } = guest;
        let rest_ms = worker.shared.now_ms() + REST_MS;
        let head = Head { rest_ms, ..Head::idle_since(since_ms) };
        Self::at(worker, slot, (Socket::new(stream), peer, port), head)
    }

    fn at(
        worker: Rc<Worker>,
        slot: SlotId,
        (stream, peer, port): (Socket, IpAddr, Rc<str>),
        head: Head,
    ) -> Self {
        let client = Client {
            stream,
            slot,
            input: Buffer::default(),
            output: Buffer::default(),
            ended: false,
            peer,
            whence: Whence { ip: peer, relayed: false },
            address: peer.to_string(),
            port,
        };
        Self { worker, slot, watch: Watch::Nothing, client, stage: Stage::Head(head) }
    }

    /// Gives up its task until something happens, at the latest until then.
    fn rest(&mut self, now_ms: u64, until_ms: u64) -> Step {
        let Stage::Head(head) = &mut self.stage else { return Step::Closed };
        let Ok(stream) = self.client.stream.take().free() else {
            return Step::Closed;
        };
        let (port, since_ms) = (Rc::clone(&self.client.port), head.since_ms);
        let guest = Guest { stream, peer: self.client.peer, port, since_ms };
        match self.worker.rest(self.slot, until_ms, guest) {
            Ok(()) => {
                self.stage = Stage::AtRest;
                Step::Closed
            }
            Err(stream) => {
                self.client.stream = Socket::new(stream);
                head.rest_ms = now_ms + REST_MS;
                Step::Changed
            }
        }
    }

    fn doing(&self) -> Doing {
        match &self.stage {
            Stage::Head(head) if self.client.input.is_empty() => Doing::Idle(head.since_ms),
            Stage::Head(head) => Doing::Head(head.since_ms),
            Stage::Exchange(exchange) => exchange.doing(&self.client),
            Stage::Tunnel(tunnel) => tunnel.doing(),
            Stage::Farewell(_) => Doing::Closing,
            Stage::AtRest => Doing::Busy,
        }
    }

    /// There are too many: it makes room, unless a request of it waits for its instance by now. True if
    /// it simply closes; half a head gets an answer first.
    fn leave(&mut self, cx: &mut Context<'_>, now_ms: u64, news: bool) -> bool {
        let worker = Rc::clone(&self.worker);
        match self.doing() {
            Doing::Idle(_) => return true,
            Doing::Head(_) => {
                let client = &mut self.client;
                let mut turn = Turn { cx, worker: &worker, client, now_ms, news };
                self.stage = refuse(Page::CROWDED, &mut turn);
            }
            Doing::Body(_) | Doing::Answer(_) | Doing::Tunnel(_) => {
                if let Stage::Exchange(exchange) = &mut self.stage {
                    exchange.abort();
                }
                // What was sent must not look whole.
                self.client.stream.resets();
                return true;
            }
            Doing::Fresh | Doing::Busy | Doing::Closing => self.worker.slots.stays(self.slot),
        }
        false
    }

    fn advance(&mut self, cx: &mut Context<'_>, now_ms: u64, news: bool) -> Step {
        for _ in 0..PIPELINED {
            let worker = Rc::clone(&self.worker);
            let client = &mut self.client;
            let mut turn = Turn { cx, worker: &worker, client, now_ms, news };
            let step = match &mut self.stage {
                Stage::Head(head) => match head.poll(&mut turn) {
                    Ok(Step::Rests { until_ms }) => self.rest(now_ms, until_ms),
                    Ok(step) => step,
                    Err(next) => {
                        self.stage = next;
                        Step::Changed
                    }
                },
                Stage::Exchange(exchange) => match exchange.poll(&mut turn) {
                    Poll::Pending => Step::Waits(exchange.wakeup(&turn)),
                    Poll::Ready(end) => match after(end, &turn) {
                        Some(next) => {
                            self.stage = next;
                            Step::Changed
                        }
                        None => Step::Closed,
                    },
                },
                Stage::Tunnel(tunnel) => match tunnel.poll(&mut turn) {
                    Poll::Pending => Step::Waits(tunnel.wakeup()),
                    Poll::Ready(()) => {
                        self.stage = Stage::Farewell(Farewell::new(&turn));
                        Step::Changed
                    }
                },
                Stage::Farewell(farewell) => match farewell.poll(&mut turn) {
                    Poll::Pending => Step::Waits(farewell.wakeup()),
                    Poll::Ready(()) => Step::Closed,
                },
                Stage::AtRest => Step::Closed,
            };
            match step {
                Step::Changed => {}
                Step::Waits(_) | Step::Rests { .. } | Step::Closed => return step,
            }
        }
        cx.waker().wake_by_ref();
        Step::Waits(Wakeup { at_ms: u64::MAX, watch: self.watch })
    }
}

/// The stage after an exchange; none if the connection is simply closed.
fn after(end: End, turn: &Turn<'_, '_>) -> Option<Stage> {
    match end {
        End::Next => Some(Stage::Head(Head::idle_since(turn.now_ms))),
        // Nobody sends anything any more: there is nothing to discard, and no reason to stay.
        End::Last if turn.client.is_quiet() => None,
        End::Last | End::Close => Some(Stage::Farewell(Farewell::new(turn))),
        End::Gone => None,
        End::Reset => {
            // What was sent must not look whole: the client sees a reset, not an end.
            turn.client.stream.resets();
            None
        }
        End::Tunnel(tunnel) => Some(Stage::Tunnel(tunnel)),
    }
}

impl Head {
    fn idle_since(since_ms: u64) -> Self {
        Self { since_ms, rest_ms: since_ms + REST_MS, parser: None }
    }

    /// Reads until a head is whole. `Err` is the next stage.
    fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Result<Step, Stage> {
        loop {
            if !turn.client.input.is_empty() {
                let parser = self.parser.get_or_insert_with(|| turn.worker.request_parser());
                match parser.parse(turn.client.input.unread()) {
                    Ok(Progress::Finished(len)) => {
                        let exchange = Exchange::begin(parser.head(), len, self.since_ms, turn);
                        if let Some(parser) = self.parser.take() {
                            turn.worker.return_request_parser(parser);
                        }
                        return Err(Stage::Exchange(Box::new(exchange)));
                    }
                    Ok(Progress::Unfinished) => {}
                    Err(refused) => return Err(refuse(Page::refused(refused), turn)),
                }
            }
            let begun = !turn.client.input.is_empty();
            let wakeup = self.wakeup(turn, begun);
            if turn.client.ended {
                return Ok(Step::Closed);
            }
            if turn.now_ms >= wakeup.at_ms {
                return if begun { Err(refuse(Page::TIMEOUT, turn)) } else { Ok(Step::Closed) };
            }
            match turn.client.read(turn.cx, turn.worker) {
                Poll::Pending => return Ok(self.waits(turn, wakeup, begun)),
                Poll::Ready(Ok(0)) => turn.client.ended = true,
                Poll::Ready(Ok(_)) if !begun => self.since_ms = turn.now_ms,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Ok(Step::Closed),
            }
        }
    }

    /// Nothing has come: while idle it rests once it is time. Not in a proxy that is being shut down,
    /// where it would be called again at once.
    fn waits(&self, turn: &Turn<'_, '_>, wakeup: Wakeup, begun: bool) -> Step {
        if begun || turn.worker.is_draining() {
            Step::Waits(wakeup)
        } else if turn.now_ms < self.rest_ms {
            Step::Waits(Wakeup { at_ms: wakeup.at_ms.min(self.rest_ms), ..wakeup })
        } else {
            Step::Rests { until_ms: wakeup.at_ms }
        }
    }

    fn wakeup(&self, turn: &Turn<'_, '_>, begun: bool) -> Wakeup {
        let limits = &turn.worker.shared.config.limits;
        let at_ms = match begun {
            true => self.since_ms + limits.head.0,
            false => (self.since_ms + limits.idle.0).min(turn.worker.farewell_ms()),
        };
        Wakeup { at_ms, watch: Watch::Nothing }
    }
}

/// Answers a request that cannot be read, and closes so that the client sees it.
fn refuse(page: Page, turn: &mut Turn<'_, '_>) -> Stage {
    let date = turn.worker.date(turn.now_ms);
    page.write(Form::UNREAD, &date, turn.client.out(turn.worker));
    Stage::Farewell(Farewell::new(turn))
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now_ms = this.worker.shared.now_ms();
        let news = this.worker.slots.notice(this.slot, this.worker.sequence());
        let leaves = this.worker.slots.is_evicted(this.slot) && this.leave(cx, now_ms, news);
        let step = if leaves { Step::Closed } else { this.advance(cx, now_ms, news) };
        let waited = this.watch == Watch::Waiting;
        let poll = match step {
            Step::Waits(wakeup) => {
                this.watch = wakeup.watch;
                this.worker.slots.set(this.slot, wakeup.watch, wakeup.at_ms, cx);
                this.worker.slots.set_doing(this.slot, this.doing());
                Poll::Pending
            }
            Step::Changed | Step::Rests { .. } | Step::Closed => {
                this.watch = Watch::Nothing;
                Poll::Ready(())
            }
        };
        if waited && news {
            this.worker.resolved_one();
        }
        poll
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::AtRest) {
            return;
        }
        let unresolved = self.watch == Watch::Waiting
            && self.worker.slots.notice(self.slot, self.worker.sequence());
        if let Stage::Exchange(exchange) = &mut self.stage {
            exchange.broken_off(&self.worker);
        }
        self.worker.pool.forget(self.slot);
        self.worker.slots.close(self.slot);
        self.worker.connection_ended();
        if unresolved {
            self.worker.resolved_one();
        }
        let Client { input, output, .. } = &mut self.client;
        self.worker.stock.put(std::mem::take(input));
        self.worker.stock.put(std::mem::take(output));
    }
}
