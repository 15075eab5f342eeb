//! One worker: a thread with its own listening sockets, upstream connections and snapshot. A
//! request lives on one worker from accept to end; nothing here waits for another thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use http1::{RequestParser, ResponseParser};
use tokio::runtime::LocalRuntime;

use crate::access_log::Block;
use crate::buffer::Stock;
use crate::cell::Cell as Counter;
use crate::clock::Beat;
use crate::connection::Connection;
use crate::date::{DateLine, Dates};
use crate::door::Door;
use crate::handover::{self, Arrival};
use crate::line::Lines;
use crate::load::Load;
use crate::lounge::{Guest, Lounge};
use crate::pool::Pool;
use crate::shared::{Desk, Shared};
use crate::slot_id::SlotId;
use crate::slots::Slots;
use crate::socket::Socket;
use crate::stats::{AppCells, AppStats, ReleaseCells, ReleaseStats};
use crate::table::Table;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(50);
/// How often everything else is looked at that is not urgent.
const TIDY_MS: u64 = 200;
/// Connections accepted before others get their turn.
const ACCEPTS: usize = 16;
/// Parsers kept in stock.
const PARSERS: usize = 64;
/// How long idle connections stay open when the proxy is being shut down: a request that is on its
/// way meets an open door and an answer that says `Connection: close`.
const FAREWELL_MS: u64 = 1_000;

/// What a worker's connections share. Only its own thread ever sees it.
#[derive(Debug)]
#[expect(clippy::vec_box, reason = "a parser's box moves into a connection and back")]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) table: RefCell<Arc<Table>>,
    pub(crate) pool: Pool,
    pub(crate) stock: Stock,
    pub(crate) slots: Slots,
    lounge: Lounge,
    pub(crate) lines: Rc<Lines>,
    unresolved: Cell<usize>,
    random: Cell<u64>,
    health_epoch: Cell<u64>,
    dates: Dates,
    /// Of the access log, if there is one.
    pub(crate) log: RefCell<Block>,
    acceptors: RefCell<Vec<Option<Waker>>>,
    /// The ports of its listening sockets, as text.
    ports: Vec<Rc<str>>,
    is_full: Cell<bool>,
    /// How many connections there are, as of the last sweep.
    pub(crate) load: Cell<Load>,
    farewell_ms: Cell<u64>,
    request_parsers: RefCell<Vec<Box<RequestParser>>>,
    response_parsers: RefCell<Vec<Box<ResponseParser>>>,
}

impl Worker {
    fn new(
        index: usize,
        shared: Arc<Shared>,
        lounge: Lounge,
        ports: Vec<Rc<str>>,
        seed: u64,
    ) -> Self {
        let table = shared.current.load_full();
        Self {
            index,
            shared,
            table: RefCell::new(table),
            pool: Pool::default(),
            stock: Stock::default(),
            slots: Slots::default(),
            lounge,
            lines: Rc::default(),
            unresolved: Cell::new(0),
            random: Cell::new(seed | 1),
            health_epoch: Cell::new(0),
            dates: Dates::default(),
            log: RefCell::default(),
            acceptors: RefCell::new(ports.iter().map(|_| None).collect()),
            ports,
            is_full: Cell::new(false),
            load: Cell::new(Load::Light),
            farewell_ms: Cell::new(u64::MAX),
            request_parsers: RefCell::default(),
            response_parsers: RefCell::default(),
        }
    }

    fn desk(&self) -> &Desk {
        &self.shared.desks[self.index]
    }

    /// The number of the snapshot in use.
    pub(crate) fn sequence(&self) -> u64 {
        self.table.borrow().sequence
    }

    /// A random number; not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The line that says when an answer was made that is made now.
    pub(crate) fn date(&self, now_ms: u64) -> DateLine {
        self.dates.line(now_ms, || self.shared.epoch_s())
    }

    pub(crate) fn count(&self, app: &AppStats, of: impl Fn(&AppCells) -> &Counter) {
        of(self.app_cells(app)).add_one();
    }

