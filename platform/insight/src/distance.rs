//! How far two distributions lie apart.

/// What is added to each count, so that an empty bin stays finite.
const SMOOTHING: f64 = 0.5;
/// Least scale of a shift, in standard deviations: a mean near 0 is no measure of what it is shifted by.
const SCALE_MIN: f64 = 0.1;

/// Population stability index of `current` against `baseline`, in nats, from how many values of each lie
/// in each bin: the sum over the bins of (c − b) · ln(c / b), where c and b are the shares.
///
/// Half a value is added to each count, so the index is finite whatever is empty.
#[must_use]
pub fn stability_index(baseline: &[u64], current: &[u64]) -> f64 {
    let bins = baseline.len().max(current.len());
    let count = |counts: &[u64], bin: usize| counts.get(bin).copied().unwrap_or_default() as f64;
    let total = |counts: &[u64]| {
        (0..bins).map(|bin| count(counts, bin)).sum::<f64>() + SMOOTHING * bins as f64
    };
    let (of_baseline, of_current) = (total(baseline), total(current));
    (0..bins)
        .map(|bin| {
            let before = (count(baseline, bin) + SMOOTHING) / of_baseline;
            let now = (count(current, bin) + SMOOTHING) / of_current;
            (now - before) * (now / before).ln()
        })
        .sum()
}

/// How far `current` lies from `baseline`, as a share of it; of a tenth of the standard deviation where
/// the mean itself is smaller than that.
#[must_use]
pub fn mean_shift(baseline: f64, deviation: f64, current: f64) -> f64 {
    let shift = (current - baseline).abs();
    if shift == 0.0 { 0.0 } else { shift / baseline.abs().max(SCALE_MIN * deviation) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_distributions_have_no_index_and_others_the_one_of_the_formula() {
        assert!(stability_index(&[10, 20, 30], &[10, 20, 30]).abs() < 1e-12);
        assert!(stability_index(&[100, 200], &[1_000, 2_000]).abs() < 1e-2, "shares are compared");
        // Shares of 100.5 and 300.5 of 401 against the same the other way round.
        let (low, high): (f64, f64) = (100.5 / 401.0, 300.5 / 401.0);
        let expected = 2.0 * (high - low) * (high / low).ln();
        assert!((stability_index(&[100, 300], &[300, 100]) - expected).abs() < 1e-12);
    }

    #[test]
    fn empty_bins_and_empty_sides_stay_finite() {
        let apart = stability_index(&[0, 1_000_000, 0], &[0, 0, 1_000_000]);
        assert!(apart.is_finite() && apart > 10.0, "{apart}");
        assert!(stability_index(&[], &[]).abs() < 1e-12);
        assert!(stability_index(&[5, 5], &[]).is_finite());
    }

    #[test]
    fn a_shift_is_a_share_of_the_mean_unless_the_mean_is_next_to_nothing() {
        assert!((mean_shift(10.0, 1.0, 12.0) - 0.2).abs() < 1e-12);
        assert!((mean_shift(-10.0, 1.0, -8.0) - 0.2).abs() < 1e-12);
        assert!((mean_shift(0.0, 10.0, 0.1) - 0.1).abs() < 1e-12);
        assert!(mean_shift(0.0, 0.0, 0.0).abs() < 1e-12);
        assert!(mean_shift(0.0, 0.0, 1.0).is_infinite(), "nothing to measure it by");
    }
}
