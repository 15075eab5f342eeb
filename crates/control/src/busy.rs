//! Decides whether an instance that does not answer its probes is busy or down, given the requests in
//! flight on it. Reads no clock and acts on nothing.

use model::{Health, Millis, Timestamp};
use rollout::Busy;

/// Results of the probes and the proxies for one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct InstanceLoad {
    /// The health according to the agent, which ignores probes without an answer.
    health: Health,
    note: Option<String>,
    /// True if the instance would be Down with those probes counted as bad.
    unanswered: bool,
    in_flight: u32,
    /// Time at which an exchange on it last moved or ended.
    moved: Timestamp,
    /// Time since which nothing is in flight, if anything ever was.
    idle_since: Option<Timestamp>,
    busy_since: Option<Timestamp>,
}

/// Time limits for an instance that counts as busy.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BusyTerms {
    /// Maximum time without progress, with several requests in flight.
    pub busy: Millis,
    /// Maximum time without progress, with a single request in flight.
    pub first_byte: Millis,
    /// Duration of a probe and the pause after it. A probe that began while something was in flight may
    /// end that much later.
    pub probe: Millis,
}

/// The resulting health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weighed {
    pub health: Health,
    pub note: Option<String>,
    pub busy: Option<Busy>,
}

impl InstanceLoad {
    /// Takes the agent's report.
    pub fn probed(&mut self, health: Health, note: Option<String>, unanswered: bool) {
        (self.health, self.note, self.unanswered) = (health, note, unanswered);
    }

    /// Takes the proxies' report: the requests in flight, and how long none of them has moved.
    pub fn counted(&mut self, in_flight: u32, quiet: Option<Millis>, now: Timestamp) {
        match (self.in_flight, in_flight) {
            (0, 0) => {}
            (_, 0) => self.idle_since = Some(now),
            (0, _) => (self.moved, self.idle_since) = (now, None),
            (_, _) => {}
        }
        self.in_flight = in_flight;
        if let Some(quiet) = quiet {
            self.moved = self.moved.max(Timestamp(now.0.saturating_sub(quiet.0)));
        }
    }

    /// Determines whether the instance is busy or down.
    pub fn weigh(&mut self, patience: BusyTerms, now: Timestamp) -> Weighed {
        let (health, note) = (self.health, self.note.clone());
        if !self.unanswered || health == Health::Down {
            self.busy_since = None;
            return Weighed { health, note, busy: None };
        }
        let until = match (self.in_flight, self.idle_since) {
            (0, Some(idle)) => idle.after(patience.probe),
            (0, None) => now,
            (1, _) => self.moved.after(patience.first_byte),
            (_, _) => self.moved.after(patience.busy),
        };
        if now >= until {
            self.busy_since = None;
            return Weighed { health: Health::Down, note: self.stuck(now), busy: None };
        }
        let since = *self.busy_since.get_or_insert(now);
        Weighed { health, note, busy: Some(Busy { since, until }) }
    }

    /// Returns the probe's note, with what else is known.
    fn stuck(&self, now: Timestamp) -> Option<String> {
        if self.in_flight == 0 {
            return self.note.clone();
        }
        let probe = self.note.as_deref().unwrap_or("its probes got no answer");
        let quiet = Millis::from_secs(now.since(self.moved).0 / 1_000);
        let (in_flight, s) = (self.in_flight, if self.in_flight == 1 { "" } else { "s" });
        Some(format!(
            "{probe}; {in_flight} request{s} in flight, none of which has moved for {quiet}"
        ))
    }
}

/// The time during which a phase of a rollout has stood because the candidate was busy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standstill {
    phase_since: Timestamp,
    before: Millis,
    since: Option<Timestamp>,
}

impl Standstill {
    /// Takes whether the candidate is busy now, in the phase that began at `phase_since`.
    pub fn look(&mut self, phase_since: Timestamp, is_busy: bool, now: Timestamp) {
        if self.phase_since != phase_since {
            *self = Self { phase_since, ..Self::default() };
        }
        if let Some(since) = self.since.take() {
            self.before = Millis(self.before.0 + now.since(since).0);
        }
        self.since = is_busy.then_some(now);
    }