    pub(crate) fn app_cells<'a>(&self, app: &'a AppStats) -> &'a AppCells {
        &app.workers[self.index]
    }

    pub(crate) fn cells<'a>(&self, release: &'a ReleaseStats) -> &'a ReleaseCells {
        &release.workers[self.index]
    }

    /// Whether traffic goes to the instance: what has no end of its own may stay with it.
    pub(crate) fn carries(&self, key: u64) -> bool {
        self.table.borrow().carries(key) && !self.is_draining()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.farewell_ms.get() != u64::MAX
    }

    /// When idle connections are closed because the proxy is being shut down.
    pub(crate) fn farewell_ms(&self) -> u64 {
        self.farewell_ms.get()
    }

    pub(crate) fn request_parser(&self) -> Box<RequestParser> {
        let stocked = self.request_parsers.borrow_mut().pop();
        let sizes = self.shared.config.limits.head_sizes;
        stocked.unwrap_or_else(|| Box::new(RequestParser::new(sizes)))
    }

    pub(crate) fn return_request_parser(&self, mut parser: Box<RequestParser>) {
        parser.restart();
        let mut stock = self.request_parsers.borrow_mut();
        if stock.len() < PARSERS {
            stock.push(parser);
        }
    }

    pub(crate) fn response_parser(&self) -> Box<ResponseParser> {
        self.response_parsers.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn return_response_parser(&self, mut parser: Box<ResponseParser>) {
        parser.restart();
        let mut stock = self.response_parsers.borrow_mut();
        if stock.len() < PARSERS {
            stock.push(parser);
        }
    }

    /// One that waited has chosen anew. The last one makes the worker acknowledge.
    pub(crate) fn resolved_one(&self) {
        let left = self.unresolved.get().saturating_sub(1);
        self.unresolved.set(left);
        if left == 0 {
            self.acknowledge();
        }
    }

    /// Everything I5 asks for is done: this worker sends nothing to what is gone.
    fn acknowledge(&self) {
        self.desk().acknowledged.store(self.sequence(), Ordering::Release);
        self.shared.signal.ring();
    }

    /// Swaps to the newest snapshot; closes idle connections of what left; makes those that wait
    /// choose anew; then acknowledges, at once or when the last of them has.
    fn catch_up(self: &Rc<Self>) {
        let newest = self.shared.current.load_full();
        if newest.sequence != self.sequence() {
            // The old table is dropped by the ledger, not here: it may be large.
            drop(self.table.replace(newest));
            let table = self.table.borrow();
            self.close_idle(&table, self.shared.now_ms());
            self.unresolved.set(self.slots.unresolved(table.sequence));
            self.slots.wake_engaged();
            if self.unresolved.get() == 0 {
                self.acknowledge();
            }
        }
        let epoch = self.shared.health_epoch.load(Ordering::Acquire);
        if self.health_epoch.replace(epoch) != epoch {
            self.close_idle(&self.table.borrow(), self.shared.now_ms());
            self.slots.wake_waiting();
        }
        if self.shared.is_draining() && !self.is_draining() {
            let now_ms = self.shared.now_ms();
            let end = self.shared.drain_until_ms.load(Ordering::Acquire);
            self.farewell_ms.set(end.min(now_ms + FAREWELL_MS));
            self.wake_acceptors();
            self.slots.wake_all();
            self.resume_called();
        }
    }

    fn close_idle(&self, table: &Table, now_ms: u64) {
        let most = self.shared.config.limits.upstream_idle_max;
        self.pool.retain(now_ms, most, |key| table.serves(key));
    }

    fn park_acceptor(&self, at: usize, waker: &Waker) {
        self.acceptors.borrow_mut()[at] = Some(waker.clone());
    }

    fn wake_acceptors(&self) {
        self.acceptors.borrow_mut().iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }

    /// Takes in a new connection, or hands it to a worker that has fewer.
    fn admit(self: &Rc<Self>, arrival: Arrival) {
        let all = self.shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
        let arrival = match self.shared.is_draining() {
            true => Err(arrival),
            false => {
                let (desks, random) = (&self.shared.desks, self.random());
                handover::pass_on(desks, self.index, all, random, arrival)
            }
        };
        match arrival {
            Ok(()) => {
                self.shared.handed_over.fetch_add(1, Ordering::Relaxed);
            }
            Err(arrival) => {
                self.desk().inbox.opened();
                self.serve(arrival);
            }
        }
    }

    fn serve(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { stream, peer, door } = arrival;
        let port = Rc::clone(&self.ports[door]);
        let connection = Connection::new(Rc::clone(self), Socket::new(stream), peer, port);
        tokio::task::spawn_local(connection);
    }

    /// Lets a connection rest without a task until it is woken. Gives it back if it cannot be watched.
    pub(crate) fn rest(
        &self,
        slot: SlotId,
        deadline_ms: u64,
        guest: Guest,
    ) -> Result<(), TcpStream> {
        if let Err(error) = self.lounge.enter(&guest.stream, slot) {
            tracing::debug!(%error, "cannot let an idle connection rest");
            return Err(guest.stream);
        }
        self.shared.resting.fetch_add(1, Ordering::Relaxed);
        self.slots.rest(slot, deadline_ms, guest);
        Ok(())
    }

    /// Gives those a task that were at rest when they were woken.
    fn resume_called(self: &Rc<Self>) {
        while let Some((slot, guest)) = self.slots.called() {
            self.lounge.leave(&guest.stream);
            self.shared.resting.fetch_sub(1, Ordering::Relaxed);
            tokio::task::spawn_local(Connection::resume(Rc::clone(self), slot, *guest));
        }
    }

    /// A connection has ended: there is room for another.
    pub(crate) fn connection_ended(&self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        self.desk().inbox.ended();
        if self.is_full.replace(false) {
            self.wake_acceptors();
        }
        if self.is_draining() {
            self.desk().mail.notify_one();
        }
    }

    /// Has the lines written that are still here.
    fn give_log(&self) {
        if let Some(log) = &self.shared.access_log {
            log.give(&mut self.log.borrow_mut());
        }
    }

    fn is_done(&self) -> bool {
        let end = self.shared.drain_until_ms.load(Ordering::Acquire);
        self.is_draining() && (self.desk().inbox.open() == 0 || self.shared.now_ms() >= end)
    }
}

