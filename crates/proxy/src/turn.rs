//! The context of one poll, which every step of a connection may use: the client's side, the worker, and
//! the time. Never waits, and knows no step.

use std::task::Context;

use crate::caller::Caller;
use crate::deadline::Deadline;
use crate::front::side::ClientSide;
use crate::timer_id::TimerId;
use crate::timers::Watch;
use crate::worker::Worker;

/// The context of one poll, which every step of a connection may use.
pub(crate) struct Turn<'a, 'b> {
    pub(crate) cx: &'a mut Context<'b>,
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a mut ClientSide,
    pub(crate) caller: &'a mut Caller,
    /// The number by which the worker knows this connection.
    pub(crate) timer: TimerId,
    pub(crate) now_ms: u64,
    /// True if the snapshot has changed since the last turn.
    pub(crate) snapshot_changed: bool,
}

impl Turn<'_, '_> {
    /// Returns whether the app is closed to the client.
    pub(crate) fn is_closed(&self, app: Option<u32>) -> bool {
        let table = self.worker.table.borrow();
        let closed = app.and_then(|app| table.app(app)).and_then(|entry| entry.closed.as_ref());
        closed.is_some_and(|closed| !closed.lets_in(self.caller.whence))
    }
}

/// The time to wake the connection even if no event comes, and the changes that wake it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeup {
    pub(crate) at: Deadline,
    pub(crate) watch: Watch,
}