    /// Returns the total time.
    pub fn total(&self) -> Millis {
        self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: BusyTerms = BusyTerms {
        busy: Millis::from_secs(30),
        first_byte: Millis::from_secs(60),
        probe: Millis::from_secs(3),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    /// Returns an instance that was Up and no longer answers its probes, with this many requests in
    /// flight that have not moved since second 0.
    fn silent(in_flight: u32) -> InstanceLoad {
        let mut load = InstanceLoad::default();
        load.counted(in_flight, Some(Millis(0)), at(0));
        load.probed(Health::Up, Some("GET /up got no answer within 2s".into()), true);
        load
    }

    fn health(load: &mut InstanceLoad, seconds: u64) -> (Health, bool) {
        let weighed = load.weigh(PATIENCE, at(seconds));
        (weighed.health, weighed.busy.is_some())
    }

    #[test]
    fn a_silent_one_with_nothing_in_flight_is_down() {
        assert_eq!(health(&mut silent(0), 0), (Health::Down, false));
    }

    #[test]
    fn one_with_requests_in_flight_is_busy_until_none_has_moved_for_too_long() {
        let mut load = silent(5);
        assert_eq!(health(&mut load, 1), (Health::Up, true));
        assert_eq!(health(&mut load, 29), (Health::Up, true));
        load.counted(5, Some(Millis(0)), at(29));
        assert_eq!(health(&mut load, 58), (Health::Up, true), "it had made progress");
        let weighed = load.weigh(PATIENCE, at(59));
        assert_eq!(weighed.health, Health::Down);
        assert_eq!(
            weighed.note.unwrap(),
            "GET /up got no answer within 2s; 5 requests in flight, none of which has moved for 30s"
        );
    }

    #[test]
    fn a_single_request_may_take_as_long_as_its_first_byte() {
        let mut load = silent(1);
        assert_eq!(health(&mut load, 59), (Health::Up, true));
        assert_eq!(health(&mut load, 60), (Health::Down, false));
    }

    #[test]
    fn one_that_never_was_up_does_not_become_it_by_being_busy() {
        let mut load = silent(5);
        load.probed(Health::Unknown, None, true);
        assert_eq!(health(&mut load, 1), (Health::Unknown, true));
    }

    #[test]
    fn whoever_refuses_is_down_however_much_is_in_flight() {
        let mut load = silent(5);
        load.probed(Health::Down, Some("connection refused".into()), true);
        assert_eq!(health(&mut load, 1), (Health::Down, false));
    }

    #[test]
    fn between_two_requests_it_gets_the_time_of_one_probe() {
        let mut load = silent(1);
        load.counted(0, None, at(10));
        assert_eq!(health(&mut load, 12), (Health::Up, true));
        assert_eq!(health(&mut load, 13), (Health::Down, false));
        load.counted(2, Some(Millis(0)), at(14));
        assert_eq!(health(&mut load, 14), (Health::Up, true));
    }

    #[test]
    fn an_answer_ends_it() {
        let mut load = silent(5);
        assert_eq!(health(&mut load, 1), (Health::Up, true));
        load.probed(Health::Up, None, false);
        assert_eq!(health(&mut load, 2), (Health::Up, false));
    }

    #[test]
    fn a_phase_stands_while_the_candidate_is_busy_and_the_next_begins_anew() {
        let mut still = Standstill::default();
        for (second, busy) in [(0, false), (1, true), (2, true), (3, false), (4, false), (5, true)]
        {
            still.look(at(0), busy, at(second));
        }
        assert_eq!(still.total(), Millis::from_secs(2));
        still.look(at(0), false, at(8));
        assert_eq!(still.total(), Millis::from_secs(5));
        still.look(at(9), false, at(9));
        assert_eq!(still.total(), Millis(0));
    }
}
