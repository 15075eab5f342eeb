//! The longest times in which requests were waiting and none succeeded, as reports list them.

use std::collections::VecDeque;

use crate::unanswered::AvailabilityGap;

/// The gaps of one app that were found for the reports of the last minute.
#[derive(Debug, Default)]
pub(crate) struct RecentGaps(VecDeque<(u64, model::Gap)>);

impl RecentGaps {
    /// Time in milliseconds that a gap stays in the reports.
    const KEPT_MS: u64 = 60_000;
    /// Number of gaps kept. Beyond it, the two oldest are merged.
    const MOST: usize = 128;

    /// Takes the gaps that `gap` has found since the report before report `seq`.
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

    /// Returns all gaps, oldest first.
    pub(crate) fn all(&self) -> Vec<model::Gap> {
        self.0.iter().map(|(_, gap)| *gap).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
