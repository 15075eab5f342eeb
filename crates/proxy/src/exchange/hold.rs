//! Keeping a request waiting instead of failing it: who waits, for how long, and what is said after that.
//! Never chooses for it.

use std::sync::Arc;

use balance::Pace;

use crate::closed::Closed;
use crate::exchange::Exchange;
use crate::exchange::held::Entered;
use crate::pages::Page;
use crate::stats::AppStats;
use crate::turn::Turn;

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
        let its_turn = match self.held.may_go(at_first) {
            Some(may_go) => may_go,
            // Its turn had come when it was sent out the first time.
            None => self.arm.is_some() || !turn.worker.lines.is_waiting(app.key),
        };
        !its_turn && self.has_place(app, pool.hold_ms, turn)
    }

    /// Whether the request has a place among the held, if there is room and time.
    fn has_place(&mut self, app: &Arc<AppStats>, hold_ms: u64, turn: &Turn<'_, '_>) -> bool {
        // The head counts once, though it is kept as it came, too.
        let bytes = self.request.len() + turn.client.input.len() - self.head_len;
        match self.held.enter(app, hold_ms, bytes, turn) {
            Entered::Not => false,
            Entered::Before => true,
            Entered::Now => {
                self.presence.left(turn);
                true
            }
        }
    }
}
