//! The number of connections relative to the limit, and the measures that follow from it. Checked once
//! per sweep, never when a request comes.

use crate::eviction::Surplus;

/// Age in milliseconds below which a connection is not evicted: its request may be on its way.
pub(crate) const GRACE_MS: u64 = 250;
/// The limit divided by this is the share of one origin: near the limit, an origin keeps no more
/// connections than that, unless its requests wait for their instances.
const SHARES: usize = 4;

/// The load by the number of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Half of the limit, or fewer.
    Light,
    /// More than half of the limit, since then.
    Scarce { since_ms: u64 },
    /// More than nine tenths of the limit; more than half since then.
    Crowded { since_ms: u64 },
}

impl Load {
    /// Returns since when more than half of the limit is in use, if it is.
    pub(crate) fn scarce_since_ms(self) -> Option<u64> {
        match self {
            Self::Light => None,
            Self::Scarce { since_ms } | Self::Crowded { since_ms } => Some(since_ms),
        }
    }

    /// Returns the load that follows this one with `open` connections of `limit`.
    pub(crate) fn next(self, open: usize, limit: usize, now_ms: u64) -> Self {
        match self.scarce_since_ms().unwrap_or(now_ms) {
            _ if open <= limit / 2 => Self::Light,
            since_ms if open <= wanted(limit) => Self::Scarce { since_ms },
            since_ms => Self::Crowded { since_ms },
        }
    }
}

/// Returns how many connections one of the workers has to evict, if there are too many.
pub(crate) fn surplus(open: usize, limit: usize, workers: usize, now_ms: u64) -> Option<Surplus> {
    let surplus = open.saturating_sub(wanted(limit));
    (surplus > 0).then(|| Surplus {
        count: surplus.div_ceil(workers),
        share: limit / SHARES / workers,
        few: (limit / 100 / workers).max(1),
        now_ms,
    })
}

/// Returns the largest number of connections at which none is evicted.
fn wanted(limit: usize) -> usize {
    limit - limit / 10
}
