//! Computes health from the results of probes, for the agent of an instance and for a proxy that runs alone.
//! Probes nothing itself and reads no clock.

use crate::Health;

/// The result of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// A good answer in time.
    Good,
    /// A bad answer, or no listener.
    Bad,
    /// A listener that gave no answer in time.
    NoAnswer,
}

/// Numbers of consecutive results that change the health. Zero counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthThresholds {
    /// Number of consecutive good results that turn Unknown into Up.
    pub first_rise: u32,
    /// Number of consecutive good results that turn Down into Up.
    pub rise: u32,
    /// Number of bad results, without a good one between them, that turn any health into Down.
    pub fall: u32,
}

/// The results of an instance's probes so far, and the health that follows from them.
#[derive(Clone, Copy, Debug)]
pub struct HealthCounter {
    thresholds: HealthThresholds,
    health: Health,
    good: u32,
    /// Number of consecutive bad results, including those without an answer.
    bad: u32,
    /// Number of bad results since the last good one, excluding those without an answer.
    answered_badly: u32,
}

impl HealthCounter {
    /// Returns a counter for an instance that has not been probed. Its health is Unknown.
    pub fn new(thresholds: HealthThresholds) -> Self {
        Self { thresholds, health: Health::Unknown, good: 0, bad: 0, answered_badly: 0 }
    }

    /// Counts one probe and returns the resulting health. A probe without an answer never changes the
    /// health. Callers that know that the instance is not busy count it as bad instead.
    pub fn count(&mut self, outcome: ProbeOutcome) -> Health {
        match outcome {
            ProbeOutcome::Good => {
                (self.good, self.bad) = (self.good.saturating_add(1), 0);
                self.answered_badly = 0;
                if self.good >= self.rises_at() {
                    self.health = Health::Up;
                }
            }
            ProbeOutcome::Bad => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                self.answered_badly = self.answered_badly.saturating_add(1);
                if self.answered_badly >= self.thresholds.fall.max(1) {
                    self.health = Health::Down;
                }
            }
            ProbeOutcome::NoAnswer => (self.good, self.bad) = (0, self.bad.saturating_add(1)),
        }
        self.health
    }

    /// Counts one bad probe that makes the instance Down at once.
    pub fn fall(&mut self) {
        (self.good, self.bad, self.health) = (0, self.bad.saturating_add(1), Health::Down);
    }

    /// Forgets the results so far. The health stays.
    pub fn forget(&mut self) {
        (self.good, self.bad, self.answered_badly) = (0, 0, 0);
    }

    /// Returns the health that follows from the probes so far.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Returns whether one more good probe makes the instance Up.
    pub fn is_about_to_rise(&self) -> bool {
        self.health != Health::Up && self.good.saturating_add(1) >= self.rises_at()
    }

    /// Returns whether the last probe was good, and the instance is not Up yet.
    pub fn is_rising(&self) -> bool {
        self.health != Health::Up && self.good > 0
    }

    /// Returns whether the instance would be Down if probes without an answer counted as bad.
    pub fn is_unanswered(&self) -> bool {
        self.health != Health::Down && self.bad >= self.thresholds.fall.max(1)
    }

    /// Returns the number of good, or of bad, probes in a row.
    pub fn streak(&self) -> u32 {
        self.good.max(self.bad)
    }

    fn rises_at(&self) -> u32 {
        let HealthThresholds { first_rise, rise, fall: _ } = self.thresholds;
        if self.health == Health::Unknown { first_rise.max(1) } else { rise.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    /// Checks a sequence of probes (`g` good, `b` bad, `n` no answer) against the health after each (`U`p,
    /// `D`own or `?`).
    fn check(first_rise: u32, probes: &str, wanted: &str) {
        let mut counter = HealthCounter::new(HealthThresholds { first_rise, rise: 2, fall: 3 });
        let health: String = probes
            .chars()
            .map(|probe| {
                let outcome = match probe {
                    'g' => ProbeOutcome::Good,
                    'b' => ProbeOutcome::Bad,
                    _ => ProbeOutcome::NoAnswer,
                };
                match counter.count(outcome) {
                    Health::Unknown => '?',
                    Health::Up => 'U',
                    Health::Down => 'D',
                }
            })
            .collect();
        assert_eq!(health, wanted, "{probes}");
    }

    #[test]
    fn good_probes_in_a_row_make_it_up_and_bad_ones_down() {
        check(2, "gg", "?U");
        check(2, "gbgg", "???U");
        check(2, "ggbbgbbb", "?UUUUUUD");
        check(2, "ggbbbgg", "?UUUDDU");
        check(2, "bbb", "??D");
    }

    #[test]
    fn the_first_rise_may_take_fewer_than_the_next() {
        check(1, "g", "U");
        check(1, "bgbbbgg", "?UUUDDU");
        check(1, "bbbgg", "??DDU");
    }

    #[test]
    fn no_answer_never_changes_the_health_and_breaks_a_row_of_good_ones() {
        check(2, "gngg", "???U");
        check(1, "nnnng", "????U");
        check(2, "ggnnnn", "?UUUUU");
        check(2, "ggbnbnb", "?UUUUUD");
    }

    #[test]
    fn thresholds_of_zero_are_one() {
        let mut counter = HealthCounter::new(HealthThresholds { first_rise: 0, rise: 0, fall: 0 });
        assert!(!counter.is_unanswered(), "it was never probed");
        assert_eq!(counter.count(ProbeOutcome::Good), Health::Up);
        assert_eq!(counter.count(ProbeOutcome::Bad), Health::Down);
    }
}
