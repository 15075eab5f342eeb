//! One worker: a thread with its own listening sockets, upstream connections and snapshot. A request
//! stays on one worker from its head to its end. Nothing here waits for another thread.

mod acceptors;
pub(crate) mod event_loop;
mod parsers;
pub(crate) mod seat;

use std::cell::{Cell, Ref, RefCell};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::access_log::Block;
use crate::buffer::Stock;
use crate::config::Settings;
use crate::counter::Counter;
use crate::date::{DateLine, Dates};
use crate::deadline::Deadline;
use crate::hold_queue::HoldQueues;
use crate::idle::{IdleConnection, IdleSet};
use crate::load::Load;
use crate::pool::Pool;
use crate::service::ServiceMode;
use crate::shared::{ProxyState, WorkerHandle};
use crate::stats::{AppCells, AppStats, ReleaseCells, ReleaseStats};
use crate::table::Table;
use crate::timer_id::TimerId;
use crate::timers::Timers;
use crate::worker::acceptors::Acceptors;
use crate::worker::parsers::Parsers;

/// The state that a worker's connections share. Only the worker's own thread sees it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<ProxyState>,
    pub(crate) table: RefCell<Arc<Table>>,
    pub(crate) pool: Pool,
    pub(crate) stock: Stock,
    pub(crate) timers: Timers,
    idle_set: IdleSet,
    pub(crate) hold_queues: Rc<HoldQueues>,
    noticed: Noticed,
    random: Cell<u64>,
    dates: Dates,
    /// Lines for the access log, if there is one.
    pub(crate) log: RefCell<Block>,
    acceptors: Acceptors,
    pressure: Pressure,
    pub(crate) parsers: Parsers,
}

/// The snapshot, health and settings that the worker has noticed so far.
#[derive(Debug)]
struct Noticed {
    /// Number of connections that have to choose an instance anew before the newest snapshot is
    /// acknowledged.
    unresolved: Cell<usize>,
    health_epoch: Cell<u64>,
    service: Cell<ServiceMode>,
    /// The number of times that all connections were to be cut.
    cuts: Cell<u64>,
    settings: RefCell<Arc<Settings>>,
}

/// The reasons why connections of the worker have to hurry or to leave.
#[derive(Debug)]
struct Pressure {
    /// The load by the number of connections, as of the last sweep.
    load: Cell<Load>,
    /// The time when idle connections are closed because the proxy shuts down.
    closes_idle_at: Cell<Deadline>,
}

impl Worker {
    fn new(
        index: usize,
        shared: Arc<ProxyState>,
        idle_set: IdleSet,
        ports: Vec<Rc<str>>,
        seed: u64,
    ) -> Self {
        let table = shared.current.load_full();
        let settings = shared.live.settings.load_full();
        let parsers = Parsers::new(settings.limits.head_sizes);
        Self {
            index,
            shared,
            table: RefCell::new(table),
            pool: Pool::default(),
            stock: Stock::default(),
            timers: Timers::default(),
            idle_set,
            hold_queues: Rc::default(),
            noticed: Noticed {
                unresolved: Cell::default(),
                health_epoch: Cell::default(),
                service: Cell::new(ServiceMode::Full),
                cuts: Cell::default(),
                settings: RefCell::new(settings),
            },
            random: Cell::new(seed | 1),
            dates: Dates::default(),
            log: RefCell::default(),
            acceptors: Acceptors::new(ports),
            pressure: Pressure {
                load: Cell::new(Load::Light),
                closes_idle_at: Cell::new(Deadline::never()),
            },
            parsers,
        }
    }

    /// Returns the settings that the worker uses. They stay the same until it looks for newer ones, between two
    /// steps of its connections.
    pub(crate) fn settings(&self) -> Ref<'_, Settings> {
        Ref::map(self.noticed.settings.borrow(), |settings| &**settings)
    }

    fn handle(&self) -> &WorkerHandle {
        &self.shared.workers[self.index]
    }

    /// Returns the number of the snapshot in use.
    pub(crate) fn sequence(&self) -> u64 {
        self.table.borrow().sequence
    }

    /// Returns a random number. Not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns the `Date` line of an answer that is made now.
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

    /// Returns whether new traffic goes to the instance. If so, endless streams may stay with it.
    pub(crate) fn carries(&self, key: u64) -> bool {
        self.table.borrow().carries(key) && !self.is_draining()
    }

    pub(crate) fn is_draining(&self) -> bool {
        !self.pressure.closes_idle_at.get().is_never()
    }

    /// Returns whether a client's connection is closed after its next answer.
    pub(crate) fn closes_connections(&self) -> bool {
        self.is_draining() || self.noticed.service.get() >= ServiceMode::ClosesConnections
    }

    /// Returns whether new connections get no answer.
    fn ignores_new(&self) -> bool {
        self.noticed.service.get() == ServiceMode::TakesNoMore
    }

    /// Returns when idle connections are closed because the proxy shuts down.
    pub(crate) fn closes_idle_at(&self) -> Deadline {
        self.pressure.closes_idle_at.get()
    }

    /// Notes that a waiting connection has chosen anew. After the last one the worker acknowledges the
    /// snapshot.
    pub(crate) fn resolved_one(&self) {
        let left = self.noticed.unresolved.get().saturating_sub(1);
        self.noticed.unresolved.set(left);
        if left == 0 {
            self.acknowledge();
        }
    }

    /// Acknowledges the snapshot (I5): from now on this worker sends nothing to instances that have left.
    fn acknowledge(&self) {
        self.handle().acknowledged.set(self.sequence());
        self.shared.signal.ring();
    }

    /// Returns since when more than half of the permitted connections are in use, if they are.
    pub(crate) fn scarce_since_ms(&self) -> Option<u64> {
        self.pressure.load.get().scarce_since_ms()
    }

    /// Returns whether more than nine tenths of the permitted connections are in use.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self.pressure.load.get(), Load::Crowded { .. })
    }

    fn close_idle(&self, table: &Table, now_ms: u64) {
        let most = self.settings().limits.upstream_idle_max;
        self.pool.retain(now_ms, most, |key| table.serves(key));
    }

    /// Keeps a connection without a task until it is woken. Gives the connection back if it cannot be
    /// watched.
    pub(crate) fn rest(
        &self,
        timer: TimerId,
        deadline: Deadline,
        idle: IdleConnection,
    ) -> Result<(), TcpStream> {
        if let Err(error) = self.idle_set.enter(&idle.stream, timer) {
            tracing::debug!(%error, "cannot let an idle connection rest");
            return Err(idle.stream);
        }
        self.shared.resting.fetch_add(1, Ordering::Relaxed);
        self.timers.rest(timer, deadline, idle);
        Ok(())
    }

    /// Notes that a connection has ended: there is room for another.
    pub(crate) fn connection_ended(&self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        self.handle().arrivals.ended();
        self.acceptors.connection_ended();
        if self.is_draining() {
            self.handle().wake.notify_one();
        }
    }

    /// Hands the collected lines of the access log to the thread that writes them.
    fn give_log(&self) {
        if let Some(log) = &self.shared.access_log {
            log.give(&mut self.log.borrow_mut());
        }
    }

    fn is_done(&self) -> bool {
        let end = self.shared.service.ends_at.get();
        self.is_draining()
            && (self.handle().arrivals.open() == 0 || end.is_over(self.shared.now_ms()))
    }
}
