//! Medians and quartiles of paired ratios. Pure.

/// The median and the quartiles of a set of measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) lower: f64,
    pub(super) median: f64,
    pub(super) upper: f64,
}

/// The conclusion from a spread of ratios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Less,
    More,
    /// 1.0 lies within the quartiles.
    NoDifferenceShown,
}

impl Spread {
    /// Returns the quartiles of `values`, interpolated between neighbours; `None` without values.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |quarter| quantile(&sorted, quarter);
        Some(Self { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }

    /// Returns the spread of ours ÷ theirs. Each pair comes from one round.
    pub(super) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| ours / theirs)
            .filter(|ratio| ratio.is_finite())
            .collect();
        Self::of(&ratios)
    }

    /// Returns the conclusion from the spread of a ratio.
    pub(super) fn verdict(&self) -> Verdict {
        if self.upper < 1.0 {
            Verdict::Less
        } else if self.lower > 1.0 {
            Verdict::More
        } else {
            Verdict::NoDifferenceShown
        }
    }
}

/// Returns the value below which `part` of the values lie; `None` without values.
pub(super) fn quantile_of(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, part)
}

/// Returns the value below which `part` of the sorted values lie.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "a run has tens of rounds")]
    let place = last as f64 * part;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=last")]
    let below = place.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let spread = |lower, median, upper| Some(Spread { lower, median, upper });
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), spread(3.0, 3.0, 3.0));
        assert_eq!(Spread::of(&[2.0, 1.0]), spread(1.25, 1.5, 1.75));
        assert_eq!(Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]), spread(2.0, 3.0, 4.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was three times as slow for both. The ratio is not affected.
        let spread = Spread::of_ratios(&[10.0, 30.0, 11.0], &[20.0, 60.0, 22.0]).unwrap();
        assert_eq!(spread, Spread { lower: 0.5, median: 0.5, upper: 0.5 });
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn one_within_the_quartiles_shows_no_difference() {
        let verdict = |lower, upper| Spread { lower, median: 1.0, upper }.verdict();
        assert_eq!(verdict(0.8, 0.99), Verdict::Less);
        assert_eq!(verdict(1.01, 1.2), Verdict::More);
        assert_eq!(verdict(0.99, 1.01), Verdict::NoDifferenceShown);
        assert_eq!(verdict(0.9, 1.0), Verdict::NoDifferenceShown);
    }
}
