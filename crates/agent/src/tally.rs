//! From single probes to health: `rise` and `fall`, and when to probe next. Does no IO and knows no
//! clock.

use std::time::Duration;

use model::{Expect, Health, HealthCheck};

/// Between probes of an instance that is not up yet.
const BOOTING_GAP: Duration = Duration::from_millis(100);
/// Between good probes that are still to make an instance Up.
const RISING_GAP: Duration = Duration::from_millis(10);

/// What one probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An answer with 2xx in time.
    Good,
    /// Nobody listens.
    Refused,
    /// The probe could not connect, or got no answer in time: says which. The instance may be busy.
    Silent(String),
    /// Anything else: says what.
    Bad(String),
}

/// The probes of one instance so far.
#[derive(Debug)]
pub(crate) struct Tally {
    rise: u32,
    fall: u32,
    interval: Duration,
    health: Health,
    /// Whether the instance has never answered well. Until it has, a refused connection says nothing.
    booting: bool,
    good: u32,
    /// In a row, those that got no answer among them.
    bad: u32,
    /// Without those.
    answered_badly: u32,
    note: Option<String>,
}

impl Tally {
    /// Of an instance that is new, or that had served before (`expect`): then nobody listening is bad.
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

    /// Counts one probe; whether the health or the note is another now.
    pub fn count(&mut self, seen: Seen) -> bool {
        let before = (self.health, self.note.take(), self.is_unanswered());
        match seen {
            Seen::Good => {
                (self.good, self.booting) = (self.good.saturating_add(1), false);
                (self.bad, self.answered_badly) = (0, 0);
                if self.good >= self.rise {
                    self.health = Health::Up;
                }
            }
            Seen::Refused if self.booting => {
                (self.good, self.bad, self.answered_badly) = (0, 0, 0);
                self.note = Some("connection refused".to_owned());
            }
            Seen::Refused => self.count_bad("connection refused".to_owned()),
            Seen::Silent(why) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                self.note = Some(why);
            }
            Seen::Bad(why) => self.count_bad(why),
        }
        (self.health, &self.note, self.is_unanswered()) != (before.0, &before.1, before.2)
    }

    /// Whether one more good probe makes it Up.
    pub fn is_about_to_rise(&self) -> bool {
        self.health != Health::Up && self.good.saturating_add(1) >= self.rise
    }

    /// Somebody else answers at its address: Down at once, whatever the probes say. Whether the health
    /// or the note is another now.
    pub fn is_not_itself(&mut self, why: String) -> bool {
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

    /// Whether the instance would be Down if probes without an answer counted as bad.
    pub fn is_unanswered(&self) -> bool {
        self.health != Health::Down && self.bad >= self.fall
    }

    /// Probes in a row that said the same.
    pub fn streak(&self) -> u32 {
        self.good.max(self.bad)
    }

    /// What the last probe saw, if it was bad.
    pub fn note(&self) -> Option<String> {
        self.note.clone()
    }

    /// The time to the next probe, before jitter: a deploy does not wait for what could be known.
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

    fn tally(expect: Expect) -> Tally {
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
        Tally::new(&check, expect)
    }

    /// `g` good, `r` refused, `s` silent, `b` bad; what is told, as `U`p, `D`own, `?` and `.` for nothing new.
    fn check(probes: &str, wanted: &str) {
        check_of(Expect::Fresh, probes, wanted);
    }

    fn check_of(expect: Expect, probes: &str, wanted: &str) {
        let mut tally = tally(expect);
        let told: String = probes
            .chars()
            .map(|probe| {
                let seen = match probe {
                    'g' => Seen::Good,
                    'r' => Seen::Refused,
                    's' => Seen::Silent("silent".to_owned()),
                    _ => Seen::Bad("bad".to_owned()),
                };
                match (tally.count(seen), tally.health()) {
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
        let mut tally = tally(Expect::Running);
        for (seen, unanswered) in
            [('g', false), ('s', false), ('s', false), ('s', true), ('s', true)]
        {
            let seen = if seen == 'g' { Seen::Good } else { Seen::Silent("silent".to_owned()) };
            tally.count(seen);
            assert_eq!(tally.is_unanswered(), unanswered);
        }
        tally.count(Seen::Good);
        assert!(!tally.is_unanswered());
    }

    #[test]
    fn an_instance_that_had_served_and_refuses_is_down() {
        check_of(Expect::Running, "rrr", "?.D");
        check_of(Expect::Running, "gg", ".U");
    }

    #[test]
    fn it_is_probed_fast_until_it_is_up() {
        let mut tally = tally(Expect::Fresh);
        assert_eq!(tally.gap(), BOOTING_GAP);
        tally.count(Seen::Refused);
        assert_eq!(tally.gap(), BOOTING_GAP);
        tally.count(Seen::Good);
        assert_eq!(tally.gap(), RISING_GAP);
        tally.count(Seen::Good);
        assert_eq!(tally.gap(), Duration::from_secs(1));
        assert_eq!((tally.health(), tally.streak()), (Health::Up, 2));
    }
}
