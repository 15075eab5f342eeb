//! A held request and its place in the hold queue. Held requests are bounded in number, bytes and time,
//! their bodies are not read, and they are served first come, first served. Does not know where a request
//! may go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::deadline::Deadline;
use crate::exchange::presence::Presence;
use crate::hold_queue::{Dequeued, QueuePlace, QueueTicket};
use crate::stats::AppStats;
use crate::turn::Turn;

/// The interval at which a held request tries again the instances that refused it.
const LOOK_EVERY_MS: u64 = 100;

/// The part of the app's hold limits that a held request takes up. Given back on drop.
#[derive(Debug)]
struct Room {
    app: Arc<AppStats>,
    bytes: usize,
}

/// A place among the held requests.
#[derive(Debug)]
struct Hold {
    _room: Room,
    place: QueuePlace,
    until_ms: u64,
    look_ms: u64,
}

/// The state of a request with regard to the hold queue.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// On the heap: few requests are held, and every request has room for this.
    hold: Option<Box<Hold>>,
    /// The request's place in the queue, in case it has to wait again.
    ticket: Option<QueueTicket>,
    /// Set if the request was held, has been dequeued, and has no answer yet.
    dequeued: Option<Dequeued>,
    /// The time when the request was held for the first time.
    since_ms: Option<u64>,
}

impl Held {
    /// Takes or keeps a place, if there is room and time. Returns whether the request is held. A new
    /// place takes up `bytes` bytes, and taking one checks the client for the first time.
    pub(crate) fn enter(
        &mut self,
        app: &Arc<AppStats>,
        hold_ms: u64,
        bytes: usize,
        presence: &mut Presence,
        turn: &Turn<'_, '_>,
    ) -> bool {
        // An attempt in between does not restart the time to wait. Another reason to wait may make that
        // time longer or shorter.
        let again = self.since_ms.is_some();
        let since_ms = *self.since_ms.get_or_insert(turn.now_ms);
        let until_ms = since_ms.saturating_add(hold_ms);
        if turn.now_ms >= until_ms || turn.worker.is_draining() {
            return false;
        }
        if let Some(hold) = &mut self.hold {
            hold.until_ms = until_ms;
            return true;
        }
        self.hold = self.place(app, until_ms, bytes, turn);
        let Some(hold) = &self.hold else { return false };
        self.ticket = Some(hold.place.ticket);
        self.dequeued = None;
        if !again {
            turn.worker.count(app, |cells| &cells.held);
        }
        presence.check_gone(turn);
        true
    }

    /// Takes a place among the held requests of the app, if there is room.
    fn place(
        &self,
        app: &Arc<AppStats>,
        until_ms: u64,
        bytes: usize,
        turn: &Turn<'_, '_>,
    ) -> Option<Box<Hold>> {
        let settings = turn.worker.settings();
        let limits = &settings.limits;
        let requests = app.held_now.fetch_add(1, Ordering::Relaxed);
        let held = app.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Counted before the check: two workers never share the last place.
        let room = Room { app: Arc::clone(app), bytes };
        if requests >= limits.hold_requests || held + bytes > limits.hold_bytes {
            return None;
        }
        let place = turn.worker.hold_queues.join(app.key, self.ticket, turn.cx.waker().clone());
        let look_ms = turn.now_ms + LOOK_EVERY_MS;
        Some(Box::new(Hold { _room: room, place, until_ms, look_ms }))
    }

    /// Returns whether the request is held.
    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Returns when a held request is looked at if no event comes before.
    pub(crate) fn look(&self) -> Deadline {
        let look = |hold: &Hold| Deadline::at(hold.look_ms.min(hold.until_ms));
        self.hold.as_deref().map_or(Deadline::never(), look)
    }

    /// Returns whether it is time for a held request to try again the instances that refused.
    #[inline]
    pub(crate) fn looks_again(&mut self, now_ms: u64) -> bool {
        let Some(hold) = &mut self.hold else { return false };
        let due = now_ms >= hold.look_ms;
        if due {
            hold.look_ms = now_ms + LOOK_EVERY_MS;
        }
        due
    }

    /// Returns whether a held request may go, if `at_first` requests may go at first. `None` if it is not
    /// held.
    pub(crate) fn may_go(&self, at_first: u32) -> Option<bool> {
        self.hold.as_ref().map(|hold| hold.place.may_go(at_first))
    }

    /// Leaves the queue to try an instance. Returns how long the request has been held by now, in
    /// milliseconds, if it was held.
    #[inline]
    pub(crate) fn go(&mut self, now_ms: u64) -> Option<u64> {
        if let Some(hold) = self.hold.take() {
            self.dequeued = Some(hold.place.go());
        }
        self.since_ms.map(|since_ms| now_ms.saturating_sub(since_ms))
    }

    /// Notes that an instance has answered.
    #[inline]
    pub(crate) fn answered(&mut self) {
        if let Some(dequeued) = self.dequeued.take() {
            dequeued.answered();
        }
    }

    /// Gives up the place in the queue: the request belongs to another app now.
    pub(crate) fn changes_app(&mut self) {
        (self.hold, self.ticket) = (None, None);
    }

    /// Gives up the place: no instance is going to answer.
    pub(crate) fn gives_up(&mut self) {
        self.hold = None;
        self.dequeued = None;
    }

    /// Notes that the request has ended.
    pub(crate) fn request_ended(&mut self) {
        self.dequeued = None;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.app.held_now.fetch_sub(1, Ordering::Relaxed);
        self.app.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
