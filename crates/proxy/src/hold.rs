//! Keeping a request waiting instead of failing it: bounded in number, bytes and time, body unread.
//! Never chooses for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::closed::Closed;
use crate::connection::Turn;
use crate::exchange::Exchange;
use crate::pages::Page;
use crate::stats::AppStats;

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

/// A held request's place. Falls with it.
#[derive(Debug)]
pub(crate) struct Hold {
    app: Arc<AppStats>,
    bytes: usize,
    until_ms: u64,
    look_ms: u64,
}

impl Hold {
    /// When it has to be looked at though nothing happened.
    pub(crate) fn look_ms(&self) -> u64 {
        self.look_ms.min(self.until_ms)
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

impl Drop for Hold {
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
        // An attempt in between does not make the patience begin anew; another reason to wait may
        // make it longer or shorter.
        let again = self.held_since_ms.is_some();
        let since_ms = *self.held_since_ms.get_or_insert(turn.now_ms);
        let until_ms = since_ms.saturating_add(patience.hold_ms);
        let place = match self.hold.take() {
            _ if turn.now_ms >= until_ms || turn.worker.is_draining() => None,
            Some(mut hold) => {
                hold.until_ms = until_ms;
                Some(hold)
            }
            None => self.place(app, until_ms, turn),
        };
        match (place, patience.instead) {
            (Some(hold), _) => {
                if !again {
                    turn.worker.count(app, |cells| &cells.held);
                }
                self.hold = Some(hold);
            }
            (None, Instead::Unavailable) => self.answer_ourselves(Page::UNAVAILABLE, turn),
            (None, Instead::Closed(closed)) => self.answer_closed(&closed, turn),
        }
    }

    /// A place among the held of the app, if there is room.
    fn place(&self, app: &Arc<AppStats>, until_ms: u64, turn: &Turn<'_, '_>) -> Option<Hold> {
        let limits = &turn.worker.shared.config.limits;
        let bytes = self.request.len() + turn.client.input.len();
        let requests = app.held_now.fetch_add(1, Ordering::Relaxed);
        let held = app.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Counted first: two workers never share the last place. Dropping it gives it back.
        let look_ms = turn.now_ms + LOOK_EVERY_MS;
        let hold = Hold { app: Arc::clone(app), bytes, until_ms, look_ms };
        let fits = requests < limits.hold_requests && held + bytes <= limits.hold_bytes;
        fits.then_some(hold)
    }
}
