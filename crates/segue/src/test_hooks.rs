//! Hooks for tests of recovery, set by environment variables. Without those variables they do nothing.

use std::time::Duration;

use control::CrashPoint;
use journal::sqlite::JournalOptions;

/// Returns the options for opening the journal. `SEGUE_TEST_FSYNC_DELAY_MS=n` simulates a disk whose fsync
/// takes n milliseconds.
pub fn journal_options() -> JournalOptions {
    let delay = std::env::var("SEGUE_TEST_FSYNC_DELAY_MS").ok().and_then(|ms| ms.parse().ok());
    JournalOptions {
        fsync_delay: Duration::from_millis(delay.unwrap_or(0)),
        ..JournalOptions::default()
    }
}

/// Returns the id of this boot of the machine. `SEGUE_TEST_BOOT_ID=ID` simulates another boot.
pub fn boot_id() -> String {
    std::env::var("SEGUE_TEST_BOOT_ID").unwrap_or_else(|_| agent::boot_id())
}

/// Returns the point at which the process is to be killed: with `SEGUE_TEST_CRASH_AT=n`, at the n-th crossing
/// of an append or an effect.
pub fn crash_point() -> Option<Box<dyn CrashPoint>> {
    let left = std::env::var("SEGUE_TEST_CRASH_AT").ok()?.parse().ok()?;
    Some(Box::new(CrashAt { left }))
}

struct CrashAt {
    left: u64,
}

impl CrashPoint for CrashAt {
    /// Kills the process. Nothing is flushed and nobody is told, as with a real `kill -9`.
    fn cross(&mut self, what: &'static str) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            tracing::warn!(what, "SEGUE_TEST_CRASH_AT is reached");
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }
}
