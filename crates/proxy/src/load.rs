//! How many connections there are, of what there may be, and what follows from that. Looks once per
//! sweep, never when a request comes.

use crate::eviction::Surplus;

/// What came so lately does not have to make room: its request may be on its way.
pub(crate) const GRACE_MS: u64 = 250;
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

impl Load {
    /// Since when more than half of what there may be are in use, if they are.
    pub(crate) fn scarce_since_ms(self) -> Option<u64> {
        match self {
            Self::Light => None,
            Self::Scarce { since_ms } | Self::Crowded { since_ms } => Some(since_ms),
        }
    }

    /// What follows this load with `open` connections of `limit`.
    pub(crate) fn next(self, open: usize, limit: usize, now_ms: u64) -> Self {
        match self.scarce_since_ms().unwrap_or(now_ms) {
            _ if open <= limit / 2 => Self::Light,
            since_ms if open <= wanted(limit) => Self::Scarce { since_ms },
            since_ms => Self::Crowded { since_ms },
        }
    }
}

/// How many connections one of the workers has to send away, if there are too many.
pub(crate) fn surplus(open: usize, limit: usize, workers: usize, now_ms: u64) -> Option<Surplus> {
    let surplus = open.saturating_sub(wanted(limit));
    (surplus > 0).then(|| Surplus {
        count: surplus.div_ceil(workers),
        share: limit / SHARES / workers,
        few: (limit / 100 / workers).max(1),
        now_ms,
    })
}

/// The most connections without anybody having to make room.
fn wanted(limit: usize) -> usize {
    limit - limit / 10
}
