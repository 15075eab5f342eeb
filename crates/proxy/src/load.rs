//! How many connections there are, of what there may be, and what follows from that. Looks once per
//! sweep, never when a request comes.

use std::sync::atomic::Ordering;

use crate::crowd::{Doing, Surplus};
use crate::worker::Worker;

/// What came so lately does not have to make room: its request may be on its way.
const GRACE_MS: u64 = 250;
/// When there are nearly too many connections, one origin keeps no more than this part of what there
/// may be, unless its requests wait for their instances.
const SHARES: usize = 4;

/// How many connections there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Half of what there may be, or fewer.
    Light,
    /// More, since then.
    Scarce { since_ms: u64 },
    /// More than nine tenths; more than half since then.
    Crowded { since_ms: u64 },
}

impl Worker {
    /// Since when more than half of the connections there may be are in use, if they are.
    pub(crate) fn scarce_since_ms(&self) -> Option<u64> {
        match self.load.get() {
            Load::Light => None,
            Load::Scarce { since_ms } | Load::Crowded { since_ms } => Some(since_ms),
        }
    }

    /// More than nine tenths of the connections there may be are in use.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self.load.get(), Load::Crowded { .. })
    }

    /// Looks how many connections there are. With more than half of what there may be, clients that are
    /// waited for hear that they have to hurry. With more than nine tenths, some have to make room: each
    /// worker sends away its part.
    pub(crate) fn make_room(&self, now_ms: u64) {
        let limit = self.shared.config.limits.connections;
        let wanted = limit - limit / 10;
        let open = self.shared.connections.load(Ordering::Acquire);
        let since_ms = self.scarce_since_ms();
        self.load.set(match since_ms.unwrap_or(now_ms) {
            _ if open <= limit / 2 => Load::Light,
            since_ms if open <= wanted => Load::Scarce { since_ms },
            since_ms => Load::Crowded { since_ms },
        });
        if since_ms.is_none() && self.scarce_since_ms().is_some() {
            self.slots.wake_doing(|doing| matches!(doing, Doing::Body(_) | Doing::Answer(_)));
        }
        let surplus = open.saturating_sub(wanted);
        if surplus > 0 {
            self.slots.wake_doing(|doing| doing == Doing::Closing);
            let workers = self.shared.config.workers;
            let surplus = Surplus {
                count: surplus.div_ceil(workers),
                share: limit / SHARES / workers,
                few: (limit / 100 / workers).max(1),
                now_ms,
            };
            let evicted = self.slots.evict(surplus, now_ms.saturating_sub(GRACE_MS));
            self.shared.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        }
    }
}
