//! How the values of a prediction are distributed, and how far two distributions lie apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bars of a histogram.
pub const BARS: usize = 24;
/// Words that are told by name; the others are counted together.
pub const WORDS_MAX: usize = 5;
/// Fewest rows on each side for which a stability index means something.
pub const PSI_ROWS_MIN: usize = 50;
/// Most different words for which one is computed: beyond it they are more like names than classes.
const PSI_WORDS_MAX: usize = 1_000;
/// Numbers that differ by less, as a share of the larger one, are the same: scores are 32-bit floats.
const SAME_SHARE: f64 = 1e-6;

/// The values of one prediction, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `INT` and `FLOAT64`.
    Numbers(Vec<Option<f64>>),
    /// Every other type, as text.
    Words(Vec<Option<String>>),
}

/// What the values of one prediction are like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Distribution {
    /// Of numbers.
    Numbers {
        /// How many rows.
        rows: u64,
        /// How many of them are null.
        nulls: u64,
        /// Where the numbers lie; none where all are null.
        #[serde(flatten)]
        numbers: Option<Numbers>,
        /// How many numbers fall into each part of the histogram's range.
        histogram: Vec<u64>,
    },
    /// Of texts, truth values and dates.
    Words {
        /// How many rows.
        rows: u64,
        /// How many of them are null.
        nulls: u64,
        /// How many different values.
        different: u64,
        /// The most frequent values.
        most_frequent: Vec<Word>,
    },
}

/// Where numbers lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// The greatest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
}

/// A value and how often it occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The value.
    pub value: String,
    /// How many rows have it.
    pub rows: u64,
}

/// The range that two histograms share: their parts then mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Where the first part begins.
    pub low: f64,
    /// Where the last part ends.
    pub high: f64,
    /// How many parts.
    pub parts: usize,
}

impl Values {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Words(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the values are like; `range` is that of the histogram.
    #[must_use]
    pub fn distribution(&self, range: Option<Range>) -> Distribution {
        match self {
            Self::Numbers(values) => of_numbers(values, range),
            Self::Words(values) => of_words(values),
        }
    }

    /// The share of rows that have another value here than in `other`, row by row; `None` where the
    /// types differ or there are no rows.
    #[must_use]
    pub fn share_changed(&self, other: &Self) -> Option<f64> {
        let changed = match (self, other) {
            (Self::Numbers(new), Self::Numbers(old)) => {
                new.iter().zip(old).filter(|(new, old)| !same(**new, **old)).count()
            }
            (Self::Words(new), Self::Words(old)) => {
                new.iter().zip(old).filter(|(new, old)| new != old).count()
            }
            _ => return None,
        };
        (!self.is_empty()).then(|| changed as f64 / self.len() as f64)
    }
}

fn same(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= SAME_SHARE * one.abs().max(other.abs()),
        (None, None) => true,
        _ => false,
    }
}

/// The range of a histogram of all `values`: between the 1st and the 99th percentile, so that a few
/// outliers do not flatten the rest, or one part for each value where those are few and evenly spaced, as
/// the numbers of tiers are.
#[must_use]
pub fn range_of<'a>(values: impl Iterator<Item = &'a Values>) -> Option<Range> {
    let mut numbers: Vec<f64> = Vec::new();
    for values in values {
        if let Values::Numbers(values) = values {
            numbers.extend(values.iter().flatten());
        }
    }
    numbers.sort_by(f64::total_cmp);
    let (least, greatest) = (*numbers.first()?, *numbers.last()?);
    if let Some((step, parts)) = even_steps(&numbers) {
        return Some(Range { low: least - step / 2.0, high: greatest + step / 2.0, parts });
    }
    let (low, high) = (quantile(&numbers, 0.01), quantile(&numbers, 0.99));
    let (low, high) = if low < high { (low, high) } else { (least, greatest) };
    Some(Range { low, high, parts: if low < high { BARS } else { 1 } })
}

