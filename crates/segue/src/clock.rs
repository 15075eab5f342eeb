//! The two clocks of a server: the one that people read, and the one that counts from the machine's boot on.

use std::time::{SystemTime, UNIX_EPOCH};

use model::{Millis, Timestamp};

/// Milliseconds since 1970, as the machine has them.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since the machine was booted, suspended time included.
pub fn boot_time() -> Millis {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    Millis(seconds.unwrap_or(0) * 1_000 + nanos.unwrap_or(0) / 1_000_000)
}
