//! The registration of a client on a worker: its timer, and the snapshot that it has noticed. An HTTP/1
//! connection has one seat; a later version would have one per stream. I5 is enforced here and nowhere
//! else. Knows nothing of requests.

use std::cell::Cell;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::deadline::Deadline;
use crate::eviction::Doing;
use crate::idle::IdleConnection;
use crate::timer_id::TimerId;
use crate::timers::{Departure, Watch};
use crate::turn::Wakeup;
use crate::worker::Worker;

/// A client's registration on a worker.
#[derive(Debug)]
pub(crate) struct Seat {
    worker: Rc<Worker>,
    timer: TimerId,
    watch: Watch,
    /// True while the worker keeps the timer for an idle connection.
    rests: Cell<bool>,
}

/// The changes since the last visit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) now_ms: u64,
    /// True if the snapshot has changed.
    pub(crate) snapshot_changed: bool,
    /// Why the connection has to leave, if it has to.
    pub(crate) departure: Option<Departure>,
}

impl Seat {
    /// Opens a seat. If an origin has too many connections, they are evicted first. A connection without
    /// an origin is never evicted.
    pub(crate) fn open(worker: Rc<Worker>, origin: Option<IpAddr>) -> Self {
        let timer = worker.timers.open(worker.sequence(), origin, worker.shared.now_ms());
        Self::at(worker, timer)
    }

    /// Returns the seat that a connection had before it went idle.
    pub(crate) fn at(worker: Rc<Worker>, timer: TimerId) -> Self {
        Self { worker, timer, watch: Watch::Nothing, rests: Cell::new(false) }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Returns the number by which the worker knows the seat.
    pub(crate) fn timer(&self) -> TimerId {
        self.timer
    }

    /// Returns the changes that the last visit asked to be woken for.
    pub(crate) fn watch(&self) -> Watch {
        self.watch
    }

    /// Returns whether the worker keeps the seat for an idle connection.
    pub(crate) fn rests(&self) -> bool {
        self.rests.get()
    }

    /// Polls the connection once. I5 needs this order: notice the snapshot, poll, note the wake-up, tell the
    /// worker that this connection has chosen anew. `poll` returns when it wants to be woken and what it is
    /// doing, or `None` if the connection is over.
    pub(crate) fn visit(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&Self, &mut Context<'_>, News) -> Option<(Wakeup, Doing)>,
    ) -> Poll<()> {
        let news = News {
            now_ms: self.worker.shared.now_ms(),
            snapshot_changed: self.worker.timers.notice(self.timer, self.worker.sequence()),
            departure: self.worker.timers.departure(self.timer),
        };
        let waited = self.watch == Watch::Waiting;
        let next = poll(self, cx, news);
        self.watch = next.map_or(Watch::Nothing, |(wakeup, _)| wakeup.watch);
        if let Some((wakeup, doing)) = next {
            self.worker.timers.set(self.timer, wakeup.watch, wakeup.at, cx);
            self.worker.timers.set_doing(self.timer, doing);
        }
        if waited && news.snapshot_changed {
            self.worker.resolved_one();
        }
        if next.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Cancels the eviction: by now the connection has a request.
    pub(crate) fn cancel_eviction(&self) {
        self.worker.timers.cancel_eviction(self.timer);
    }

    /// Gives up the task of an idle connection and keeps its seat. The connection is woken at `until` at the
    /// latest.
    ///
    /// # Errors
    /// The idle connection's stream, if it cannot be watched.
    pub(crate) fn rest(&self, until: Deadline, idle: IdleConnection) -> Result<(), TcpStream> {
        self.worker.rest(self.timer, until, idle)?;
        self.rests.set(true);
        Ok(())
    }
}

impl Drop for Seat {
    /// A connection that ends needs no instance any more, so it counts as having chosen anew.
    fn drop(&mut self) {
        if self.rests() {
            return;
        }
        let unresolved = self.watch == Watch::Waiting
            && self.worker.timers.notice(self.timer, self.worker.sequence());
        self.worker.pool.forget(self.timer);
        self.worker.timers.close(self.timer);
        if unresolved {
            self.worker.resolved_one();
        }
    }
}
