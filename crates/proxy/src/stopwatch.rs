//! Measures the time from a request to the head of its answer in microseconds. Runs only where instances
//! are picked by latency, because a worker's own clock has a resolution of milliseconds.

use std::time::Instant;

/// A stopwatch that runs from its start on.
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
