//! How long an instance takes from a request to the head of its answer, to the microsecond. Runs only
//! where instances are picked by that: a worker's own clock ticks in milliseconds.

use std::time::Instant;

/// Runs from its start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn took_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
