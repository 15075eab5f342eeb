//! Picks the instance of an arm for an attempt: power of two choices by load, among the instances that
//! health and ejection allow. Never allocates, whatever the number of instances.

use model::{Health, Share};

use crate::arm::{Bucket, below as below_share};

/// The state of an instance at the moment of picking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The result of the probes.
    pub health: Health,
    /// True if the instance has been Up at some time.
    pub once_up: bool,
    /// True while the instance is passively ejected.
    pub ejected: bool,
    /// True if this request has already failed on the instance.
    pub tried: bool,
    /// The load over the whole process: requests in flight, or the cost of one more
    /// ([`crate::Latency::cost`]). Less is better.
    pub load: u64,
    /// The part of its picks that the instance gets: less than all during slow start.
    pub warmth: Share,
}

/// The suitability of a candidate, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Down and never seen Up, or already tried: never picked.
    Out,
    /// Down, but Up at an earlier time: better than an answer of the proxy itself.
    FailOpen,
    /// Ejected or not probed yet: may well be healthy.
    Doubtful,
    /// Up, and passed over this time because of slow start.
    Warming,
    /// Up.
    Well,
}

impl Candidate {
    /// Returns the standing for one pick with this seed, at this place. The result is the same throughout
    /// the pick.
    fn standing_for(&self, seed: u64, at: usize) -> Standing {
        let standing = self.standing();
        let spared = standing == Standing::Well
            && self.warmth != Share::ALL
            && !below_share(Bucket::of(chance(seed, at)), self.warmth);
        if spared { Standing::Warming } else { standing }
    }

    /// Returns the standing without regard to slow start.
    pub const fn standing(&self) -> Standing {
        match self.health {
            _ if self.tried => Standing::Out,
            Health::Up if !self.ejected => Standing::Well,
            Health::Up => Standing::Doubtful,
            Health::Unknown if self.ejected => Standing::FailOpen,
            Health::Unknown => Standing::Doubtful,
            Health::Down if self.once_up => Standing::FailOpen,
            Health::Down => Standing::Out,
        }
    }
}

/// The result of a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its index among the candidates.
    pub at: usize,
    /// The standing of the candidate. Callers count [`Standing::FailOpen`].
    pub standing: Standing,
}

/// Random draws before all candidates are looked at.
const DRAWS: u64 = 4;

/// Picks one of `count` candidates with the given random number.
///
/// Draws two random candidates that are [`Standing::Well`], and picks the one with less load. Looks at
/// all candidates only if that fails, so a pick costs the same among ten and among a thousand.
pub fn pick(count: usize, random: u64, look: impl Fn(usize) -> Candidate) -> Option<Choice> {
    let mut first: Option<(usize, u64)> = None;
    let seed = random;
    let mut random = random;
    for _ in 0..DRAWS {
        if count < 3 {
            break;
        }
        let at = below(random, count);
        random = stir(random);
        let candidate = look(at);
        if candidate.standing_for(seed, at) != Standing::Well
            || first.is_some_and(|(seen, _)| seen == at)
        {
            continue;
        }
        match first {
            None => first = Some((at, candidate.load)),
            Some((_, load)) if candidate.load < load => {
                return Some(Choice { at, standing: Standing::Well });
            }
            Some((at, _)) => return Some(Choice { at, standing: Standing::Well }),
        }
    }
    least(count, random, seed, look)
}

/// Picks the one of `count` candidates with the least load. Looks at all of them.
pub fn pick_least(count: usize, random: u64, look: impl Fn(usize) -> Candidate) -> Option<Choice> {
    least(count, stir(random), random, look)
}

/// Picks round-robin: the first of the `count` candidates that is [`Standing::Well`], from place `turn`
/// on and wrapping around. The caller must pass the next number each time.
pub fn pick_in_turn(
    count: usize,
    turn: usize,
    random: u64,
    look: impl Fn(usize) -> Candidate,
) -> Option<Choice> {
    let start = turn.checked_rem(count).unwrap_or(0);
    let mut best: Option<Choice> = None;
    for at in (start..count).chain(0..start) {
        let standing = look(at).standing_for(random, at);
        if standing > best.map_or(Standing::Out, |choice| choice.standing) {
            best = Some(Choice { at, standing });
        }
        if standing == Standing::Well {
            break;
        }
    }
    best
}

