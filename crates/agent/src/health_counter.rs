//! Counts the results of probes: from `rise` good ones in a row an instance is Up, from `fall` bad ones it
//! is Down. Says when to probe next. Does no IO and reads no clock.

use std::time::Duration;

use model::{Expect, Health, HealthCheck};

/// Time between probes of an instance that has not answered well yet.
const BOOTING_GAP: Duration = Duration::from_millis(100);
/// Time between good probes until an instance is Up.
const RISING_GAP: Duration = Duration::from_millis(10);

/// The result of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// An answer with 2xx in time.
    Good,
    /// The connection was refused: no socket listens.
    Refused,
    /// The probe could not connect, or got no answer in time: says which. The instance may be busy.
    Silent(String),
    /// Any other result: says which.
    Bad(String),
}

/// The probes of one instance so far, and the health that follows from them.
#[derive(Debug)]
pub(crate) struct HealthCounter {
    rise: u32,
    fall: u32,
    interval: Duration,
    health: Health,
    /// Whether the instance has never answered well. Until it has, a refused connection says nothing.
    booting: bool,
    good: u32,
    /// Bad probes in a row, those without an answer included.
    bad: u32,
    /// Bad probes since the last good one, those without an answer excluded.
    answered_badly: u32,
    note: Option<String>,
}

impl HealthCounter {
    /// Makes the counter of an instance. If the instance is expected to run already, a refused connection
    /// counts as bad from the start.
    pub fn new(check: &HealthCheck, expect: Expect) -> Self {
        Self {
            rise: check.rise.max(1),
            fall: check.fall.max(1),
            interval: check.interval.to_duration().max(RISING_GAP),
            health: Health::Unknown,
            booting: expect == Expect::Fresh,
            good: 0,
            bad: 0,
            answered_badly: 0,
            note: None,
        }
    }

    /// Counts one probe. Returns whether the health or the note has changed.
    pub fn count(&mut self, result: ProbeResult) -> bool {
        let before = (self.health, self.note.take(), self.is_unanswered());
        match result {
            ProbeResult::Good => {
                (self.good, self.booting) = (self.good.saturating_add(1), false);
                (self.bad, self.answered_badly) = (0, 0);
                if self.good >= self.rise {
                    self.health = Health::Up;
                }
            }
            ProbeResult::Refused if self.booting => {
                (self.good, self.bad, self.answered_badly) = (0, 0, 0);
                self.note = Some("connection refused".to_owned());
            }
            ProbeResult::Refused => self.count_bad("connection refused".to_owned()),
            ProbeResult::Silent(why) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                self.note = Some(why);
            }
            ProbeResult::Bad(why) => self.count_bad(why),
        }
        (self.health, &self.note, self.is_unanswered()) != (before.0, &before.1, before.2)
    }

    /// Returns whether one more good probe makes the instance Up.
    pub fn is_about_to_rise(&self) -> bool {
        self.health != Health::Up && self.good.saturating_add(1) >= self.rise
    }

    /// Makes the instance Down at once, since somebody else listens at its address. Returns whether the health
    /// or the note has changed.
    pub fn found_foreign_listener(&mut self, why: String) -> bool {
        let before = (self.health, self.note.take());
        (self.good, self.bad, self.health) = (0, self.bad.saturating_add(1), Health::Down);
        self.note = Some(why);
        (self.health, &self.note) != (before.0, &before.1)
    }

    fn count_bad(&mut self, why: String) {
        (self.good, self.bad) = (0, self.bad.saturating_add(1));
        self.answered_badly = self.answered_badly.saturating_add(1);
        self.note = Some(why);
        if self.answered_badly >= self.fall {
            self.health = Health::Down;
        }
    }

    pub fn health(&self) -> Health {
        self.health
    }

    /// Returns whether the instance would be Down if probes without an answer counted as bad.
    pub fn is_unanswered(&self) -> bool {
        self.health != Health::Down && self.bad >= self.fall
    }

    /// Returns the number of good, or of bad, probes in a row.
    pub fn streak(&self) -> u32 {
        self.good.max(self.bad)
    }

    /// Returns why the last probe was bad, if it was.
    pub fn note(&self) -> Option<String> {
        self.note.clone()
    }

    /// Returns the time to the next probe, before jitter. It is short until the instance is Up, so that a
    /// deploy does not wait for a probe that could have been made.
    pub fn gap(&self) -> Duration {
        if self.good > 0 && self.health != Health::Up {
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

    fn counter(expect: Expect) -> HealthCounter {
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
        HealthCounter::new(&check, expect)
    }

    /// `g` good, `r` refused, `s` silent, `b` bad; what is told, as `U`p, `D`own, `?` and `.` for nothing new.
    fn check(probes: &str, wanted: &str) {
        check_of(Expect::Fresh, probes, wanted);
    }

    fn check_of(expect: Expect, probes: &str, wanted: &str) {
        let mut counter = counter(expect);
        let told: String = probes
            .chars()
            .map(|probe| {
                let result = match probe {
                    'g' => ProbeResult::Good,
                    'r' => ProbeResult::Refused,
                    's' => ProbeResult::Silent("silent".to_owned()),
                    _ => ProbeResult::Bad("bad".to_owned()),
                };
                match (counter.count(result), counter.health()) {
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
        let mut counter = counter(Expect::Running);
        for (result, unanswered) in
            [('g', false), ('s', false), ('s', false), ('s', true), ('s', true)]
        {
            let result = if result == 'g' {
                ProbeResult::Good
            } else {
                ProbeResult::Silent("silent".to_owned())
            };
            counter.count(result);
            assert_eq!(counter.is_unanswered(), unanswered);
        }
        counter.count(ProbeResult::Good);
        assert!(!counter.is_unanswered());
    }

    #[test]
    fn an_instance_that_had_served_and_refuses_is_down() {
        check_of(Expect::Running, "rrr", "?.D");
        check_of(Expect::Running, "gg", ".U");
    }

    #[test]
    fn it_is_probed_fast_until_it_is_up() {
        let mut counter = counter(Expect::Fresh);
        assert_eq!(counter.gap(), BOOTING_GAP);
        counter.count(ProbeResult::Refused);
        assert_eq!(counter.gap(), BOOTING_GAP);
        counter.count(ProbeResult::Good);
        assert_eq!(counter.gap(), RISING_GAP);
        counter.count(ProbeResult::Good);
        assert_eq!(counter.gap(), Duration::from_secs(1));
        assert_eq!((counter.health(), counter.streak()), (Health::Up, 2));
    }
}
