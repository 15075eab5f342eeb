//! The event loop of a worker: accepts connections, takes connections from other workers, swaps
//! snapshots, checks deadlines, and ends. Takes no part in a request: each connection is a task of its
//! own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::LocalRuntime;

use super::Worker;
use crate::acceptor::Acceptor;
use crate::burst::Burst;
use crate::clock::Beat;
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::eviction::Doing;
use crate::idle::IdleSet;
use crate::load::{self, Load};
use crate::rebalance::{self, Arrival};
use crate::shared::ProxyState;
use crate::socket::Socket;

/// The interval at which deadlines are checked.
const SWEEP: Duration = Duration::from_millis(50);
/// The interval at which work that is not urgent is done.
const TIDY_MS: u64 = 200;
/// Connections accepted in one poll, before other tasks are polled.
const ACCEPTS: usize = 16;
/// Time that idle connections stay open when the proxy shuts down. A request that is already on its way
/// finds an open connection and gets an answer with `Connection: close`.
const LINGER_MS: u64 = 1_000;

impl Worker {
    /// Swaps to the newest snapshot, closes idle connections to instances that have left, and wakes
    /// waiting requests to choose anew. Acknowledges the snapshot when the last of them has chosen, or at
    /// once if none waits.
    fn catch_up(self: &Rc<Self>) {
        let newest = self.shared.current.load_full();
        if newest.sequence != self.sequence() {
            // The ledger drops the old table, which may be large. A worker must not.
            drop(self.table.replace(newest));
            let table = self.table.borrow();
            self.close_idle(&table, self.shared.now_ms());
            self.noticed.unresolved.set(self.timers.unresolved(table.sequence));
            self.timers.wake_engaged();
            if self.noticed.unresolved.get() == 0 {
                self.acknowledge();
            }
        }
        let settings = self.shared.live.settings.load_full();
        if !Arc::ptr_eq(&settings, &self.noticed.settings.borrow()) {
            self.parsers.limit(settings.limits.head_sizes);
            self.noticed.settings.replace(settings);
        }
        let epoch = self.shared.health_epoch.load(Ordering::Acquire);
        if self.noticed.health_epoch.replace(epoch) != epoch {
            self.close_idle(&self.table.borrow(), self.shared.now_ms());
            self.timers.wake_waiting();
        }
        let service = self.shared.service.get();
        if self.noticed.service.replace(service) != service {
            self.acceptors.wake();
        }
        let (cuts, before_ms) = self.shared.service.cuts();
        if self.noticed.cuts.replace(cuts) != cuts {
            self.timers.cut(before_ms);
            self.resume_woken();
        }
        if self.shared.is_draining() && !self.is_draining() {
            let now_ms = self.shared.now_ms();
            let end = self.shared.service.ends_at.get();
            self.pressure.closes_idle_at.set(end.min(Deadline::at(now_ms + LINGER_MS)));
            self.acceptors.wake();
            self.timers.wake_all();
            self.resume_woken();
        }
    }

    /// Takes in a new connection, or hands it to a worker that has fewer.
    fn admit(self: &Rc<Self>, arrival: Arrival) {
        let all = self.shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
        let arrival = match self.shared.is_draining() {
            true => Err(arrival),
            false => {
                let workers = &self.shared.workers;
                let arrivals = (workers.len(), |at: usize| &workers[at].arrivals);
                rebalance::pass_on(arrivals, self.index, all, self.random(), arrival)
            }
        };
        match arrival {
            Ok(()) => {
                self.shared.handed_over.fetch_add(1, Ordering::Relaxed);
            }
            Err(arrival) => {
                self.handle().arrivals.opened();
                self.serve(arrival);
            }
        }
    }

    fn serve(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { stream, peer, listener } = arrival;
        let port = self.acceptors.port(listener);
        let connection = Connection::new(Rc::clone(self), Socket::new(stream), peer, port);
        tokio::task::spawn_local(connection);
    }

    /// Gives a task to each idle connection that was woken.
    fn resume_woken(self: &Rc<Self>) {
        while let Some((timer, idle)) = self.timers.next_woken() {
            self.idle_set.leave(&idle.stream);
            self.shared.resting.fetch_sub(1, Ordering::Relaxed);
            tokio::task::spawn_local(Connection::resume(Rc::clone(self), timer, *idle));
        }
    }

    /// Frees connections near the limit. Above one half of it, clients that the proxy waits for have to
    /// keep a least pace. Above nine tenths, some connections are evicted: each worker evicts its part.
    fn make_room(&self, now_ms: u64) {
        let limit = self.settings().limits.connections;
        let open = self.shared.connections.load(Ordering::Acquire);
        let before = self.pressure.load.get();
        let load = before.next(open, limit, now_ms);
        self.pressure.load.set(load);
        if matches!(before, Load::Light) && !matches!(load, Load::Light) {
            self.timers.wake_doing(|doing| matches!(doing, Doing::Body(_) | Doing::Answer(_)));
        }
        if let Some(surplus) = load::surplus(open, limit, self.shared.config.workers, now_ms) {
            self.timers.wake_doing(|doing| doing == Doing::Closing);
            let evicted = self.timers.evict(surplus, now_ms.saturating_sub(load::GRACE_MS));
            self.shared.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        }
    }
}

