//! Measures how fast a client takes its answer, which matters while connections are scarce. Counts the
//! bytes that the client's side has acknowledged, since the kernel buffers many for a client that reads
//! nothing.

use crate::deadline::Deadline;
use crate::front::side::ClientSide;
use crate::pace::{LeastPace, TransferProgress};

/// The delivery of one answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivery {
    /// Bytes that the kernel took for the client.
    handed: u64,
    progress: TransferProgress,
}

impl Delivery {
    /// Counts bytes that the kernel took.
    pub(crate) fn hand(&mut self, bytes: usize) {
        self.handed += bytes as u64;
    }

    /// Returns the number of bytes that the kernel took.
    pub(crate) fn handed(&self) -> u64 {
        self.handed
    }

    /// Counts the time from `since_ms` to `now_ms` as time spent waiting for the client.
    pub(crate) fn waited(&mut self, since_ms: u64, now_ms: u64, pace: LeastPace) {
        self.progress.waited(since_ms, now_ms, pace);
    }

    /// Returns when the client's progress is checked, if the proxy has waited for it since `since_ms`.
    pub(crate) fn due(&self, since_ms: u64, pace: LeastPace) -> Deadline {
        self.progress.due(since_ms, pace)
    }

    /// Returns whether the client has read less than is required by now, if the proxy has waited for it
    /// since `since_ms`.
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