/// Runs a worker on this thread until the proxy has been drained.
///
/// # Errors
/// If the system gives no descriptor for the connections at rest.
pub(crate) fn run(
    runtime: LocalRuntime,
    index: usize,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    beat: Beat,
) -> io::Result<()> {
    let lounge = runtime.block_on(async { Lounge::open() })?;
    let mut seed = [0; 8];
    // Without entropy the picks are less well spread, and still right.
    let _ = getrandom::fill(&mut seed);
    let ports = listeners.iter().map(|listener| local_port(listener).to_string().into()).collect();
    let seed = u64::from_ne_bytes(seed);
    let worker = Rc::new(Worker::new(index, Arc::clone(&shared), lounge, ports, seed));
    runtime.block_on(async {
        for (at, listener) in listeners.into_iter().enumerate() {
            match Door::new(listener) {
                Ok(door) => {
                    tokio::task::spawn_local(accept(Rc::clone(&worker), door, at));
                }
                Err(error) => tracing::error!(%error, "cannot watch a listening socket"),
            }
        }
        tokio::task::spawn_local(take_in(Rc::clone(&worker)));
        tokio::task::spawn_local(attend(Rc::clone(&worker)));
        tokio::task::spawn_local(sweep(Rc::clone(&worker), beat));
        worker.acknowledge();
        loop {
            worker.catch_up();
            // Nobody hands over while the proxy drains, but one may have begun to before it heard.
            if worker.is_done() && worker.desk().inbox.close() {
                break;
            }
            worker.desk().mail.notified().await;
        }
    });
    drop(runtime);
    worker.give_log();
    drop(worker);
    shared.desks[index].ended.store(true, Ordering::Release);
    shared.signal.ring();
    Ok(())
}

/// Takes in what other workers hand over.
async fn take_in(worker: Rc<Worker>) {
    loop {
        while let Some(arrival) = worker.desk().inbox.take() {
            worker.serve(arrival);
        }
        worker.desk().inbox.mail.notified().await;
    }
}

/// Calls those from their rest that have something to say, or have gone.
async fn attend(worker: Rc<Worker>) {
    loop {
        match std::future::poll_fn(|cx| worker.lounge.poll_stirring(cx)).await {
            Ok(stirring) => stirring.into_iter().for_each(|slot| worker.slots.call(slot)),
            Err(error) => {
                tracing::error!(%error, "cannot watch the connections at rest");
                tokio::time::sleep(SWEEP).await;
            }
        }
        worker.resume_called();
        tokio::task::yield_now().await;
    }
}

/// Looks at all deadlines in turn.
async fn sweep(worker: Rc<Worker>, mut beat: Beat) {
    let mut tidy_ms = 0;
    loop {
        beat.next(SWEEP).await;
        let now_ms = worker.shared.now_ms();
        worker.pool.bring_back(now_ms);
        worker.make_room(now_ms);
        worker.slots.sweep(now_ms);
        worker.resume_called();
        worker.give_log();
        if now_ms >= tidy_ms {
            tidy_ms = now_ms + TIDY_MS;
            let table = Arc::clone(&worker.table.borrow());
            worker.close_idle(&table, now_ms);
            worker.wake_acceptors();
        }
        if worker.is_done() {
            worker.desk().mail.notify_one();
        }
    }
}

/// Accepts until the proxy is drained. At the limit, or without descriptors, it waits for the next
/// sweep or the end of a connection; what waits in the kernel's queue is not lost.
async fn accept(worker: Rc<Worker>, door: Door, at: usize) {
    std::future::poll_fn(move |cx| {
        for _ in 0..ACCEPTS {
            let full = worker.shared.connections.load(Ordering::Acquire)
                >= worker.shared.config.limits.connections;
            if full && !worker.is_draining() {
                worker.is_full.set(true);
                worker.park_acceptor(at, cx.waker());
                return Poll::Pending;
            }
            match door.poll_accept(cx) {
                Poll::Ready(Ok((stream, peer))) => {
                    worker.admit(Arrival { stream, peer, door: at });
                }
                Poll::Ready(Err(error)) if is_of_the_client(&error) => {}
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    worker.park_acceptor(at, cx.waker());
                    return Poll::Pending;
                }
                // The queue is empty: a listener that is to go may go now.
                Poll::Pending if worker.is_draining() => return Poll::Ready(()),
                Poll::Pending => {
                    worker.park_acceptor(at, cx.waker());
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn local_port(listener: &TcpListener) -> u16 {
    listener.local_addr().as_ref().map_or(0, SocketAddr::port)
}

/// The client went away before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
