//! Keeping a request waiting instead of failing it: bounded in number, bytes and time, body unread,
//! first come first served. Never chooses for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use balance::Pace;

use crate::closed::Closed;
use crate::exchange::Exchange;
use crate::line::{LetGo, Place};
use crate::pages::Page;
use crate::stats::AppStats;
use crate::turn::Turn;

/// While held, instances that refused are tried again this often.
const LOOK_EVERY_MS: u64 = 100;

/// How long a request waits, and what it gets if that is in vain.
#[derive(Debug)]
pub(crate) struct Patience {
    pub(crate) hold_ms: u64,
    pub(crate) instead: Instead,
}

/// What a request gets that waited in vain.
#[derive(Debug)]
pub(crate) enum Instead {
    /// 503: no instance could take it.
    Unavailable,
    /// The page of a closed app.
    Closed(Arc<Closed>),
}

/// The instances a request could go to, and how long it may wait for its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) instances: usize,
    pub(crate) hold_ms: u64,
}

/// What a held request takes of the app's limits. Falls with it.
#[derive(Debug)]
struct Room {
    app: Arc<AppStats>,
    bytes: usize,
}

/// A held request.
#[derive(Debug)]
pub(crate) struct Hold {
    _room: Room,
    place: Place,
    until_ms: u64,
    look_ms: u64,
}

impl Hold {
    /// When it has to be looked at though nothing happened.
    pub(crate) fn look_ms(&self) -> u64 {
        self.look_ms.min(self.until_ms)
    }

    /// Leaves the line to try an instance.
    pub(crate) fn go(self) -> LetGo {
        self.place.go()
    }

    /// Whether it is time to try again those that refused.
    pub(crate) fn looks_again(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.look_ms;
        if due {
            self.look_ms = now_ms + LOOK_EVERY_MS;
        }
        due
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.app.held_now.fetch_sub(1, Ordering::Relaxed);
        self.app.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Exchange {
    /// Holds the request, if there is room and time; else it is answered.
    pub(crate) fn wait(
        &mut self,
        app: &Arc<AppStats>,
        patience: Patience,
        turn: &mut Turn<'_, '_>,
    ) {
        if self.has_place(app, patience.hold_ms, turn) {
            return;
        }
        match patience.instead {
            Instead::Unavailable => self.answer_ourselves(Page::UNAVAILABLE, turn),
            Instead::Closed(closed) => self.answer_closed(&closed, turn),
        }
    }

    /// Whether a request that could go lets those go first that came before: all at once would be
    /// more than instances bear that have only just come. Nobody is refused for that: where there is
    /// no room or no time to wait, it goes.
    pub(crate) fn lets_others_go(
        &mut self,
        app: &Arc<AppStats>,
        pool: &Pool,
        turn: &Turn<'_, '_>,
    ) -> bool {
        let at_first = Pace::at_first(pool.instances, turn.worker.shared.config.workers);
        let its_turn = match &self.hold {
            Some(hold) => hold.place.may_go(at_first),
            // Its turn had come when it was sent out the first time.
            None => self.arm.is_some() || !turn.worker.lines.is_waiting(app.key),
        };
        !its_turn && self.has_place(app, pool.hold_ms, turn)
    }

    /// Takes or keeps a place among the held, if there is room and time.
    fn has_place(&mut self, app: &Arc<AppStats>, hold_ms: u64, turn: &Turn<'_, '_>) -> bool {
        // An attempt in between does not make the patience begin anew; another reason to wait may
        // make it longer or shorter.
        let again = self.held_since_ms.is_some();
        let since_ms = *self.held_since_ms.get_or_insert(turn.now_ms);
        let until_ms = since_ms.saturating_add(hold_ms);
        if turn.now_ms >= until_ms || turn.worker.is_draining() {
            return false;
        }
        if let Some(hold) = &mut self.hold {
            hold.until_ms = until_ms;
            return true;
        }
        self.hold = self.place(app, until_ms, turn);
        let Some(hold) = &self.hold else { return false };
        self.ticket = Some(hold.place.ticket);
        self.let_go = None;
        self.presence.left(turn);
        if !again {
            turn.worker.count(app, |cells| &cells.held);
        }
        true
    }

    /// A place among the held of the app, if there is room.
    fn place(&self, app: &Arc<AppStats>, until_ms: u64, turn: &Turn<'_, '_>) -> Option<Hold> {
        let limits = &turn.worker.shared.config.limits;
        // The head counts once, though it is kept as it came, too.
        let bytes = self.request.len() + turn.client.input.len() - self.head_len;
        let requests = app.held_now.fetch_add(1, Ordering::Relaxed);
        let held = app.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Counted first: two workers never share the last place.
        let room = Room { app: Arc::clone(app), bytes };
        if requests >= limits.hold_requests || held + bytes > limits.hold_bytes {
            return None;
        }
        let place = turn.worker.lines.join(app.key, self.ticket, turn.cx.waker().clone());
        Some(Hold { _room: room, place, until_ms, look_ms: turn.now_ms + LOOK_EVERY_MS })
    }
}
