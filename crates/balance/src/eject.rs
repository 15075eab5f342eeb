//! Passive ejection: an instance that fails again and again gets no requests for a while, and so do all
//! instances of a host to which connections time out. Never ejects the last instance, and never counts
//! failures by clients or on the proxy's side.

/// The part of an arm's instances that may be ejected at the same time.
pub const MAX_EJECTED_PERCENT: usize = 34;
const FAILURES: u32 = 5;
const TIMEOUTS_OF_HOST: u32 = 2;
const BASE_MS: u64 = 2_000;
const LONGEST_MS: u64 = 60_000;

/// Returns the number of failures in a row after which an instance is ejected.
pub const fn failures_to_eject() -> u32 {
    FAILURES
}

/// Returns the number of connections that time out in a row after which a host is ejected with all its
/// instances. A host that is switched off sends no word to anybody, so few are enough.
pub const fn timeouts_to_eject_host() -> u32 {
    TIMEOUTS_OF_HOST
}

/// The history of ejections of an instance or a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejection {
    /// The time when the ejection ends.
    pub until_ms: u64,
    /// How many times in a row the instance was ejected.
    pub times: u32,
}

/// Returns whether one more of `pool` instances may be ejected while `resting` are.
pub const fn may_eject(pool: usize, resting: usize) -> bool {
    let most = pool * MAX_EJECTED_PERCENT / 100;
    // One of two may be ejected, the last one may not.
    let most = if most == 0 && pool > 1 { 1 } else { most };
    resting < most
}

/// Returns the next ejection, twice as long as the one before. After an equally long time without failure
/// the length starts anew.
pub const fn time_out(before: Ejection, now_ms: u64) -> Ejection {
    let again = now_ms.saturating_sub(before.until_ms) < LONGEST_MS && before.times > 0;
    let times = if again { before.times.saturating_add(1) } else { 1 };
    let doublings = if times > 6 { 5 } else { times - 1 };
    let rest = BASE_MS << doublings;
    let rest = if rest > LONGEST_MS { LONGEST_MS } else { rest };
    Ejection { until_ms: now_ms + rest, times }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_never_ejected() {
        assert!(!may_eject(1, 0));
        assert!(may_eject(2, 0) && !may_eject(2, 1));
        assert!(may_eject(9, 2) && !may_eject(9, 3));
    }

    #[test]
    fn rests_grow_and_are_bounded() {
        let first = time_out(Ejection::default(), 10_000);
        assert_eq!(first.until_ms, 12_000);
        let second = time_out(first, 12_500);
        assert_eq!(second.until_ms, 16_500);
        let mut last = second;
        for _ in 0..20 {
            last = time_out(last, last.until_ms);
        }
        assert_eq!(time_out(last, last.until_ms).until_ms - last.until_ms, 60_000);
        assert_eq!(time_out(last, last.until_ms + 60_000).times, 1);
    }
}