/// Picks the same candidate for the same user as long as that candidate is well: rendezvous hashing. If a
/// candidate leaves, only its own users move. `name` returns the identity of a candidate, which does not
/// depend on its place. Looks at all candidates.
pub fn pick_for_user(
    count: usize,
    user: u64,
    name: impl Fn(usize) -> u64,
    look: impl Fn(usize) -> Candidate,
) -> Option<Choice> {
    let judged = (0..count).map(|at| {
        let score = stir(user ^ stir(name(at)));
        (look(at).standing_for(score, 0), score, at)
    });
    let (standing, _, at) = judged.max()?;
    (standing > Standing::Out).then_some(Choice { at, standing })
}

/// Picks the best standing, then the least load. A random starting place breaks ties.
fn least(
    count: usize,
    random: u64,
    seed: u64,
    look: impl Fn(usize) -> Candidate,
) -> Option<Choice> {
    let start = below(random, count.max(1));
    let mut best: Option<(Choice, u64)> = None;
    for at in (start..count).chain(0..start.min(count)) {
        let candidate = look(at);
        let standing = candidate.standing_for(seed, at);
        let better = best.is_none_or(|(choice, load)| {
            standing > choice.standing || (standing == choice.standing && candidate.load < load)
        });
        if standing > Standing::Out && better {
            best = Some((Choice { at, standing }, candidate.load));
        }
    }
    best.map(|(choice, _)| choice)
}

fn below(random: u64, count: usize) -> usize {
    ((u128::from(random) * count as u128) >> 64) as usize
}