/// The distance between neighbouring values and how many of it there are from the least to the greatest,
/// where every value lies on such a step and there are at most [`BARS`].
fn even_steps(sorted: &[f64]) -> Option<(f64, usize)> {
    let mut different = sorted.to_vec();
    different.dedup();
    if different.len() > BARS {
        return None;
    }
    let distances = different.windows(2).map(|pair| pair[1] - pair[0]);
    let step = distances.fold(f64::INFINITY, f64::min);
    let (least, greatest) = (different.first()?, different.last()?);
    let steps = |value: f64| (value - least) / step;
    let on_a_step = |value: &f64| (steps(*value) - steps(*value).round()).abs() < 1e-6;
    if steps(*greatest) >= BARS as f64 - 0.5 || !different.iter().all(on_a_step) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "under BARS")]
    let parts = steps(*greatest).round() as usize + 1;
    Some((step, parts))
}

impl Range {
    /// The part that a number falls into; numbers beyond the ends count at the ends.
    fn part(self, number: f64) -> usize {
        if self.high <= self.low {
            return 0;
        }
        let share = ((number - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let part = (share * self.parts as f64) as usize;
        part.min(self.parts - 1)
    }
}

/// The number below which `share` of the sorted numbers lie; there is at least one.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[index]
}

fn of_numbers(values: &[Option<f64>], range: Option<Range>) -> Distribution {
    let mut found: Vec<f64> = values.iter().copied().flatten().collect();
    found.sort_by(f64::total_cmp);
    let mut histogram = vec![0; range.map_or(0, |range| range.parts)];
    if let Some(range) = range {
        for number in &found {
            histogram[range.part(*number)] += 1;
        }
    }
    let numbers = found.first().zip(found.last()).map(|(min, max)| Numbers {
        min: *min,
        p50: quantile(&found, 0.5),
        p95: quantile(&found, 0.95),
        max: *max,
        mean: found.iter().sum::<f64>() / found.len() as f64,
    });
    let (rows, nulls) = (values.len() as u64, (values.len() - found.len()) as u64);
    Distribution::Numbers { rows, nulls, numbers, histogram }
}

fn of_words(values: &[Option<String>]) -> Distribution {
    let counts = counted(values);
    let nulls = values.iter().filter(|value| value.is_none()).count() as u64;
    let mut words: Vec<Word> = counts
        .iter()
        .map(|(value, rows)| Word { value: (*value).to_owned(), rows: *rows })
        .collect();
    words.sort_by(|one, other| other.rows.cmp(&one.rows).then_with(|| one.value.cmp(&other.value)));
    words.truncate(WORDS_MAX);
    let (rows, different) = (values.len() as u64, counts.len() as u64);
    Distribution::Words { rows, nulls, different, most_frequent: words }
}

fn counted(values: &[Option<String>]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for value in values.iter().flatten() {
        *counts.entry(value.as_str()).or_default() += 1;
    }
    counts
}

/// Population stability index of `current` against `baseline`, in nats, as
/// [`cameo_insight::stability_index`] finds it.
///
/// Bins of numbers are the baseline's deciles plus one open bin at each end, so numbers that leave the
/// baseline's range count; those of words are the words. Nulls are a bin. `None` where the types differ, under [`PSI_ROWS_MIN`] rows on
/// either side, or for words that are nearly all different.
#[must_use]
pub fn stability_index(baseline: &Values, current: &Values) -> Option<f64> {
    if baseline.len() < PSI_ROWS_MIN || current.len() < PSI_ROWS_MIN {
        return None;
    }
    let bins = match (baseline, current) {
        (Values::Numbers(old), Values::Numbers(new)) => number_bins(old, new),
        (Values::Words(old), Values::Words(new)) => word_bins(old, new)?,
        _ => return None,
    };
    let used = bins.into_iter().filter(|[old, new]| old + new > 0);
    let (old, new): (Vec<u64>, Vec<u64>) = used.map(|[old, new]| (old, new)).unzip();
    Some(cameo_insight::stability_index(&old, &new))
}

/// Rows of both sides, by bin.
fn number_bins(old: &[Option<f64>], new: &[Option<f64>]) -> Vec<[u64; 2]> {
    let mut sorted: Vec<f64> = old.iter().copied().flatten().collect();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = Vec::new();
    if !sorted.is_empty() {
        edges.extend((1..10).map(|tenth| quantile(&sorted, f64::from(tenth) / 10.0)));
        edges.dedup();
    }
    let (least, greatest) = (sorted.first(), sorted.last());
    let mut bins = vec![[0; 2]; edges.len() + 4];
    let bin = |value: Option<f64>| match value {
        None => 0,
        Some(number) if least.is_some_and(|least| number < *least) => 1,
        Some(number) if greatest.is_some_and(|greatest| number > *greatest) => edges.len() + 3,
        Some(number) => 2 + edges.partition_point(|edge| *edge < number),
    };
    for (side, values) in [old, new].into_iter().enumerate() {
        for value in values {
            bins[bin(*value)][side] += 1;
        }
    }
    bins
}

fn word_bins(old: &[Option<String>], new: &[Option<String>]) -> Option<Vec<[u64; 2]>> {
    let mut bins: BTreeMap<Option<&str>, [u64; 2]> = BTreeMap::new();
    for (side, values) in [old, new].into_iter().enumerate() {
        for value in values {
            bins.entry(value.as_deref()).or_default()[side] += 1;
        }
    }
    (bins.len() <= PSI_WORDS_MAX).then(|| bins.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: u32, to: u32) -> Values {
        Values::Numbers((from..to).map(|number| Some(f64::from(number) / 10.0)).collect())
    }

    fn words(counts: &[(&str, usize)]) -> Values {
        let repeated =
            counts.iter().flat_map(|(word, count)| vec![Some((*word).to_owned()); *count]);
        Values::Words(repeated.collect())
    }

    #[test]
    fn a_distribution_lies_no_distance_from_itself_and_far_from_another() {
        let (old, shifted) = (numbers(0, 1000), numbers(500, 1500));
        let index = |one: &Values, other: &Values| stability_index(one, other).expect("an index");
        assert!(index(&old, &old).abs() < 1e-12);
        assert!(index(&old, &shifted) > 1.0, "half of them left the range");
        let (even, uneven) = (words(&[("a", 50), ("b", 50)]), words(&[("a", 80), ("b", 20)]));
        assert!(index(&even, &even).abs() < 1e-12);
        // (0.8 − 0.5) ln(0.8 / 0.5) + (0.2 − 0.5) ln(0.2 / 0.5)
        assert!((index(&even, &uneven) - 0.4159).abs() < 0.02, "{}", index(&even, &uneven));
        assert_eq!(stability_index(&even, &old), None, "words are no numbers");
        assert_eq!(stability_index(&numbers(0, 49), &old), None, "too few rows");
    }

    #[test]
    fn few_even_values_have_a_bar_each_and_outliers_do_not_flatten_the_rest() {
        let deciles: Values =
            Values::Numbers((0..100).map(|row| Some(f64::from(row % 10 + 1))).collect());
        let range = range_of([&deciles].into_iter());
        let Distribution::Numbers { histogram, numbers: Some(found), .. } =
            deciles.distribution(range)
        else {
            panic!("numbers")
        };
        assert_eq!(histogram, [10; 10]);
        assert_eq!((found.min, found.max, found.mean), (1.0, 10.0, 5.5));
        let halves = Values::Numbers([0.5, 3.5, 1.5].map(Some).to_vec());
        let range = range_of([&halves].into_iter()).expect("a range");
        assert_eq!(range, Range { low: 0.0, high: 4.0, parts: 4 });
        let mut values: Vec<_> = (0..1000).map(|number| Some(f64::from(number) + 0.5)).collect();
        values.push(Some(1e12));
        let range = range_of([&Values::Numbers(values)].into_iter()).expect("a range");
        assert!(range.high < 1000.0 && range.parts == BARS, "{range:?}");
        assert_eq!(range_of([&Values::Numbers(vec![None])].into_iter()), None);
    }

    #[test]
    fn rounding_is_no_change_and_null_is_a_value() {
        let new = Values::Numbers(vec![Some(1.0), Some(2.0), None, None]);
        let old = Values::Numbers(vec![Some(1.0 + 1e-9), Some(2.1), Some(0.0), None]);
        assert_eq!(new.share_changed(&old), Some(0.5));
        assert_eq!(words(&[("a", 2)]).share_changed(&words(&[("a", 1), ("b", 1)])), Some(0.5));
    }

    #[test]
    fn the_most_frequent_words_come_first() {
        let values = words(&[("a", 1), ("b", 3), ("c", 2), ("d", 2), ("e", 1), ("f", 1)]);
        let Distribution::Words { most_frequent, different, .. } = values.distribution(None) else {
            panic!("words")
        };
        let names: Vec<&str> = most_frequent.iter().map(|word| word.value.as_str()).collect();
        assert_eq!((names, different), (vec!["b", "c", "d", "a", "e"], 6));
    }
}
