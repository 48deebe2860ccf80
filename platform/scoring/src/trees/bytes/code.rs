//! Ranks of values among thresholds, as bytes.

use super::leaves::Weighted;
use super::program::Column;
use super::{BLOCK_ROWS, LANE_ROWS, LANES, Lane};
use crate::level::Level;

/// Buckets of a threshold index: few enough that the index stays in a core's nearest cache.
const BUCKETS: u16 = 1024;

/// Writes the codes of one feature's values into all of its code columns.
pub(super) fn column<S: Weighted>(
    column: &Column<S>,
    values: &[S; BLOCK_ROWS],
    codes: &mut [Lane],
    level: Level,
) {
    let mut ranks = [0u16; BLOCK_ROWS];
    S::ranks(&column.thresholds, values, &mut ranks, level);
    let missing = values.iter().any(|value| value.is_nan());
    let (ranks, _) = ranks.as_chunks::<LANE_ROWS>();
    let (values, _) = values.as_chunks::<LANE_ROWS>();
    for to in &column.codes {
        let start = u16::try_from(to.segment * 255).unwrap_or(u16::MAX);
        let codes = &mut codes[to.at * LANES..(to.at + 1) * LANES];
        for ((codes, ranks), values) in codes.iter_mut().zip(ranks).zip(values) {
            for (code, rank) in codes.0.iter_mut().zip(ranks) {
                #[allow(clippy::cast_possible_truncation, reason = "clamped to a byte")]
                {
                    *code = rank.saturating_sub(start).min(255) as u8;
                }
            }
            if missing {
                for (code, value) in codes.0.iter_mut().zip(values) {
                    if value.is_nan() {
                        *code = to.missing;
                    }
                }
            }
        }
    }
}

/// The thresholds of a feature with an index that starts a search near its end.
///
/// The range of the thresholds is cut into equal buckets. Which bucket a value is in is a monotone
/// function of it, so the thresholds of lower buckets are below it and those of higher buckets
/// above; the search is left with the thresholds of one bucket.
pub(in super::super) struct Thresholds<S> {
    /// Ascending, then as many infinities as a search may look past the end.
    padded: Vec<S>,
    count: usize,
    least: S,
    scale: S,
    /// Number of thresholds in lower buckets.
    before: Vec<u16>,
    /// A search inside a bucket takes this many steps.
    steps: u32,
}

impl<S: Weighted> Thresholds<S> {
    /// `ascending` has at most 65,535 thresholds and none is NaN.
    pub(super) fn of(ascending: Vec<S>) -> Self {
        let finite =
            || ascending.iter().map(|threshold| threshold.double()).filter(|t| t.is_finite());
        let least = finite().next().unwrap_or(0.0);
        let range = finite().next_back().unwrap_or(0.0) - least;
        let scale = S::of(f64::from(BUCKETS) / range);
        // A range that overflows or is empty leaves all thresholds in one bucket.
        let scale =
            if scale.double().is_finite() && range.is_finite() { scale } else { S::of(0.0) };
        let mut found = Self {
            padded: vec![],
            count: ascending.len(),
            least: S::of(least),
            scale,
            before: vec![],
            steps: 0,
        };
        let buckets: Vec<u16> =
            ascending.iter().map(|threshold| found.bucket(*threshold)).collect();
        found.before = (0..=BUCKETS)
            .map(|bucket| {
                let before = buckets.partition_point(|other| *other < bucket);
                u16::try_from(before).unwrap_or(u16::MAX)
            })
            .collect();
        let most = found.before.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        found.steps = u16::BITS - most.leading_zeros();
        found.padded = ascending;
        found.padded.resize(found.count + (1 << found.steps), S::of(f64::INFINITY));
        found
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn ascending(&self) -> &[S] {
        &self.padded[..self.count]
    }

    fn bucket(&self, value: S) -> u16 {
        value.bucket(self.least, self.scale, S::of(f64::from(BUCKETS - 1)))
    }

    /// Number of thresholds strictly below each value, without branches. NaN gets the number of
    /// some bucket.
    pub(super) fn ranks(&self, values: &[S; BLOCK_ROWS], ranks: &mut [u16; BLOCK_ROWS]) {
        for (rank, value) in ranks.iter_mut().zip(values) {
            *rank = self.bucket(*value);
        }
        for rank in ranks.iter_mut() {
            *rank = self.before[usize::from(*rank)];
        }
        for step in (0..self.steps).rev().map(|step| 1u16 << step) {
            let ahead = &self.padded[usize::from(step) - 1..];
            for (rank, value) in ranks.iter_mut().zip(values) {
                *rank += if ahead[usize::from(*rank)] < *value { step } else { 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_the_thresholds_below() {
        let inf = f32::INFINITY;
        let lists: [&[f32]; 6] = [
            &[0.0],
            &[-inf, -1.0, 0.0, 1e-45, 2.0, inf],
            &[f32::MIN, 0.0, f32::MAX],
            &[1.0, 1.000_000_1, 1.000_000_2, 1.000_000_4, 1e30],
            &[inf],
            &[-inf],
        ];
        let many: Vec<f32> = (0..3000u16).map(|at| (f32::from(at) / 100.0).exp()).collect();
        for thresholds in lists.into_iter().chain([&many[..]]) {
            let coded = Thresholds::of(thresholds.to_vec());
            let mut values = [f32::NEG_INFINITY; BLOCK_ROWS];
            let probes = thresholds
                .iter()
                .rev()
                .take(150)
                .chain(thresholds.iter().take(20))
                .flat_map(|threshold| [threshold.next_down(), *threshold, threshold.next_up()]);
            for (value, probe) in values.iter_mut().zip(probes) {
                *value = probe;
            }
            let expected = values.map(|value| {
                u16::try_from(thresholds.iter().filter(|threshold| **threshold < value).count())
                    .expect("few")
            });
            for level in Level::available() {
                let mut ranks = [7u16; BLOCK_ROWS];
                f32::ranks(&coded, &values, &mut ranks, level);
                assert_eq!(ranks, expected, "{level}, {} thresholds", thresholds.len());
            }
            let mut ranks = [7u16; BLOCK_ROWS];
            let coded = Thresholds::of(thresholds.iter().copied().map(f64::from).collect());
            f64::ranks(&coded, &values.map(f64::from), &mut ranks, Level::Portable);
            assert_eq!(ranks, expected, "f64, {} thresholds", thresholds.len());
        }
    }
}
