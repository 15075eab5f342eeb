//! One slot per connection: when it wants to be woken, and what for. Instead of a timer per
//! connection, one sweep per worker looks at all of them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::task::{Context, Waker};

use crate::deadline::Deadline;
use crate::eviction::{self, Doing, Surplus};
use crate::idle::IdleConnection;
use crate::slot_id::SlotId;

/// Which changes wake a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// None: it is idle, or its answer does not depend on any instance.
    Nothing,
    /// It waits for an instance: it must choose anew before a snapshot is acknowledged (I5).
    Waiting,
    /// It uses an instance: it must know when that instance has left.
    Engaged,
}

/// Who acts for a connection when it is woken.
#[derive(Debug)]
enum Keeper {
    /// Nobody: it has not been polled yet, or it has just been called.
    Nobody,
    Task(Waker),
    /// It is at rest, and has to be given a task first.
    IdleSet(Box<IdleConnection>),
}

/// Whether a connection has to make room for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Stays,
    /// It is to leave, and has not heard of it.
    Asked,
    /// It is on its way out.
    Leaves,
}

#[derive(Debug)]
struct Slot {
    used: bool,
    watch: Watch,
    deadline: Deadline,
    /// The snapshot it has last taken notice of.
    seen: u64,
    /// Its place in the line of those that wait.
    ticket: u64,
    keeper: Keeper,
    /// Whose connection it is; `None` if it may always stay.
    origin: Option<IpAddr>,
    doing: Doing,
    leaving: Leaving,
}

/// The slots of one worker.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    free: Vec<usize>,
    tickets: u64,
    /// Those that were at rest when they were woken: they need a task.
    called: Vec<(SlotId, Box<IdleConnection>)>,
}

impl Slots {
    pub(crate) fn open(&self, seen: u64, origin: Option<IpAddr>) -> SlotId {
        let mut inner = self.inner.borrow_mut();
        let slot = Slot {
            used: true,
            watch: Watch::Nothing,
            deadline: Deadline::never(),
            seen,
            ticket: 0,
            keeper: Keeper::Nobody,
            origin,
            doing: Doing::Busy,
            leaving: Leaving::Stays,
        };
        if let Some(at) = inner.free.pop() {
            inner.slots[at] = slot;
            return SlotId(at);
        }
        inner.slots.push(slot);
        SlotId(inner.slots.len() - 1)
    }

    pub(crate) fn close(&self, id: SlotId) {
        let mut inner = self.inner.borrow_mut();
        let slot = &mut inner.slots[id.0];
        slot.used = false;
        slot.watch = Watch::Nothing;
        slot.keeper = Keeper::Nobody;
        inner.free.push(id.0);
    }

    /// Writes down what the connection waits for, at the end of its poll.
    pub(crate) fn set(&self, id: SlotId, watch: Watch, deadline: Deadline, cx: &Context<'_>) {
        let mut inner = self.inner.borrow_mut();
        let Inner { slots, tickets, .. } = &mut *inner;
        let slot = &mut slots[id.0];
        if watch == Watch::Waiting && slot.watch != Watch::Waiting {
            *tickets += 1;
            slot.ticket = *tickets;
        }
        slot.watch = watch;
        slot.deadline = deadline;
        match &mut slot.keeper {
            Keeper::Task(waker) => waker.clone_from(cx.waker()),
            keeper @ (Keeper::Nobody | Keeper::IdleSet(_)) => {
                *keeper = Keeper::Task(cx.waker().clone())
            }
        }
    }

    /// The connection gives up its task and rests until it is woken, at the latest at `deadline`.
    pub(crate) fn rest(&self, id: SlotId, deadline: Deadline, idle: IdleConnection) {
        let slot = &mut self.inner.borrow_mut().slots[id.0];
        slot.watch = Watch::Nothing;
        slot.deadline = deadline;
        slot.keeper = Keeper::IdleSet(Box::new(idle));
    }

    /// Wakes one that may be at rest.
    pub(crate) fn call(&self, id: SlotId) {
        self.inner.borrow_mut().wake(id.0);
    }

    /// The next one that was at rest when it was woken.
    pub(crate) fn called(&self) -> Option<(SlotId, Box<IdleConnection>)> {
        self.inner.borrow_mut().called.pop()
    }

    /// Writes down what the connection is doing.
    pub(crate) fn set_doing(&self, id: SlotId, doing: Doing) {
        self.inner.borrow_mut().slots[id.0].doing = doing;
    }

    /// Whether the connection has to leave; said once.
    pub(crate) fn is_evicted(&self, id: SlotId) -> bool {
        let slot = &mut self.inner.borrow_mut().slots[id.0];
        let asked = slot.leaving == Leaving::Asked;
        if asked {
            slot.leaving = Leaving::Leaves;
        }
        asked
    }

