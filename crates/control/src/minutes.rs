//! Counts of one app, minute by minute, for the error guard of a rollout. They are bounded, and lost in
//! a crash.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{AppCounters, Timestamp};
use rollout::Minute;

/// The last minutes of one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minutes {
    kept: VecDeque<Minute>,
    /// The counts of the proxies when they were last taken.
    last: Option<AppCounters>,
}

impl Minutes {
    /// Number of minutes kept: enough for ten whole ones besides those cut short by the start of a
    /// rollout.
    const KEPT: usize = 16;

    /// Takes the current counts of the proxies.
    pub fn count(&mut self, counters: &AppCounters, now: Timestamp) {
        if self.last.as_ref() == Some(counters) {
            return;
        }
        let Some(last) = self.last.replace(counters.clone()) else { return };
        let grown = |now: u64, before: u64| {
            // A proxy that starts anew counts from zero.
            if now < before { now } else { now - before }
        };
        // A release that has failed every request has faults but no answers.
        let releases: BTreeSet<_> = counters.answers.keys().chain(counters.faults.keys()).collect();
        for release in releases {
            let of = |counts: &BTreeMap<_, u64>| counts.get(release).copied().unwrap_or(0);
            let answers = grown(of(&counters.answers), of(&last.answers));
            let faults = grown(of(&counters.faults), of(&last.faults));
            // A broken-off answer is among the answers and among the faults, but counts once.
            let broken_off = grown(of(&counters.broken_off), of(&last.broken_off));
            let judged = (answers + faults).saturating_sub(broken_off);
            let bad = grown(of(&counters.bad), of(&last.bad));
            if judged == 0 {
                continue;
            }
            let tally = self.at(now).releases.entry(*release).or_default();
            tally.answers += judged;
            tally.bad += bad;
            if let Some(askers) = counters.askers.get(release) {
                tally.askers.add(askers);
            }
        }
    }

    /// Begins another minute because a rollout begins. `counters` are the current counts of the
    /// proxies.
    pub fn rollout_begins(&mut self, counters: Option<&AppCounters>, now: Timestamp) {
        // For an app without any requests so far, all later counts are new.
        self.last.get_or_insert_with(|| counters.cloned().unwrap_or_default());
        self.begin(now);
    }

    fn begin(&mut self, now: Timestamp) {
        if self.kept.len() >= Self::KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Minute { began: now, releases: BTreeMap::new() });
    }

    /// Returns all minutes, oldest first.
    pub fn all(&self) -> &VecDeque<Minute> {
        &self.kept
    }

    fn at(&mut self, now: Timestamp) -> &mut Minute {
        if self.kept.back().is_none_or(|last| now.since(last.began) >= Minute::LENGTH) {
            self.begin(now);
        }
        let last = self.kept.len() - 1;
        &mut self.kept[last]
    }
}

#[cfg(test)]
mod tests {
    use model::{Addresses, Askers, Millis, ReleaseNo};
    use rollout::Tally;

    use super::*;

    fn counters(answers: u64, bad: u64, bit: u8) -> AppCounters {
        let v1 = ReleaseNo(1);
        let mut addresses = Addresses::default();
        addresses.insert(bit);
        let askers = Askers { asked: addresses, failing: Addresses::default() };
        AppCounters {
            answers: [(v1, answers)].into(),
            bad: [(v1, bad)].into(),
            askers: [(v1, askers)].into(),
            ..AppCounters::default()
        }
    }

    fn tallies(minutes: &Minutes) -> Vec<(u64, u64, u32)> {
        let all = minutes.all().iter().filter_map(|minute| minute.releases.get(&ReleaseNo(1)));
        all.map(|Tally { answers, bad, askers }| (*answers, *bad, askers.asked.count())).collect()
    }

    #[test]
    fn what_is_counted_falls_into_its_minute_and_a_proxy_may_start_anew() {
        let mut minutes = Minutes::default();
        let at = |seconds| Timestamp(0).after(Millis::from_secs(seconds));
        minutes.count(&counters(100, 7, 1), at(0));
        assert_eq!(
            tallies(&minutes),
            [],
            "what was counted before it looked is not of this minute"
        );
        minutes.count(&counters(110, 9, 1), at(1));
        minutes.count(&counters(120, 9, 2), at(30));
        minutes.count(&counters(120, 9, 3), at(31));
        minutes.count(&counters(5, 1, 4), at(62));
        assert_eq!(tallies(&minutes), [(20, 2, 2), (5, 1, 1)]);
        minutes.rollout_begins(None, at(70));
        minutes.count(&counters(6, 2, 4), at(71));
        assert_eq!(tallies(&minutes), [(20, 2, 2), (5, 1, 1), (1, 1, 1)]);
    }

    #[test]
    fn a_release_that_has_failed_every_request_is_judged_by_its_faults() {
        let mut minutes = Minutes::default();
        minutes.count(&AppCounters::default(), Timestamp(0));
        let all = || [(ReleaseNo(1), 10)].into();
        let failed = AppCounters { answers: BTreeMap::new(), faults: all(), ..counters(0, 10, 1) };
        minutes.count(&failed, Timestamp(1_000));
        assert_eq!(tallies(&minutes), [(10, 10, 1)]);
    }

    #[test]
    fn an_answer_that_was_broken_off_counts_once_and_is_bad() {
        let v1 = ReleaseNo(1);
        let mut minutes = Minutes::default();
        minutes.count(&counters(0, 0, 1), Timestamp(0));
        let all = || [(v1, 10)].into();
        let after = AppCounters { faults: all(), broken_off: all(), ..counters(10, 10, 1) };
        minutes.count(&after, Timestamp(1_000));
        assert_eq!(tallies(&minutes), [(10, 10, 1)]);
    }

    #[test]
    fn only_the_last_minutes_are_kept() {
        let mut minutes = Minutes::default();
        for minute in 0..100 {
            let now = Timestamp(0).after(Millis::from_secs(minute * 60));
            minutes.count(&counters(minute, 0, 0), now);
        }
        assert_eq!(minutes.all().len(), Minutes::KEPT);
    }
}