/// Returns the number that decides whether a candidate in slow start is passed over: constant throughout
/// one pick, and independent of the draws.
const fn chance(seed: u64, at: usize) -> u64 {
    stir(!seed ^ (at as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// A step of splitmix64, for the draws after the first.
const fn stir(random: u64) -> u64 {
    let mut x = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const WELL: Candidate = Candidate {
        health: Health::Up,
        once_up: true,
        ejected: false,
        tried: false,
        load: 0,
        warmth: Share::ALL,
    };

    fn at(candidates: &[Candidate], random: u64) -> Option<usize> {
        pick(candidates.len(), random, |at| candidates[at]).map(|choice| choice.at)
    }

    #[test]
    fn of_two_the_less_loaded_is_picked() {
        let busy = Candidate { load: 5, ..WELL };
        for random in [0, 1 << 63, u64::MAX] {
            assert_eq!(at(&[busy, WELL], random), Some(1));
            assert_eq!(at(&[WELL, busy], random), Some(0));
        }
    }

    #[test]
    fn the_unprobed_come_before_the_down_and_the_never_well_never() {
        let down = Candidate { health: Health::Down, ..WELL };
        let unknown = Candidate { health: Health::Unknown, once_up: false, ..WELL };
        let never = Candidate { health: Health::Down, once_up: false, ..WELL };
        assert_eq!(at(&[down, unknown, never], 7), Some(1));
        assert_eq!(at(&[never, down, never], 7), Some(1));
        assert_eq!(at(&[never, never], 7), None);
        assert_eq!(at(&[Candidate { tried: true, ..WELL }], 7), None);
        assert_eq!(at(&[], 7), None);
    }

    #[test]
    fn equal_ones_share_the_work() {
        let mut counts = [0_u32; 10];
        let mut random = 1;
        for _ in 0..10_000 {
            random = stir(random);
            counts[at(&[WELL; 10], random).expect("all are well")] += 1;
        }
        assert!(counts.iter().all(|&n| (700..1300).contains(&n)), "{counts:?}");
    }

    #[test]
    fn a_young_one_gets_its_part_of_the_picks_and_alone_it_gets_all() {
        let warmth =
            |percent: u16| Share::from_ten_thousandths(percent * 100).expect("at most all");
        for count in [2, 3, 10] {
            for percent in [0, 10, 50, 90, 100] {
                let mut candidates = std::vec![WELL; count];
                candidates[1].warmth = warmth(percent);
                let picks = 40_000;
                let mut random = 1;
                let mut young = 0;
                for _ in 0..picks {
                    random = stir(random);
                    young += usize::from(at(&candidates, random) == Some(1));
                }
                let fair = picks / count;
                let expected = fair * usize::from(percent) / 100;
                let error = young.abs_diff(expected);
                assert!(error * 12 <= fair, "{young} of {fair} at {percent} %, {count} in all");
            }
        }
        let young = Candidate { warmth: Share::NONE, ..WELL };
        let doubtful = Candidate { health: Health::Unknown, ..WELL };
        assert_eq!(at(&[young], 7), Some(0));
        assert_eq!(at(&[doubtful, young, Candidate { tried: true, ..WELL }], 7), Some(1));
    }

    #[test]
    fn in_turn_everybody_gets_the_same_and_who_is_down_is_left_out() {
        let down = Candidate { health: Health::Down, ..WELL };
        let candidates = [WELL, down, WELL, WELL];
        let picked = |turn| pick_in_turn(4, turn, 7, |at| candidates[at]).map(|it| it.at);
        let round: Vec<_> = (0..4).map(picked).collect();
        assert_eq!(round, [Some(0), Some(2), Some(2), Some(3)]);
        assert_eq!(pick_in_turn(0, 3, 7, |_| WELL), None);
    }

    #[test]
    fn of_all_the_least_loaded_is_picked_and_ties_are_drawn() {
        let mut candidates = [Candidate { load: 3, ..WELL }; 20];
        candidates[7].load = 2;
        let picked = |random| pick_least(20, random, |at| candidates[at]).map(|it| it.at);
        assert!((0..100).map(stir).all(|random| picked(random) == Some(7)));
        let mut seen = std::collections::BTreeSet::new();
        let ties = |random| pick_least(4, random, |_| WELL).map(|choice| choice.at);
        seen.extend((0..500).map(stir).map(ties));
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn users_are_spread_and_only_those_of_one_that_left_move() {
        let of = |user: u64, names: &[u64]| {
            let choice = pick_for_user(names.len(), stir(user), |at| names[at], |_| WELL);
            choice.map(|choice| names[choice.at])
        };
        let mut counts = std::collections::BTreeMap::new();
        for user in 0..10_000 {
            let all = of(user, &[1, 2, 3, 4]);
            *counts.entry(all).or_insert(0) += 1;
            let without = of(user, &[4, 3, 1]);
            assert!(all == without || all == Some(2), "{user}");
        }
        assert!(counts.values().all(|n| (2_300..2_700).contains(n)), "{counts:?}");
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let health = prop::sample::select(&[Health::Up, Health::Down, Health::Unknown][..]);
        (health, any::<[bool; 3]>(), 0_u64..4).prop_map(|(health, flags, load)| Candidate {
            health,
            once_up: flags[0],
            ejected: flags[1],
            tried: flags[2],
            load,
            warmth: Share::ALL,
        })
    }

    proptest! {
        #[test]
        fn nobody_is_picked_while_a_better_one_stands_there(
            candidates in prop::collection::vec(any_candidate(), 0..12),
            random: u64,
        ) {
            let standings: Vec<_> = candidates.iter().map(Candidate::standing).collect();
            let best = standings.iter().max().copied().filter(|&best| best > Standing::Out);
            let look = |at: usize| candidates[at];
            let count = candidates.len();
            for choice in [
                pick(count, random, look),
                pick_least(count, random, look),
                pick_in_turn(count, random as usize, random, look),
                pick_for_user(count, random, |at| at as u64, look),
            ] {
                prop_assert_eq!(choice.map(|choice| standings[choice.at]), best);
                prop_assert_eq!(choice.map(|choice| choice.standing), best);
            }
        }
    }
}
