//! The two clocks of a server: the wall clock, and the time since the machine was booted.

use std::time::{SystemTime, UNIX_EPOCH};

use model::{Millis, Timestamp};

/// Returns the milliseconds since 1970 by the machine's clock.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the milliseconds since the machine was booted, including suspended time.
pub fn boot_time() -> Millis {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    Millis(seconds.unwrap_or(0) * 1_000 + nanos.unwrap_or(0) / 1_000_000)
}
