//! One timer per connection: when the connection wants to be woken, and for what. The timers are not the
//! runtime's: one sweep per worker checks all of them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::task::{Context, Waker};

use crate::deadline::Deadline;
use crate::eviction::{self, Doing, Surplus};
use crate::idle::IdleConnection;
use crate::timer_id::TimerId;

/// The changes that wake a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// None: the connection is idle, or its answer does not depend on any instance.
    Nothing,
    /// The connection waits for an instance: it must choose anew before a snapshot is acknowledged (I5).
    Waiting,
    /// The connection uses an instance: it must know when that instance has left.
    Engaged,
}

/// The way to wake a connection.
#[derive(Debug)]
enum Keeper {
    /// None: the connection has not been polled yet, or has just been woken.
    Nobody,
    Task(Waker),
    /// The connection is in the set of idle ones. It has to be given a task first.
    IdleSet(Box<IdleConnection>),
}

/// The reason why a connection has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// There are too many connections. One that waits for its instance by now may stay.
    MakesRoom,
    /// The connection is cut, whatever it does.
    Cut,
}

/// The state of a connection's eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Stays,
    /// The connection is to leave, and has not been told.
    Asked(Departure),
    /// The connection has been told and is leaving.
    Leaves,
}

#[derive(Debug)]
struct Timer {
    used: bool,
    watch: Watch,
    deadline: Deadline,
    /// The snapshot that the connection noticed last.
    seen: u64,
    /// Its place in the order of waiting connections.
    ticket: u64,
    keeper: Keeper,
    /// The origin of the connection; `None` if it may always stay.
    origin: Option<IpAddr>,
    doing: Doing,
    leaving: Leaving,
    opened_ms: u64,
}

/// The timers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    timers: Vec<Timer>,
    free: Vec<usize>,
    tickets: u64,
    /// Idle connections that were woken and need a task.
    woken: Vec<(TimerId, Box<IdleConnection>)>,
}

impl Timers {
    pub(crate) fn open(&self, seen: u64, origin: Option<IpAddr>, opened_ms: u64) -> TimerId {
        let mut inner = self.inner.borrow_mut();
        let timer = Timer {
            used: true,
            watch: Watch::Nothing,
            deadline: Deadline::never(),
            seen,
            ticket: 0,
            keeper: Keeper::Nobody,
            origin,
            doing: Doing::Busy,
            leaving: Leaving::Stays,
            opened_ms,
        };
        if let Some(at) = inner.free.pop() {
            inner.timers[at] = timer;
            return TimerId(at);
        }
        inner.timers.push(timer);
        TimerId(inner.timers.len() - 1)
    }

    pub(crate) fn close(&self, id: TimerId) {
        let mut inner = self.inner.borrow_mut();
        let timer = &mut inner.timers[id.0];
        timer.used = false;
        timer.watch = Watch::Nothing;
        timer.keeper = Keeper::Nobody;
        inner.free.push(id.0);
    }

    /// Records what the connection waits for, at the end of its poll.
    pub(crate) fn set(&self, id: TimerId, watch: Watch, deadline: Deadline, cx: &Context<'_>) {
        let mut inner = self.inner.borrow_mut();
        let Inner { timers, tickets, .. } = &mut *inner;
        let timer = &mut timers[id.0];
        if watch == Watch::Waiting && timer.watch != Watch::Waiting {
            *tickets += 1;
            timer.ticket = *tickets;
        }
        timer.watch = watch;
        timer.deadline = deadline;
        match &mut timer.keeper {
            Keeper::Task(waker) => waker.clone_from(cx.waker()),
            keeper @ (Keeper::Nobody | Keeper::IdleSet(_)) => {
                *keeper = Keeper::Task(cx.waker().clone())
            }
        }
    }

    /// Keeps the connection without a task until it is woken, at the latest at `deadline`.
    pub(crate) fn rest(&self, id: TimerId, deadline: Deadline, idle: IdleConnection) {
        let timer = &mut self.inner.borrow_mut().timers[id.0];
        timer.watch = Watch::Nothing;
        timer.deadline = deadline;
        timer.keeper = Keeper::IdleSet(Box::new(idle));
    }

    /// Wakes a connection, which may be idle and without a task.
    pub(crate) fn wake(&self, id: TimerId) {
        self.inner.borrow_mut().wake(id.0);
    }

    /// Returns the next idle connection that was woken and needs a task.
    pub(crate) fn next_woken(&self) -> Option<(TimerId, Box<IdleConnection>)> {
        self.inner.borrow_mut().woken.pop()
    }

    /// Records what the connection is doing.
    pub(crate) fn set_doing(&self, id: TimerId, doing: Doing) {
        self.inner.borrow_mut().timers[id.0].doing = doing;
    }

    /// Returns why the connection has to leave, if it has to. It is told only once.
    pub(crate) fn departure(&self, id: TimerId) -> Option<Departure> {
        let timer = &mut self.inner.borrow_mut().timers[id.0];
        let Leaving::Asked(departure) = timer.leaving else { return None };
        timer.leaving = Leaving::Leaves;
        Some(departure)
    }

    /// Cuts the connections that were opened before that time.
    pub(crate) fn cut(&self, before_ms: u64) {
        let mut inner = self.inner.borrow_mut();
        for at in 0..inner.timers.len() {
            if inner.timers[at].used && inner.timers[at].opened_ms < before_ms {
                inner.timers[at].leaving = Leaving::Asked(Departure::Cut);
                inner.wake(at);
            }
        }
    }

