//! Slow start: a new instance gets a part of its picks that grows with its age. Knows no clock and no
//! instance.

use model::{Millis, Share};

/// Returns the part of its picks that an instance of this age gets. It grows linearly from none to all
/// over `slow_start`; 0 means no slow start.
pub fn warmth(age: Millis, slow_start: Millis) -> Share {
    let grown = u128::from(age.0) * 10_000;
    let part =
        grown.checked_div(u128::from(slow_start.0)).and_then(|part| u16::try_from(part).ok());
    part.and_then(Share::from_ten_thousandths).unwrap_or(Share::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_grows_in_a_straight_line_and_stays_at_all() {
        let at = |age| warmth(Millis(age), Millis(10_000)).ten_thousandths();
        assert_eq!([0, 1_000, 2_500, 9_999].map(at), [0, 1_000, 2_500, 9_999]);
        assert_eq!([10_000, 20_000, u64::MAX].map(at), [10_000; 3]);
        assert_eq!(warmth(Millis(0), Millis(0)), Share::ALL);
    }

    proptest! {
        #[test]
        fn an_older_one_never_gets_less(age: u64, more: u64, slow_start: u64) {
            let older = Millis(age.saturating_add(more));
            prop_assert!(warmth(Millis(age), Millis(slow_start)) <= warmth(older, Millis(slow_start)));
        }
    }
}
