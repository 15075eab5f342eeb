//! The longest time with a request waiting and none succeeding, over all workers, exactly. Costs
//! three uncontended atomic operations per request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One app's gaps. Times are milliseconds by the proxy's clock.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct AvailabilityGap {
    waiting: AtomicU32,
    /// The last success, or when the first of those waiting came.
    since_ms: AtomicU64,
    /// The longest since it was last asked for, plus one; 0 without traffic.
    longest: AtomicU64,
}

impl AvailabilityGap {
    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>, now_ms: u64) -> UnansweredRequest {
        if self.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.since_ms.store(now_ms, Ordering::Release);
        }
        UnansweredRequest { gap: Arc::clone(self) }
    }

    /// The longest gap that ended since this was last asked, or the one that lasts; `None` without
    /// traffic. One that lasts is told again the next time, longer.
    pub(crate) fn take_ms(&self, now_ms: u64) -> Option<u64> {
        let ended = self.longest.swap(0, Ordering::AcqRel);
        let lasting = match self.waiting.load(Ordering::Acquire) {
            0 => 0,
            _ => now_ms.saturating_sub(self.since_ms.load(Ordering::Acquire)) + 1,
        };
        ended.max(lasting).checked_sub(1)
    }

    fn close(&self, now_ms: u64) {
        let since = self.since_ms.fetch_max(now_ms, Ordering::AcqRel);
        let gap = now_ms.saturating_sub(since) + 1;
        if self.longest.load(Ordering::Relaxed) < gap {
            self.longest.fetch_max(gap, Ordering::AcqRel);
        }
    }
}

/// The gaps of one app that were found for the reports of the last minute.
#[derive(Debug, Default)]
pub(crate) struct RecentGaps(VecDeque<(u64, model::Gap)>);

impl RecentGaps {
    /// A gap stays in the reports of so many milliseconds.
    const KEPT_MS: u64 = 60_000;
    /// Of more than this, the two oldest become one.
    const MOST: usize = 128;

    /// Takes what `gap` has found since the report before that number.
    pub(crate) fn take(&mut self, gap: &AvailabilityGap, seq: u64, now_ms: u64) {
        while self.0.front().is_some_and(|(at_ms, _)| at_ms + Self::KEPT_MS < now_ms) {
            self.0.pop_front();
        }
        let Some(ms) = gap.take_ms(now_ms) else { return };
        self.0.push_back((now_ms, model::Gap { seq, ms }));
        if self.0.len() > Self::MOST
            && let Some((_, oldest)) = self.0.pop_front()
            && let Some((_, next)) = self.0.front_mut()
        {
            next.ms = next.ms.max(oldest.ms);
        }
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<model::Gap> {
        self.0.iter().map(|(_, gap)| *gap).collect()
    }
}

/// One request that waits for its answer.
#[derive(Debug)]
pub(crate) struct UnansweredRequest {
    gap: Arc<AvailabilityGap>,
}

impl UnansweredRequest {
    /// The answer has come.
    pub(crate) fn succeeded(self, now_ms: u64) {
        self.gap.close(now_ms);
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        self.gap.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lasts_from_the_first_waiting_to_the_next_success_of_anyone() {
        let gap = Arc::new(AvailabilityGap::default());
        assert_eq!(gap.take_ms(50), None);
        let slow = gap.begin(100);
        let quick = gap.begin(110);
        quick.succeeded(130);
        assert_eq!(gap.take_ms(131), Some(30));
        assert_eq!(gap.take_ms(150), Some(20), "the one that lasts");
        assert_eq!(gap.take_ms(500), Some(370), "and lasts");
        slow.succeeded(600);
        assert_eq!(gap.take_ms(9_000), Some(470));
        assert_eq!(gap.take_ms(9_000), None);
        gap.begin(9_000).succeeded(9_001);
        assert_eq!(gap.take_ms(9_001), Some(1));
    }

    #[test]
    fn a_gap_stays_in_the_reports_of_a_minute_under_the_number_of_the_first() {
        let gap = Arc::new(AvailabilityGap::default());
        let mut recent = RecentGaps::default();
        gap.begin(100).succeeded(170);
        recent.take(&gap, 1, 200);
        recent.take(&gap, 2, 300);
        gap.begin(1_000).succeeded(1_005);
        recent.take(&gap, 3, 59_000);
        let all =
            |recent: &RecentGaps| recent.all().iter().map(|g| (g.seq, g.ms)).collect::<Vec<_>>();
        assert_eq!(all(&recent), [(1, 70), (3, 5)]);
        recent.take(&gap, 4, 60_201);
        assert_eq!(all(&recent), [(3, 5)], "the first is older than a minute");
        for seq in 5..1_000 {
            gap.begin(61_000).succeeded(61_000 + seq);
            recent.take(&gap, seq, 62_100);
        }
        assert_eq!(all(&recent).len(), RecentGaps::MOST);
        assert_eq!(all(&recent)[0].0, 872, "the oldest are one");
    }

    #[test]
    fn a_request_that_fails_does_not_end_the_gap_of_the_others() {
        let gap = Arc::new(AvailabilityGap::default());
        let other = gap.begin(0);
        drop(gap.begin(0));
        other.succeeded(40);
        assert_eq!(gap.take_ms(40), Some(40));
    }
}
