//! How a journal is kept.

use std::time::Duration;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Waited before every commit, as if the disk were that slow. For tests and measurements.
    pub fsync_delay: Duration,
    /// The file does not grow beyond this; what does not fit is refused as if the disk were full.
    pub max_bytes: u64,
    /// Room that is kept for the way back.
    pub ballast_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { fsync_delay: Duration::ZERO, max_bytes: 1 << 30, ballast_bytes: 1 << 20 }
    }
}