    /// Returns the number of connections that were opened before that time.
    pub(crate) fn opened_before(&self, before_ms: u64) -> usize {
        let inner = self.inner.borrow();
        inner.timers.iter().filter(|timer| timer.used && timer.opened_ms < before_ms).count()
    }

    /// Cancels an eviction: the connection has a request by now and stays.
    pub(crate) fn cancel_eviction(&self, id: TimerId) {
        self.inner.borrow_mut().timers[id.0].leaving = Leaving::Stays;
    }

    /// Wakes the connections whose activity `this` accepts.
    pub(crate) fn wake_doing(&self, this: impl Fn(Doing) -> bool) {
        let mut inner = self.inner.borrow_mut();
        for at in 0..inner.timers.len() {
            if inner.timers[at].used && this(inner.timers[at].doing) {
                inner.wake(at);
            }
        }
    }

    /// Evicts connections until as many are leaving as the surplus demands. Of those that are idle or
    /// send a head, only the ones that have done so since before `before_ms`. Returns how many were newly
    /// evicted.
    pub(crate) fn evict(&self, surplus: Surplus, before_ms: u64) -> usize {
        let mut inner = self.inner.borrow_mut();
        let used = || inner.timers.iter().enumerate().filter(|(_, timer)| timer.used);
        let is_leaving =
            |timer: &Timer| timer.leaving != Leaving::Stays || timer.doing == Doing::Closing;
        let already = used().filter(|(_, timer)| is_leaving(timer)).count();
        let staying = used().filter(|(_, timer)| timer.leaving == Leaving::Stays);
        let staying = staying.filter_map(|(id, timer)| {
            let doing = match timer.doing {
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
            Some((id, timer.origin?, doing))
        });
        let count = surplus.count.saturating_sub(already);
        let leaving = eviction::leave(staying, Surplus { count, ..surplus });
        for id in &leaving {
            inner.timers[*id].leaving = Leaving::Asked(Departure::MakesRoom);
            inner.wake(*id);
        }
        leaving.len()
    }

    /// Notes that the connection has noticed snapshot `sequence`. Returns whether that is new to it.
    pub(crate) fn notice(&self, id: TimerId, sequence: u64) -> bool {
        let timer = &mut self.inner.borrow_mut().timers[id.0];
        let news = timer.seen != sequence;
        timer.seen = sequence;
        news
    }

    /// Returns how many connections wait for an instance and have not noticed snapshot `sequence` yet.
    pub(crate) fn unresolved(&self, sequence: u64) -> usize {
        let inner = self.inner.borrow();
        let waits = |timer: &&Timer| timer.watch == Watch::Waiting && timer.seen != sequence;
        inner.timers.iter().filter(waits).count()
    }

    /// Wakes the connections that wait for an instance, first come first, then those that use one.
    pub(crate) fn wake_engaged(&self) {
        let inner = self.inner.borrow();
        let mut wakers: Vec<_> =
            inner.timers.iter().filter(|s| s.watch != Watch::Nothing).collect();
        wakers.sort_by_key(|timer| (timer.watch == Watch::Engaged, timer.ticket));
        wakers.into_iter().filter_map(Timer::waker).for_each(Waker::wake_by_ref);
    }

    /// Wakes the connections that wait for an instance, first come first.
    pub(crate) fn wake_waiting(&self) {
        let inner = self.inner.borrow();
        let mut waiting: Vec<_> =
            inner.timers.iter().filter(|timer| timer.watch == Watch::Waiting).collect();
        waiting.sort_by_key(|timer| timer.ticket);
        waiting.into_iter().filter_map(Timer::waker).for_each(Waker::wake_by_ref);
    }

    /// Wakes all connections.
    pub(crate) fn wake_all(&self) {
        let mut inner = self.inner.borrow_mut();
        (0..inner.timers.len()).for_each(|at| inner.wake(at));
    }

    /// Wakes the connections whose deadline is over. Returns how many connections have a task.
    pub(crate) fn sweep(&self, now_ms: u64) -> usize {
        let mut inner = self.inner.borrow_mut();
        let mut with_task = 0;
        for at in 0..inner.timers.len() {
            let timer = &inner.timers[at];
            with_task += usize::from(matches!(timer.keeper, Keeper::Task(_)));
            if timer.used && timer.deadline.is_over(now_ms) {
                inner.wake(at);
            }
        }
        with_task
    }
}

impl Timer {
    fn waker(&self) -> Option<&Waker> {
        match &self.keeper {
            Keeper::Task(waker) => Some(waker),
            Keeper::Nobody | Keeper::IdleSet(_) => None,
        }
    }
}

impl Inner {
    /// Wakes the connection's task or, if it is idle, adds it to those that need a task.
    fn wake(&mut self, at: usize) {
        let keeper = &mut self.timers[at].keeper;
        match std::mem::replace(keeper, Keeper::Nobody) {
            Keeper::Nobody => {}
            Keeper::Task(waker) => {
                waker.wake_by_ref();
                *keeper = Keeper::Task(waker);
            }
            Keeper::IdleSet(idle) => self.woken.push((TimerId(at), idle)),
        }
    }
}
