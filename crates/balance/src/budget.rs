//! Bounds how many requests may be sent a second time, so that retries never multiply an overload.
//! Attempts of which nothing was sent are free and not counted here.

/// The part of all requests that may be repeated, in percent.
const PERCENT: u64 = 20;
/// The number of retries that are always allowed, per second.
const FLOOR_PER_SECOND: u64 = 10;
/// Time that unused retries stay saved up.
const WINDOW_MS: u64 = 10_000;
/// One retry, in the unit of the budget: thousandths of a percent of one request.
const RETRY: u64 = 100_000;

/// The retry budget of one app. Consulted only when a retry is wanted: requests are counted elsewhere and
/// their total is passed in, so a request that succeeds costs nothing here.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    saved: u64,
    seen_ms: u64,
    seen_requests: u64,
}

impl RetryBudget {
    /// Returns a budget that begins at `now_ms` with one second's floor.
    pub const fn new(now_ms: u64) -> Self {
        Self { saved: FLOOR_PER_SECOND * RETRY, seen_ms: now_ms, seen_requests: 0 }
    }

    /// Takes one retry if there is one. `requests` is the number of all requests so far.
    pub fn take(&mut self, now_ms: u64, requests: u64) -> bool {
        // Saved retries expire over the window. Of a longer time only the mean counts.
        let elapsed_ms = now_ms.saturating_sub(self.seen_ms);
        let passed_ms = elapsed_ms.min(WINDOW_MS);
        let new = requests.saturating_sub(self.seen_requests).min(1 << 32);
        let recent = new * passed_ms.max(1) / elapsed_ms.max(1);
        let kept = self.saved / WINDOW_MS * (WINDOW_MS - passed_ms);
        let floor = passed_ms * FLOOR_PER_SECOND * (RETRY / 1000);
        self.saved = kept + floor + recent * PERCENT * (RETRY / 100);
        self.seen_ms = now_ms.max(self.seen_ms);
        self.seen_requests = requests.max(self.seen_requests);
        let allowed = self.saved >= RETRY;
        if allowed {
            self.saved -= RETRY;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut RetryBudget, now_ms: u64, requests: u64) -> usize {
        (0..100_000).take_while(|_| budget.take(now_ms, requests)).count()
    }

    #[test]
    fn ten_per_second_are_always_allowed() {
        let mut budget = RetryBudget::new(0);
        assert_eq!(taken(&mut budget, 0, 0), 10);
        assert_eq!(taken(&mut budget, 1_000, 0), 10);
        assert_eq!(taken(&mut budget, 1_500, 0), 5);
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_repeated() {
        let mut budget = RetryBudget::new(0);
        assert_eq!(taken(&mut budget, 0, 0), 10);
        assert_eq!(taken(&mut budget, 0, 10_000), 2_000);
        assert_eq!(taken(&mut budget, 0, 10_100), 20);
    }

    #[test]
    fn a_long_silence_saves_up_no_more_than_ten_seconds() {
        let mut budget = RetryBudget::new(0);
        assert_eq!(taken(&mut budget, 3_600_000, 0), 100);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut budget = RetryBudget::new(5_000);
        assert_eq!(taken(&mut budget, 5_000, 0), 10);
        assert_eq!(taken(&mut budget, 0, 0), 0);
    }
}
