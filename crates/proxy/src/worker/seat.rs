//! The place that whoever waits has on a worker: a connection of HTTP/1, or one stream of a later version.
//! What I5 asks of those that wait is kept here and nowhere else. Knows nothing of what they wait for.

use std::cell::Cell;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::deadline::Deadline;
use crate::eviction::Doing;
use crate::idle::IdleConnection;
use crate::timer_id::TimerId;
use crate::timers::Watch;
use crate::turn::Wakeup;
use crate::worker::Worker;

/// A place on a worker.
#[derive(Debug)]
pub(crate) struct Seat {
    worker: Rc<Worker>,
    timer: TimerId,
    watch: Watch,
    /// The worker keeps the timer for an idle connection.
    rests: Cell<bool>,
}

/// What is new since the last visit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) now_ms: u64,
    /// The snapshot has changed.
    pub(crate) snapshot_changed: bool,
    /// There are too many: this one is to make room.
    pub(crate) evicted: bool,
}

impl Seat {
    /// A new place; those of one origin leave first if it has too many. `None` may always stay.
    pub(crate) fn open(worker: Rc<Worker>, origin: Option<IpAddr>) -> Self {
        let timer = worker.timers.open(worker.sequence(), origin);
        Self::at(worker, timer)
    }

    /// The place that an idle connection had before its rest.
    pub(crate) fn at(worker: Rc<Worker>, timer: TimerId) -> Self {
        Self { worker, timer, watch: Watch::Nothing, rests: Cell::new(false) }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// By what the worker knows the place.
    pub(crate) fn timer(&self) -> TimerId {
        self.timer
    }

    /// Changes of the kind that the last visit asked for.
    pub(crate) fn watch(&self) -> Watch {
        self.watch
    }

    /// Whether the worker keeps the place for an idle connection.
    pub(crate) fn rests(&self) -> bool {
        self.rests.get()
    }

    /// Notices the snapshot, polls, notes the wake-up, and resolves, in this order (I5). The poll says
    /// when it wants to be woken and what it is doing, or `None` if it is over.
    pub(crate) fn visit(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&Self, &mut Context<'_>, News) -> Option<(Wakeup, Doing)>,
    ) -> Poll<()> {
        let news = News {
            now_ms: self.worker.shared.now_ms(),
            snapshot_changed: self.worker.timers.notice(self.timer, self.worker.sequence()),
            evicted: self.worker.timers.is_evicted(self.timer),
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

    /// The connection was asked to make room, and has something to do by now: it stays.
    pub(crate) fn cancel_eviction(&self) {
        self.worker.timers.cancel_eviction(self.timer);
    }

    /// Keeps the place for an idle connection that needs no task until it is woken, at `until` at the latest.
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
    /// Whoever leaves has chosen, too: nothing.
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
