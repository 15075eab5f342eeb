//! Options of a journal.

use std::time::Duration;

/// Options of a journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Delay before every commit, to simulate a slow disk. For tests and measurements.
    pub fsync_delay: Duration,
    /// Maximum size of the file. Data beyond it is refused as if the disk were full.
    pub max_bytes: u64,
    /// Size of the space reserved for rollbacks.
    pub ballast_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { fsync_delay: Duration::ZERO, max_bytes: 1 << 30, ballast_bytes: 1 << 20 }
    }
}
