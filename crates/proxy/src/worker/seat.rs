//! The place that whoever waits has on a worker: a connection of HTTP/1, or one stream of a later version.
//! What I5 asks of those that wait is kept here and nowhere else. Knows nothing of what they wait for.

use std::cell::Cell;
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::deadline::Deadline;
use crate::eviction::Doing;
use crate::idle::IdleConnection;
use crate::slot_id::SlotId;
use crate::slots::Watch;
use crate::turn::Wakeup;
use crate::worker::Worker;

/// A place on a worker.
#[derive(Debug)]
pub(crate) struct Seat {
    worker: Rc<Worker>,
    slot: SlotId,
    watch: Watch,
    /// The worker keeps the slot for an idle connection.
    rests: Cell<bool>,
}

/// What is new since the last visit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) now_ms: u64,
    /// The snapshot has changed.
    pub(crate) snapshot: bool,
    /// There are too many: this one is to make room.
    pub(crate) evicted: bool,
}

impl Seat {
    /// A new place; those of one origin leave first if it has too many. `None` may always stay.
    pub(crate) fn open(worker: Rc<Worker>, origin: Option<IpAddr>) -> Self {
        let slot = worker.slots.open(worker.sequence(), origin);
        Self::at(worker, slot)
    }

    /// The place that an idle connection had before its rest.
    pub(crate) fn at(worker: Rc<Worker>, slot: SlotId) -> Self {
        Self { worker, slot, watch: Watch::Nothing, rests: Cell::new(false) }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// By what the worker knows the place.
    pub(crate) fn slot(&self) -> SlotId {
        self.slot
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
            snapshot: self.worker.slots.notice(self.slot, self.worker.sequence()),
            evicted: self.worker.slots.is_evicted(self.slot),
        };
        let waited = self.watch == Watch::Waiting;
        let next = poll(self, cx, news);
        self.watch = next.map_or(Watch::Nothing, |(wakeup, _)| wakeup.watch);
        if let Some((wakeup, doing)) = next {
            self.worker.slots.set(self.slot, wakeup.watch, wakeup.at, cx);
            self.worker.slots.set_doing(self.slot, doing);
        }
        if waited && news.snapshot {
            self.worker.resolved_one();
        }
        if next.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// It was asked to make room, and has something to do by now.
    pub(crate) fn stays(&self) {
        self.worker.slots.stays(self.slot);
    }

    /// Keeps the place for an idle connection that needs no task until it is woken, at `until` at the latest.
    ///
    /// # Errors
    /// The idle connection's stream, if it cannot be watched.
    pub(crate) fn rest(&self, until: Deadline, idle: IdleConnection) -> Result<(), TcpStream> {
        self.worker.rest(self.slot, until, idle)?;
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
            && self.worker.slots.notice(self.slot, self.worker.sequence());
        self.worker.pool.forget(self.slot);
        self.worker.slots.close(self.slot);
        if unresolved {
            self.worker.resolved_one();
        }
    }
}
