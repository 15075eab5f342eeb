//! Weights: how often each instance gets a turn or is drawn, and how its load counts. Knows no instance.

use alloc::vec::Vec;

use model::Weight;

/// A turn in a round, or a ticket to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedTurn {
    /// The index of its owner among the weights.
    pub at: usize,
    /// The number of this turn among its owner's, from 0.
    pub nth: u16,
}

/// Returns one round, in which each owner has as many turns as its weight, spread as evenly as possible.
/// `None` if all weights are equal: a round is then simply one turn each.
pub fn round(weights: &[Weight]) -> Option<Vec<WeightedTurn>> {
    let common = weights.iter().map(|weight| weight.get()).reduce(common_divisor)?;
    if weights.iter().all(|weight| weight.get() == common) {
        return None;
    }
    let turns = |(at, weight): (usize, &Weight)| {
        let own = weight.get() / common;
        (0..own).map(move |nth| (WeightedTurn { at, nth }, own))
    };
    let mut round: Vec<_> = weights.iter().enumerate().flat_map(turns).collect();
    // The middle of its share of the round, as a fraction: (2 nth + 1) / 2 own.
    let middle = |nth: u16, other: u16| (2 * u32::from(nth) + 1) * u32::from(other);
    round.sort_by(|(a, a_own), (b, b_own)| middle(a.nth, *b_own).cmp(&middle(b.nth, *a_own)));
    Some(round.into_iter().map(|(turn, _)| turn).collect())
}

/// Returns the load relative to the weight, in parts of 256. No load is 0 whatever the weight: among
/// instances without any, the draw decides.
pub fn weighted(load: u64, weight: Weight) -> u64 {
    let load = load.saturating_mul(1 << 8);
    if weight == Weight::ONE { load } else { load / u64::from(weight.get()) }
}

fn common_divisor(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(of: &[u16]) -> Vec<Weight> {
        of.iter().map(|weight| Weight::new(*weight).expect("a weight")).collect()
    }

    fn order(of: &[u16]) -> Option<Vec<usize>> {
        round(&weights(of)).map(|round| round.iter().map(|turn| turn.at).collect())
    }

    #[test]
    fn the_heavy_take_their_turns_between_those_of_the_light() {
        assert_eq!(order(&[5, 1, 1]).expect("unequal"), [0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(order(&[60, 20]).expect("unequal"), [0, 0, 1, 0]);
        assert_eq!(order(&[2, 3]).expect("unequal"), [1, 0, 1, 0, 1]);
        assert_eq!([order(&[]), order(&[7]), order(&[4, 4, 4])], [None, None, None]);
    }

    #[test]
    fn load_counts_by_weight() {
        let [one, three] = [1, 3].map(|weight| Weight::new(weight).expect("a weight"));
        assert_eq!((weighted(0, three), weighted(0, one)), (0, 0));
        assert!(weighted(2, three) < weighted(1, one));
        assert_eq!(weighted(6, three), weighted(2, one));
        assert!(weighted(7, three) > weighted(2, one));
    }

    proptest! {
        #[test]
        fn in_a_round_everybody_has_its_part_and_waits_for_no_longer_than_that(
            of in prop::collection::vec(1_u16..=100, 1..12),
        ) {
            let Some(order) = order(&of) else {
                prop_assert!(of.iter().all(|weight| *weight == of[0]));
                return Ok(());
            };
            let all: usize = of.iter().map(|weight| usize::from(*weight)).sum();
            for (at, weight) in of.iter().enumerate() {
                let turns: Vec<_> = (0..order.len()).filter(|turn| order[*turn] == at).collect();
                prop_assert_eq!(turns.len() * all, usize::from(*weight) * order.len());
                // No owner is ever behind or ahead of its part by more than one turn of each of the
                // others.
                for (nth, turn) in turns.iter().enumerate() {
                    let fair = (2 * nth + 1) * order.len() / (2 * turns.len());
                    prop_assert!(turn.abs_diff(fair) <= of.len(), "{} {} {:?}", turn, fair, order);
                }
            }
        }
    }
}
