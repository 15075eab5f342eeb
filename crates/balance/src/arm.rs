//! Chooses the arm that a request belongs to. Raising a share moves no user back (I8). Never looks at
//! load.

use model::Share;

/// The position of a user or a request in the traffic: 0 to 9 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u16);

impl Bucket {
    /// Returns the bucket of a keyed hash, or of a random number if there is no key.
    pub const fn of(hash: u64) -> Self {
        // The upper half is scaled instead of taking a remainder, so that all buckets are equally likely.
        Self((((hash >> 32) * 10_000) >> 32) as u16)
    }
}

/// Returns whether the bucket is one of the first `share`.
pub(crate) fn below(bucket: Bucket, share: Share) -> bool {
    bucket.0 < share.ten_thousandths()
}

/// Returns the arm whose share holds `bucket`, or `None` if no arm has any share.
///
/// Shares are laid out from the *last* arm on, and live is the first arm of a snapshot. A candidate
/// therefore holds the buckets from 0 up to its share, and raising the share only takes buckets from
/// live.
pub fn choose_arm(
    shares: impl DoubleEndedIterator<Item = Share> + ExactSizeIterator,
    bucket: Bucket,
) -> Option<usize> {
    let mut below = 0;
    let mut last = None;
    for (at, share) in shares.enumerate().rev() {
        if share == Share::NONE {
            continue;
        }
        below += u32::from(share.ten_thousandths());
        last = Some(at);
        if u32::from(bucket.0) < below {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(n: u16) -> Share {
        Share::from_ten_thousandths(n).expect("at most 10 000")
    }

    #[test]
    fn an_arm_without_share_gets_nothing() {
        for hash in [0, u64::MAX / 2, u64::MAX] {
            let shares = [Share::ALL, Share::NONE];
            assert_eq!(choose_arm(shares.into_iter(), Bucket::of(hash)), Some(0));
        }
        assert_eq!(choose_arm([Share::NONE].into_iter(), Bucket::of(0)), None);
        assert_eq!(choose_arm([].into_iter(), Bucket::of(0)), None);
    }

    proptest! {
        #[test]
        fn raising_a_share_moves_nobody_back(hash: u64, low in 0_u16..=10_000, more in 0_u16..=10_000) {
            let high = (low + more).min(10_000);
            let arm = |n| choose_arm([share(10_000 - n), share(n)].into_iter(), Bucket::of(hash));
            prop_assert!(arm(low) <= arm(high));
        }

        #[test]
        fn a_share_holds_its_part_of_the_buckets(n in 0_u16..=10_000) {
            let mine = (0..10_000).filter(|&b| {
                choose_arm([share(10_000 - n), share(n)].into_iter(), Bucket(b)) == Some(1)
            });
            prop_assert_eq!(mine.count(), usize::from(n));
        }
    }
}