    /// The connection was asked to leave and has a request by now: it stays.
    pub(crate) fn stays(&self, id: SlotId) {
        self.inner.borrow_mut().slots[id.0].leaving = Leaving::Stays;
    }

    /// Wakes those that do this.
    pub(crate) fn wake_doing(&self, this: impl Fn(Doing) -> bool) {
        let mut inner = self.inner.borrow_mut();
        for at in 0..inner.slots.len() {
            if inner.slots[at].used && this(inner.slots[at].doing) {
                inner.wake(at);
            }
        }
    }

    /// Makes connections leave, of those that are idle or send a head only what did so before
    /// `before_ms`, so that as many are on their way out as have to be. Tells how many that are anew.
    pub(crate) fn evict(&self, surplus: Surplus, before_ms: u64) -> usize {
        let mut inner = self.inner.borrow_mut();
        let used = || inner.slots.iter().enumerate().filter(|(_, slot)| slot.used);
        let is_leaving =
            |slot: &Slot| slot.leaving != Leaving::Stays || slot.doing == Doing::Closing;
        let already = used().filter(|(_, slot)| is_leaving(slot)).count();
        let staying = used().filter(|(_, slot)| slot.leaving == Leaving::Stays);
        let staying = staying.filter_map(|(id, slot)| {
            let doing = match slot.doing {
                Doing::Idle(since_ms) | Doing::Head(since_ms) if since_ms > before_ms => {
                    Doing::Fresh
                }
                doing @ (Doing::Idle(_)
                | Doing::Head(_)
                | Doing::Fresh
                | Doing::Body(_)
                | Doing::Answer(_)
                | Doing::Tunnel(_)
                | Doing::Busy
                | Doing::Closing) => doing,
            };
            Some((id, slot.origin?, doing))
        });
        let count = surplus.count.saturating_sub(already);
        let leaving = eviction::leave(staying, Surplus { count, ..surplus });
        for id in &leaving {
            inner.slots[*id].leaving = Leaving::Asked;
            inner.wake(*id);
        }
        leaving.len()
    }

    /// Takes notice of snapshot `sequence`; tells whether it is news to this connection.
    pub(crate) fn notice(&self, id: SlotId, sequence: u64) -> bool {
        let slot = &mut self.inner.borrow_mut().slots[id.0];
        let news = slot.seen != sequence;
        slot.seen = sequence;
        news
    }

    /// How many wait for an instance and have not noticed snapshot `sequence` yet.
    pub(crate) fn unresolved(&self, sequence: u64) -> usize {
        let inner = self.inner.borrow();
        let waits = |slot: &&Slot| slot.watch == Watch::Waiting && slot.seen != sequence;
        inner.slots.iter().filter(waits).count()
    }

    /// Wakes those that wait, first come first, then those that use an instance.
    pub(crate) fn wake_engaged(&self) {
        let inner = self.inner.borrow();
        let mut wakers: Vec<_> = inner.slots.iter().filter(|s| s.watch != Watch::Nothing).collect();
        wakers.sort_by_key(|slot| (slot.watch == Watch::Engaged, slot.ticket));
        wakers.into_iter().filter_map(Slot::waker).for_each(Waker::wake_by_ref);
    }

    /// Wakes those that wait, first come first.
    pub(crate) fn wake_waiting(&self) {
        let inner = self.inner.borrow();
        let mut waiting: Vec<_> =
            inner.slots.iter().filter(|slot| slot.watch == Watch::Waiting).collect();
        waiting.sort_by_key(|slot| slot.ticket);
        waiting.into_iter().filter_map(Slot::waker).for_each(Waker::wake_by_ref);
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        let mut inner = self.inner.borrow_mut();
        (0..inner.slots.len()).for_each(|at| inner.wake(at));
    }

    /// Wakes those whose time has come. Returns how many connections have a task.
    pub(crate) fn sweep(&self, now_ms: u64) -> usize {
        let mut inner = self.inner.borrow_mut();
        let mut with_task = 0;
        for at in 0..inner.slots.len() {
            let slot = &inner.slots[at];
            with_task += usize::from(matches!(slot.keeper, Keeper::Task(_)));
            if slot.used && slot.deadline.is_over(now_ms) {
                inner.wake(at);
            }
        }
        with_task
    }
}

impl Slot {
    fn waker(&self) -> Option<&Waker> {
        match &self.keeper {
            Keeper::Task(waker) => Some(waker),
            Keeper::Nobody | Keeper::IdleSet(_) => None,
        }
    }
}

impl Inner {
    /// Wakes the connection, or calls it from its rest.
    fn wake(&mut self, at: usize) {
        let keeper = &mut self.slots[at].keeper;
        match std::mem::replace(keeper, Keeper::Nobody) {
            Keeper::Nobody => {}
            Keeper::Task(waker) => {
                waker.wake_by_ref();
                *keeper = Keeper::Task(waker);
            }
            Keeper::IdleSet(idle) => self.called.push((SlotId(at), idle)),
        }
    }
}
