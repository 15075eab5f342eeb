//! What a proxy's priority for the floating address depends on. keepalived adds the number to the priority of the
//! proxy's place in the list, 200 for the first, 199 for the second; the highest one has the address.

use std::time::{Duration, Instant};

use model::Reach;

/// The number for a proxy that cannot serve: keepalived gives the address up.
pub const FAULT: i32 = -254;

/// The proxy that has the address keeps it among equals. More than the places differ by, and less than any fault.
const HOLDER: i32 = 20;
const DRAINED: i32 = -80;
const OF_BEFORE_BOOT: i32 = -60;
const WITHOUT_CONTROL: i32 = -40;

/// The time by which the holder waits longer for control than the others do: if control is away for all of them, all
/// others have lowered their priority by then, and the address stays.
const HOLDER_WAITS: Duration = Duration::from_secs(5);
/// The time for which one that does not hold the address has to hear control before it counts as heard. When control
/// comes back, the holder has heard it by then.
const SETTLED: Duration = Duration::from_secs(10);

/// Whether a proxy leaves service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The proxy stays in service.
    Stays,
    /// The proxy is drained. It still serves if it is the only one left.
    Drained,
    /// The process ends.
    Ends,
}

/// What the priority of a proxy depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyStanding {
    /// Whether the proxy has a table, and its workers do not hang.
    pub serves: bool,
    /// Whether its machine has the address.
    pub holds: bool,
    /// Whether the proxy leaves service.
    pub leaving: Leaving,
    /// Whether its table was saved before the machine was booted.
    pub is_of_before_boot: bool,
    /// Whether control is away, as [`ControlWord`] judges it.
    pub is_without_control: bool,
}

impl ProxyStanding {
    /// Returns the number that is added to the priority of the proxy's place.
    pub fn value(self) -> i32 {
        if !self.serves || self.leaving == Leaving::Ends {
            return FAULT;
        }
        let parts = [
            (self.holds, HOLDER),
            (self.leaving == Leaving::Drained, DRAINED),
            (self.is_of_before_boot, OF_BEFORE_BOOT),
            (self.is_without_control, WITHOUT_CONTROL),
        ];
        parts.into_iter().filter(|(is_so, _)| *is_so).map(|(_, part)| part).sum()
    }
}

/// Whether control is heard, and since when.
#[derive(Clone, Copy, Debug)]
pub struct ControlWord {
    heard: bool,
    since: Instant,
    away: bool,
}

impl ControlWord {
    /// Returns that nothing has been heard since then.
    pub fn none_since(since: Instant) -> Self {
        Self { heard: false, since, away: false }
    }

    /// Notes whether control is heard now.
    pub fn is_heard(&mut self, heard: bool, now: Instant) {
        if self.heard != heard {
            (self.heard, self.since) = (heard, now);
        }
    }

