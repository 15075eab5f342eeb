//! Chooses live or candidate by a user's bucket during a rollout. Raising the candidate's share moves no
//! user back (I8). Never looks at load or health.

use model::Share;

use crate::arm::{Bucket, below, choose_arm};

/// Returns the arm of a user: the candidate if the bucket is below its share, whatever its index among
/// the arms, otherwise one of the others by their shares. `None` if neither has any share.
pub fn choose_split(
    shares: impl DoubleEndedIterator<Item = Share> + ExactSizeIterator,
    candidate: usize,
    share: Share,
    bucket: Bucket,
) -> Option<usize> {
    if below(bucket, share) {
        return Some(candidate);
    }
    let others = shares.enumerate().map(|(at, share)| match at == candidate {
        true => Share::NONE,
        false => share,
    });
    // A single live release takes all other buckets. Among several, the bucket decides again.
    choose_arm(others, bucket).or_else(|| (share > Share::NONE).then_some(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn share(n: u16) -> Share {
        Share::from_ten_thousandths(n).expect("at most 10 000")
    }

    fn arm(n: u16, hash: u64) -> Option<usize> {
        // The candidate is between a live release and a standby.
        let shares = [share(10_000 - n), share(n), Share::NONE];
        choose_split(shares.into_iter(), 1, share(n), Bucket::of(hash))
    }

    /// Well-spread numbers, the same in every run.
    fn keys(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|n| {
            let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        })
    }

    #[test]
    fn ten_thousand_keys_are_divided_as_the_share_says() {
        for percent in [1, 10, 25, 50, 90] {
            let new = keys(10_000).filter(|&key| arm(percent * 100, key) == Some(1)).count();
            let expected = usize::from(percent) * 100;
            assert!(new.abs_diff(expected) <= 150, "{new} of 10 000 at {percent} %");
        }
    }

    #[test]
    fn no_step_on_the_way_up_moves_anybody_back() {
        let keys: Vec<_> = keys(2_000).collect();
        let mut new = 0;
        for n in 0..=10_000 {
            let now = keys.iter().filter(|&&key| arm(n, key) == Some(1)).count();
            assert!(now >= new, "{n}");
            new = now;
        }
        assert_eq!(new, keys.len());
    }

    #[test]
    fn without_a_live_release_the_candidate_gets_all_and_without_shares_nobody() {
        let only = |n| choose_split([share(n)].into_iter(), 0, share(n), Bucket::of(u64::MAX));
        assert_eq!(only(5_000), Some(0));
        assert_eq!(only(0), None);
    }

    proptest! {
        #[test]
        fn who_has_moved_stays(hash: u64, low in 0_u16..=10_000, more in 0_u16..=10_000) {
            let high = (low + more).min(10_000);
            prop_assert!(arm(low, hash) != Some(1) || arm(high, hash) == Some(1));
        }

        #[test]
        fn nobody_gets_a_standby(hash: u64, n in 0_u16..=10_000) {
            prop_assert!(arm(n, hash) != Some(2));
        }
    }
}