/// Runs a worker on this thread until the proxy has been drained.
///
/// # Errors
/// If the system gives no descriptor for watching idle connections.
pub(crate) fn run(
    runtime: LocalRuntime,
    index: usize,
    shared: Arc<ProxyState>,
    listeners: Vec<TcpListener>,
    beat: Beat,
) -> io::Result<()> {
    let idle_set = runtime.block_on(async { IdleSet::open() })?;
    let mut seed = [0; 8];
    // Without entropy, instances are picked less evenly, but still correctly.
    let _ = getrandom::fill(&mut seed);
    let ports = listeners.iter().map(|listener| local_port(listener).to_string().into()).collect();
    let seed = u64::from_ne_bytes(seed);
    let worker = Rc::new(Worker::new(index, Arc::clone(&shared), idle_set, ports, seed));
    runtime.block_on(async {
        for (at, listener) in listeners.into_iter().enumerate() {
            match Acceptor::new(listener) {
                Ok(acceptor) => {
                    tokio::task::spawn_local(accept(Rc::clone(&worker), acceptor, at));
                }
                Err(error) => tracing::error!(%error, "cannot watch a listening socket"),
            }
        }
        tokio::task::spawn_local(take_in(Rc::clone(&worker)));
        tokio::task::spawn_local(wake_idle(Rc::clone(&worker)));
        tokio::task::spawn_local(sweep(Rc::clone(&worker), beat));
        worker.acknowledge();
        loop {
            worker.catch_up();
            // No worker hands connections over while the proxy drains, but one may have begun before it
            // noticed.
            if worker.is_done() && worker.handle().arrivals.close() {
                break;
            }
            worker.handle().wake.notified().await;
        }
    });
    drop(runtime);
    worker.give_log();
    drop(worker);
    shared.workers[index].ended.store(true, Ordering::Release);
    shared.signal.ring();
    Ok(())
}

/// Takes in the connections that other workers hand over.
async fn take_in(worker: Rc<Worker>) {
    loop {
        while let Some(arrival) = worker.handle().arrivals.take() {
            worker.serve(arrival);
        }
        worker.handle().arrivals.wake.notified().await;
    }
}

/// Wakes idle connections on which bytes have come, or whose client has left.
async fn wake_idle(worker: Rc<Worker>) {
    loop {
        match std::future::poll_fn(|cx| worker.idle_set.poll_stirring(cx)).await {
            Ok(stirring) => stirring.into_iter().for_each(|timer| worker.timers.wake(timer)),
            Err(error) => {
                tracing::error!(%error, "cannot watch the connections at rest");
                tokio::time::sleep(SWEEP).await;
            }
        }
        worker.resume_woken();
        tokio::task::yield_now().await;
    }
}

/// Checks all deadlines at each interval.
async fn sweep(worker: Rc<Worker>, mut beat: Beat) {
    let (mut tidy_ms, mut burst) = (0, Burst::default());
    loop {
        beat.next(SWEEP).await;
        let now_ms = worker.shared.now_ms();
        worker.pool.bring_back(now_ms);
        worker.make_room(now_ms);
        burst.note(worker.timers.sweep(now_ms));
        let left_over_before_ms = worker.shared.service.left_over_before_ms();
        let opened_before = |before_ms| worker.timers.opened_before(before_ms);
        worker.handle().swept.note(now_ms, left_over_before_ms, opened_before);
        worker.resume_woken();
        worker.give_log();
        if now_ms >= tidy_ms {
            tidy_ms = now_ms + TIDY_MS;
            let table = Arc::clone(&worker.table.borrow());
            worker.close_idle(&table, now_ms);
            worker.acceptors.wake();
            if burst.is_over() {
                (worker.shared.config.release_memory)();
            }
        }
        if worker.is_done() {
            worker.handle().wake.notify_one();
        }
    }
}

/// Accepts connections until the proxy is drained. At the limit, or without descriptors, it waits for the
/// next sweep or the end of a connection. Connections in the kernel's queue are not lost.
async fn accept(worker: Rc<Worker>, acceptor: Acceptor, at: usize) {
    std::future::poll_fn(move |cx| {
        acceptor.ignore_new(worker.ignores_new());
        for _ in 0..ACCEPTS {
            let full = worker.shared.connections.load(Ordering::Acquire)
                >= worker.settings().limits.connections;
            if full && !worker.is_draining() {
                worker.acceptors.park_until_room(at, cx.waker());
                return Poll::Pending;
            }
            match acceptor.poll_accept(cx) {
                Poll::Ready(Ok((stream, peer))) => {
                    worker.admit(Arrival { stream, peer, listener: at });
                }
                Poll::Ready(Err(error)) if is_of_the_client(&error) => {}
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    worker.acceptors.park(at, cx.waker());
                    return Poll::Pending;
                }
                // The queue is empty: while the proxy drains, the listening socket may be closed now.
                Poll::Pending if worker.is_draining() => return Poll::Ready(()),
                Poll::Pending => {
                    worker.acceptors.park(at, cx.waker());
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

/// Returns whether the error means that the client left before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