    /// Returns whether control counts as away.
    pub fn is_away(&mut self, holds: bool, now: Instant) -> bool {
        let time = now.saturating_duration_since(self.since);
        let lost_after = Reach::LOST_AFTER.to_duration();
        match (self.heard, holds) {
            (true, true) => self.away = false,
            (true, false) => self.away &= time < SETTLED,
            (false, true) => self.away |= time >= lost_after + HOLDER_WAITS,
            (false, false) => self.away |= time >= lost_after,
        }
        self.away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: ProxyStanding = ProxyStanding {
        serves: true,
        holds: false,
        leaving: Leaving::Stays,
        is_of_before_boot: false,
        is_without_control: false,
    };

    /// Returns which of two proxies gets the address, by their places.
    fn gets(first: ProxyStanding, second: ProxyStanding) -> Option<usize> {
        let priorities = [first, second].map(ProxyStanding::value);
        let priorities = priorities.into_iter().zip([200, 199]);
        let able = priorities.filter(|(value, _)| *value > FAULT).map(|(value, base)| base + value);
        let able: Vec<i32> = able.collect();
        assert!(able.iter().all(|priority| (1..=254).contains(priority)), "{able:?}");
        let is_able = |standing: ProxyStanding| standing.value() > FAULT;
        match (is_able(first), is_able(second)) {
            (true, true) => Some(usize::from(able[0] < able[1])),
            (true, false) => Some(0),
            (false, true) => Some(1),
            (false, false) => None,
        }
    }

    #[test]
    fn the_worse_one_hands_over_and_two_equally_bad_ones_leave_the_address_where_it_is() {
        let holder = ProxyStanding { holds: true, ..WELL };
        let faults: [fn(ProxyStanding) -> ProxyStanding; 3] = [
            |it| ProxyStanding { leaving: Leaving::Drained, ..it },
            |it| ProxyStanding { is_of_before_boot: true, ..it },
            |it| ProxyStanding { is_without_control: true, ..it },
        ];
        assert_eq!(gets(WELL, WELL), Some(0), "nobody has it: the first in the list");
        assert_eq!(gets(WELL, holder), Some(1), "it does not move back by itself");
        for fault in faults {
            assert_eq!(gets(fault(holder), WELL), Some(1));
            assert_eq!(gets(WELL, fault(holder)), Some(0));
            assert_eq!(gets(fault(holder), fault(WELL)), Some(0));
            assert_eq!(gets(fault(WELL), fault(holder)), Some(1));
        }
        for dead in [
            ProxyStanding { serves: false, ..holder },
            ProxyStanding { leaving: Leaving::Ends, ..holder },
        ] {
            let worst = faults.iter().fold(WELL, |it, fault| fault(it));
            assert_eq!(gets(dead, worst), Some(1), "a bad one is better than none");
            assert_eq!(gets(dead, dead), None);
        }
        // A drained one takes the address only if the other one cannot serve, not if it is without control.
        let (drained, alone) = (faults[0](WELL), faults[2](holder));
        assert_eq!(gets(alone, drained), Some(0));
    }

    #[test]
    fn when_control_goes_away_for_both_and_comes_back_the_holder_is_never_below_the_other() {
        let start = Instant::now();
        let second = |s: u64| start + Duration::from_secs(s);
        // Each loses and finds control up to three seconds before or after the other.
        for (lost, found) in [((0, 3), (0, 3)), ((3, 0), (3, 0)), ((0, 3), (3, 0))] {
            let mut words = [ControlWord::none_since(start); 2];
            words.iter_mut().for_each(|word| word.is_heard(true, start));
            for now in 100..300 {
                let heard = |(lost, found): (u64, u64)| now < 120 + lost || now >= 200 + found;
                let [holder, other] = [(lost.0, found.0), (lost.1, found.1)].map(heard);
                words[0].is_heard(holder, second(now));
                words[1].is_heard(other, second(now));
                let holder = words[0].is_away(true, second(now));
                let other = words[1].is_away(false, second(now));
                assert!(!holder || other, "{now} s: the holder alone counts as without control");
                let both = (138..200).contains(&now);
                assert!(!both || holder && other, "{now} s: both are without control");
            }
            assert!(!words[0].is_away(true, second(300)) && !words[1].is_away(false, second(300)));
        }
    }

    #[test]
    fn one_that_alone_hears_nothing_hands_over() {
        let start = Instant::now();
        let mut word = ControlWord::none_since(start);
        word.is_heard(true, start);
        word.is_heard(false, start);
        assert!(!word.is_away(true, start + Duration::from_millis(14_999)));
        assert!(word.is_away(true, start + Duration::from_secs(15)));
        assert!(word.is_away(false, start + Duration::from_secs(15)), "it is not the holder now");
        word.is_heard(true, start + Duration::from_secs(20));
        assert!(word.is_away(false, start + Duration::from_millis(29_999)));
        assert!(!word.is_away(false, start + Duration::from_secs(30)));
    }
}
