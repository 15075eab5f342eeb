//! How a client takes its answer: while connections are scarce, not slower than it must. Counts what
//! its side has acknowledged, since the kernel takes much for a client that reads nothing.

use crate::deadline::Deadline;
use crate::front::side::ClientSide;
use crate::pace::{LeastPace, TransferProgress};

/// One answer on its way out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivery {
    /// What the kernel took for the client.
    handed: u64,
    progress: TransferProgress,
}

impl Delivery {
    /// The kernel took so many bytes.
    pub(crate) fn hand(&mut self, bytes: usize) {
        self.handed += bytes as u64;
    }

    /// All bytes that the kernel took.
    pub(crate) fn handed(&self) -> u64 {
        self.handed
    }

    /// The client was waited for from `since_ms` to `now_ms`.
    pub(crate) fn waited(&mut self, since_ms: u64, now_ms: u64, pace: LeastPace) {
        self.progress.waited(since_ms, now_ms, pace);
    }

    /// When it is looked at what the client has read, if it has been waited for since then.
    pub(crate) fn due(&self, since_ms: u64, pace: LeastPace) -> Deadline {
        self.progress.due(since_ms, pace)
    }

    /// Whether the client has read less than it has to by now, if it has been waited for since then.
    pub(crate) fn is_late(
        &mut self,
        since_ms: u64,
        now_ms: u64,
        pace: LeastPace,
        client: &ClientSide,
    ) -> bool {
        let read = || self.handed.saturating_sub(client.unacknowledged());
        self.progress.due(since_ms, pace).is_over(now_ms)
            && !self.progress.suffices(read(), now_ms, pace)
    }
}
