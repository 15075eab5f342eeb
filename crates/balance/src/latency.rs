//! The latency of an instance, as a mean that follows a rise at once and a fall slowly.
//!
//! This is peak EWMA as in Finagle (`PeakEwma` of `com.twitter.finagle.loadbalancer`;
//! <https://twitter.github.io/finagle/guide/Clients.html>, "Power of Two Choices") and, after it, in
//! Linkerd. A sample above the mean replaces the mean. A sample below moves it by `1 − e^(−t/τ)`, where t
//! is the time since the last sample. The cost of an instance is the mean times the number of requests in
//! flight, including the next one. τ is ten seconds, Finagle's default.

/// Time without a sample in which the mean is halved: τ ln 2.
const HALF_MS: u64 = 6_931;
/// The bits of the time, in milliseconds: two years. The bits above are the mean's, in microseconds: four
/// minutes.
const TIME_BITS: u32 = 36;
const LONGEST_US: u64 = (1 << (u64::BITS - TIME_BITS)) - 1;
/// The cost of an instance that has requests in flight and has never answered: more than any other.
const UNKNOWN: u64 = u64::MAX >> 16;
/// One, in the fixed point of [`fade`].
const ONE: u64 = 1 << 16;

/// The mean of one instance. Unknown at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    mean_us: u64,
    at_ms: u64,
}

impl Latency {
    /// Returns the mean from one number, in which it can be changed atomically. See [`Latency::bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self { mean_us: bits >> TIME_BITS, at_ms: bits & ((1 << TIME_BITS) - 1) }
    }

    /// Returns the mean as one number.
    pub const fn bits(self) -> u64 {
        (self.mean_us << TIME_BITS) | (self.at_ms & ((1 << TIME_BITS) - 1))
    }

    /// Returns the mean after an answer that took `took_us`.
    #[must_use]
    pub fn seen(self, took_us: u64, now_ms: u64) -> Self {
        let took_us = took_us.clamp(1, LONGEST_US);
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let faded_us = fade(self.mean_us, elapsed_ms);
        let moved_us = took_us.saturating_sub(fade(took_us, elapsed_ms));
        let mean_us = took_us.max((faded_us + moved_us).min(LONGEST_US));
        Self { mean_us, at_ms: now_ms.max(self.at_ms) }
    }

    /// Returns the cost of one more request with `in_flight` in flight; less is better. 0 if the instance
    /// has never answered and has no request in flight: it is then tried, by one request at first.
    pub fn cost(self, in_flight: u32, now_ms: u64) -> u64 {
        let mean_us = fade(self.mean_us, now_ms.saturating_sub(self.at_ms));
        match (mean_us, u64::from(in_flight)) {
            (0, 0) => 0,
            (0, in_flight) => UNKNOWN + in_flight,
            (mean_us, in_flight) => mean_us.saturating_mul(in_flight + 1).min(UNKNOWN),
        }
    }
}

/// Returns the value after it has decayed for `elapsed_ms`. Within one halving, the curve is the parabola
/// through its two ends and its middle, with an error of at most 0.3 %.
fn fade(value_us: u64, elapsed_ms: u64) -> u64 {
    let part = (elapsed_ms % HALF_MS) * ONE / HALF_MS;
    // 0.17157 is 3 − 2√2; 0.67157 is that and a half.
    let left = ONE - 44_012 * part / ONE + 11_244 * part / ONE * part / ONE;
    let halvings = u32::try_from(elapsed_ms / HALF_MS).unwrap_or(u32::MAX);
    (value_us * left / ONE).checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_news_is_believed_at_once_and_good_news_slowly() {
        let slow = Latency::default().seen(1_000, 0).seen(80_000, 1);
        assert_eq!(slow.cost(0, 1), 80_000);
        let better = slow.seen(1_000, 2);
        assert!(better.cost(0, 2) > 79_900, "{better:?}");
        // Ten seconds are one τ: the part above the sample has fallen to 1/e.
        let later = slow.seen(1_000, 10_001);
        assert!((29_900..30_200).contains(&later.cost(0, 10_001)), "{later:?}");
    }

    #[test]
    fn the_unknown_is_tried_by_one_and_one_that_was_silent_for_long_is_unknown() {
        let unknown = Latency::default();
        let known = unknown.seen(200_000_000, 0);
        assert_eq!(unknown.cost(0, 5), 0);
        assert!(unknown.cost(1, 5) > known.cost(1_000, 5));
        assert!(unknown.cost(1, 5) < unknown.cost(2, 5));
        assert_eq!(known.cost(0, 600_000), 0);
    }

    proptest! {
        #[test]
        fn the_mean_lies_between_the_last_sample_and_the_worst(
            samples in prop::collection::vec((1_u64..200_000_000, 0_u64..20_000), 1..50),
        ) {
            let (mut latency, mut now_ms) = (Latency::default(), 0);
            for (took_us, after_ms) in &samples {
                now_ms += after_ms;
                latency = Latency::from_bits(latency.seen(*took_us, now_ms).bits());
                prop_assert!(latency.mean_us >= *took_us);
            }
            let worst = samples.iter().map(|(took_us, _)| *took_us).max().unwrap();
            prop_assert!(latency.mean_us <= worst + 1, "{latency:?} {worst}");
            prop_assert!(latency.cost(7, now_ms) == latency.mean_us * 8);
        }

        #[test]
        fn it_fades_by_time_alone_however_often_it_is_looked_at(
            value in 100_000_u64..200_000_000, first in 0_u64..20_000, second in 0_u64..20_000,
        ) {
            let once = fade(value, first + second);
            let twice = fade(fade(value, first), second);
            prop_assert!(once.abs_diff(twice) <= once / 100 + 2, "{once} {twice}");
            prop_assert!(fade(value, first + 1) <= fade(value, first) + 1);
            let exact = value as f64 * (-((first + second) as f64) / 10_000.0).exp();
            prop_assert!((once as f64 - exact).abs() <= exact / 200.0 + 2.0, "{once} {exact}");
        }
    }
}
