//! The history of one instance's probes: its health, why the last probe was bad, and when to probe next. Does
//! no IO and reads no clock.

use std::time::Duration;

use model::{Expect, Health, HealthCheck, HealthCounter, HealthThresholds, ProbeOutcome};

/// Time between probes of an instance that has not answered well yet.
const BOOTING_GAP: Duration = Duration::from_millis(100);
/// Time between good probes until an instance is Up.
const RISING_GAP: Duration = Duration::from_millis(10);

/// The result of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// An answer with 2xx in time.
    Good,
    /// The connection was refused, since no socket listens there. The text says where the instance listens
    /// instead.
    Refused(String),
    /// The probe could not connect, or got no answer in time; the text says which. The instance may be busy.
    Silent(String),
    /// Any other result, described by the text.
    Bad(String),
}

/// The history of one instance's probes.
#[derive(Debug)]
pub(crate) struct ProbeHistory {
    counter: HealthCounter,
    interval: Duration,
    /// True if the instance has never answered well. Until it has, a refused connection says nothing.
    booting: bool,
    note: Option<String>,
}

impl ProbeHistory {
    /// Creates the history of an instance that was not probed yet. If the instance is expected to run
    /// already, a refused connection counts as bad from the start.
    pub fn new(check: &HealthCheck, expect: Expect) -> Self {
        let HealthCheck { rise, fall, .. } = *check;
        Self {
            counter: HealthCounter::new(HealthThresholds { first_rise: rise, rise, fall }),
            interval: check.interval.to_duration().max(RISING_GAP),
            booting: expect == Expect::Fresh,
            note: None,
        }
    }

    /// Adds the result of one probe. Returns whether the health or the note has changed.
    pub fn add(&mut self, result: ProbeResult) -> bool {
        let before = (self.health(), self.note.take(), self.is_unanswered());
        let (outcome, note) = match result {
            ProbeResult::Good => (Some(ProbeOutcome::Good), None),
            ProbeResult::Refused(why) if self.booting => (None, Some(why)),
            ProbeResult::Refused(why) | ProbeResult::Bad(why) => {
                (Some(ProbeOutcome::Bad), Some(why))
            }
            ProbeResult::Silent(why) => (Some(ProbeOutcome::NoAnswer), Some(why)),
        };
        match outcome {
            Some(outcome) => {
                self.counter.count(outcome);
                self.booting &= outcome != ProbeOutcome::Good;
            }
            None => self.counter.forget(),
        }
        self.note = note;
        (self.health(), &self.note, self.is_unanswered()) != (before.0, &before.1, before.2)
    }

    /// Returns whether one more good probe makes the instance Up.
    pub fn is_about_to_rise(&self) -> bool {
        self.counter.is_about_to_rise()
    }

    /// Makes the instance Down at once, because a foreign process listens at its address. Returns whether the
    /// health or the note has changed.
    pub fn found_foreign_listener(&mut self, why: String) -> bool {
        let before = (self.health(), self.note.take());
        self.counter.fall();
        self.note = Some(why);
        (self.health(), &self.note) != (before.0, &before.1)
    }

    pub fn health(&self) -> Health {
        self.counter.health()
    }

    /// Returns whether the instance would be Down if probes without an answer counted as bad.
    pub fn is_unanswered(&self) -> bool {
        self.counter.is_unanswered()
    }

    /// Returns the number of consecutive good or bad probes.
    pub fn streak(&self) -> u32 {
        self.counter.streak()
    }

    /// Returns why the last probe was bad, if it was.
    pub fn note(&self) -> Option<String> {
        self.note.clone()
    }

    /// Returns the time to the next probe, before jitter. It is short until the instance is Up, so that a
    /// deploy does not wait for a probe that could have been made.
    pub fn gap(&self) -> Duration {
        if self.counter.is_rising() {
            RISING_GAP
        } else if self.booting {
            self.interval.min(BOOTING_GAP)
        } else {
            self.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Millis;

    fn history(expect: Expect) -> ProbeHistory {
        let check = HealthCheck {
            path: "/up".to_owned(),
            interval: Millis::from_secs(1),
            timeout: Millis::from_secs(1),
            rise: 2,
            fall: 3,
            start_deadline: Millis::from_secs(30),
            host: None,
            headers: std::collections::BTreeMap::new(),
            port: model::ProbePort::Same,
            command: None,
            busy: HealthCheck::BUSY,
        };
        ProbeHistory::new(&check, expect)
    }

    /// Probes: `g` good, `r` refused, `s` silent, `b` bad. Results: `U`p, `D`own, `?`, and `.` for no change.
    fn check(probes: &str, wanted: &str) {
        check_of(Expect::Fresh, probes, wanted);
    }

    fn check_of(expect: Expect, probes: &str, wanted: &str) {
        let mut history = history(expect);
        let told: String = probes
            .chars()
            .map(|probe| {
                let result = match probe {
                    'g' => ProbeResult::Good,
                    'r' => ProbeResult::Refused("connection refused".to_owned()),
                    's' => ProbeResult::Silent("silent".to_owned()),
                    _ => ProbeResult::Bad("bad".to_owned()),
                };
                match (history.add(result), history.health()) {
                    (false, _) => '.',
                    (true, Health::Unknown) => '?',
                    (true, Health::Up) => 'U',
                    (true, Health::Down) => 'D',
                }
            })
            .collect();
        assert_eq!(told, wanted, "{probes}");
    }

    #[test]
    fn only_rise_good_probes_in_a_row_make_it_up_and_only_fall_bad_ones_down() {
        check("gg", ".U");
        check("gbgg", ".??U");
        check("ggbbb", ".UU.D");
        check("ggbbgbb", ".UU.UU.");
        check("ggbbbgg", ".UU.DDU");
    }

    #[test]
    fn a_refused_connection_says_nothing_until_it_has_answered_once() {
        check("rrrrrrgg", "?.....?U");
        check("ggrrr", ".UU.D");
    }

    #[test]
    fn probes_without_an_answer_leave_the_health_to_control() {
        check("ggsss", ".UU.U");
        check("ggbssb", ".UUUUU");
        check("ggbsbb", ".UUUUD");
        let mut history = history(Expect::Running);
        for (result, unanswered) in
            [('g', false), ('s', false), ('s', false), ('s', true), ('s', true)]
        {
            let result = if result == 'g' {
                ProbeResult::Good
            } else {
                ProbeResult::Silent("silent".to_owned())
            };
            history.add(result);
            assert_eq!(history.is_unanswered(), unanswered);
        }
        history.add(ProbeResult::Good);
        assert!(!history.is_unanswered());
    }

    #[test]
    fn an_instance_that_had_served_and_refuses_is_down() {
        check_of(Expect::Running, "rrr", "?.D");
        check_of(Expect::Running, "gg", ".U");
    }

    #[test]
    fn it_is_probed_fast_until_it_is_up() {
        let mut history = history(Expect::Fresh);
        assert_eq!(history.gap(), BOOTING_GAP);
        history.add(ProbeResult::Refused("connection refused".to_owned()));
        assert_eq!(history.gap(), BOOTING_GAP);
        history.add(ProbeResult::Good);
        assert_eq!(history.gap(), RISING_GAP);
        history.add(ProbeResult::Good);
        assert_eq!(history.gap(), Duration::from_secs(1));
        assert_eq!((history.health(), history.streak()), (Health::Up, 2));
    }
}
