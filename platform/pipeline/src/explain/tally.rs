//! Adding contributions up: over all rows, and by cohort.

use std::collections::HashMap;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float32Type},
    error::ArrowError,
};
use cameo_store::explanations::{Cohort, FeatureImportance};

/// Most values of a cohort column that are told apart in the result; the others are one cohort.
pub(crate) const COHORT_VALUES_MAX: usize = 20;
/// Most values of a cohort column that are counted during a run: which of them are the largest is
/// known at the end. Values that come later are counted as [`OTHER`].
const COHORT_VALUES_COUNTED_MAX: usize = 256;
/// Most features that are listed: the ones that matter most.
const FEATURES_MAX: usize = 500;
/// Longest value of a cohort, in characters.
const VALUE_CHARACTERS_MAX: usize = 100;
/// The cohort of customers without a value.
const MISSING: &str = "(missing)";
/// The cohort of customers whose value is too rare to be listed.
const OTHER: &str = "(other)";

/// The sums of some rows, feature by feature.
#[derive(Debug, Clone, Default)]
struct Sums {
    rows: u64,
    absolute: Vec<f64>,
    signed: Vec<f64>,
}

impl Sums {
    fn of(features: usize) -> Self {
        Self { rows: 0, absolute: vec![0.0; features], signed: vec![0.0; features] }
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (sum, more) in self.absolute.iter_mut().zip(&other.absolute) {
            *sum += more;
        }
        for (sum, more) in self.signed.iter_mut().zip(&other.signed) {
            *sum += more;
        }
    }

    fn importances(&self, features: &[String]) -> Vec<FeatureImportance> {
        let rows = self.rows.max(1) as f64;
        let sums = self.absolute.iter().zip(&self.signed);
        let mut importances: Vec<_> = features
            .iter()
            .zip(sums)
            .map(|(feature, (absolute, signed))| FeatureImportance {
                feature: feature.clone(),
                mean_absolute: absolute / rows,
                mean: signed / rows,
            })
            .collect();
        importances.sort_by(|a, b| {
            b.mean_absolute.total_cmp(&a.mean_absolute).then_with(|| a.feature.cmp(&b.feature))
        });
        importances.truncate(FEATURES_MAX);
        importances
    }
}

/// The sums of a run so far.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    all: Sums,
    /// By cohort column, then by value.
    cohorts: Vec<HashMap<String, Sums>>,
    error_sum: f64,
}

impl Tally {
    pub(crate) fn new(features: usize, cohorts: usize) -> Self {
        Self { all: Sums::of(features), cohorts: vec![HashMap::new(); cohorts], error_sum: 0.0 }
    }

    /// Adds the contributions of a batch; `cohorts` are the cohort columns of the same rows. A row
    /// with a contribution that is not a finite number counts nowhere.
    pub(crate) fn add(
        &mut self,
        contributions: &RecordBatch,
        cohorts: &[&ArrayRef],
        errors: Option<&[f32]>,
    ) -> Result<(), ArrowError> {
        let columns: Vec<&[f32]> = contributions
            .columns()
            .iter()
            .map(|column| column.as_primitive::<Float32Type>().values().as_ref())
            .collect();
        let usable = usable(&columns, contributions.num_rows());
        let whole = vec![0; contributions.num_rows()];
        let mut all = [Sums::of(columns.len())];
        sum(&columns, &usable, &whole, &mut all);
        self.all.merge(&all[0]);
        for (sums, column) in self.cohorts.iter_mut().zip(cohorts) {
            let (groups, values) = groups(column)?;
            let mut found = vec![Sums::of(columns.len()); values.len()];
            sum(&columns, &usable, &groups, &mut found);
            for (value, found) in values.into_iter().zip(&found).filter(|(_, sums)| sums.rows > 0) {
                merge_into(sums, value, found);
            }
        }
        let errors = errors.unwrap_or_default().iter().zip(&usable);
        self.error_sum +=
            errors.filter(|(_, usable)| **usable).map(|(error, _)| f64::from(*error)).sum::<f64>();
        Ok(())
    }

    /// Adds what another part of the rows added up to.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.error_sum += other.error_sum;
        for (sums, others) in self.cohorts.iter_mut().zip(&other.cohorts) {
            for (value, found) in others {
                merge_into(sums, value.clone(), found);
            }
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.all.rows
    }

    /// Mean of the stated standard errors.
    pub(crate) fn mean_error(&self) -> f64 {
        self.error_sum / self.all.rows.max(1) as f64
    }

    /// The importance of `features` over all rows.
    pub(crate) fn importances(&self, features: &[String]) -> Vec<FeatureImportance> {
        self.all.importances(features)
    }

    /// The cohorts of each of `columns`, the largest first; what is rare is one cohort.
    pub(crate) fn cohorts(&self, columns: &[String], features: &[String]) -> Vec<Cohort> {
        let mut cohorts = Vec::new();
        for (column, sums) in columns.iter().zip(&self.cohorts) {
            let mut largest: Vec<(&str, &Sums)> = sums
                .iter()
                .filter(|(value, _)| *value != OTHER)
                .map(|(value, sums)| (value.as_str(), sums))
                .collect();
            largest.sort_by(|a, b| b.1.rows.cmp(&a.1.rows).then_with(|| a.0.cmp(b.0)));
            let rare = largest.split_off(largest.len().min(COHORT_VALUES_MAX));
            let mut other = sums.get(OTHER).cloned().unwrap_or_else(|| Sums::of(features.len()));
            for (_, sums) in rare {
                other.merge(sums);
            }
            if other.rows > 0 {
                largest.push((OTHER, &other));
            }
            cohorts.extend(largest.into_iter().map(|(value, sums)| Cohort {
                column: column.clone(),
                value: value.to_owned(),
                rows: sums.rows,
                features: sums.importances(features),
            }));
        }
        cohorts
    }
}

fn merge_into(sums: &mut HashMap<String, Sums>, value: String, found: &Sums) {
    let known = sums.contains_key(&value) || sums.len() < COHORT_VALUES_COUNTED_MAX;
    let value = if known { value } else { OTHER.to_owned() };
    sums.entry(value).or_insert_with(|| Sums::of(found.signed.len())).merge(found);
}

/// Which rows have finite contributions only.
fn usable(columns: &[&[f32]], rows: usize) -> Vec<bool> {
    let mut usable = vec![true; rows];
    for column in columns {
        for (usable, value) in usable.iter_mut().zip(*column) {
            *usable &= value.is_finite();
        }
    }
    usable
}

/// Adds each row to the sums of its group, one column after the other.
fn sum(columns: &[&[f32]], usable: &[bool], groups: &[usize], sums: &mut [Sums]) {
    for (group, _) in groups.iter().zip(usable).filter(|(_, usable)| **usable) {
        sums[*group].rows += 1;
    }
    let mut totals = vec![(0.0_f64, 0.0_f64); sums.len()];
    for (feature, column) in columns.iter().enumerate() {
        totals.fill((0.0, 0.0));
        for ((value, group), usable) in column.iter().zip(groups).zip(usable) {
            if *usable {
                let value = f64::from(*value);
                totals[*group].0 += value.abs();
                totals[*group].1 += value;
            }
        }
        for (sums, (absolute, signed)) in sums.iter_mut().zip(&totals) {
            sums.absolute[feature] += absolute;
            sums.signed[feature] += signed;
        }
    }
}

/// The group of each row by its value, and the value of each group.
fn groups(column: &ArrayRef) -> Result<(Vec<usize>, Vec<String>), ArrowError> {
    let texts = cast(column, &DataType::Utf8)?;
    let mut numbers: HashMap<Option<&str>, usize> = HashMap::new();
    let groups = texts
        .as_string::<i32>()
        .iter()
        .map(|value| {
            let next = numbers.len();
            *numbers.entry(value).or_insert(next)
        })
        .collect();
    let mut values = vec![String::new(); numbers.len()];
    for (value, number) in numbers {
        values[number] = value.map_or_else(
            || MISSING.to_owned(),
            |value| value.chars().take(VALUE_CHARACTERS_MAX).collect(),
        );
    }
    Ok((groups, values))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Int64Array, StringArray};

    use super::*;

    fn contributions(columns: &[&[f32]]) -> RecordBatch {
        RecordBatch::try_from_iter(columns.iter().enumerate().map(|(at, values)| {
            (format!("f{at}"), Arc::new(Float32Array::from(values.to_vec())) as ArrayRef)
        }))
        .expect("a batch")
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("f{at}")).collect()
    }

    #[test]
    fn sums_over_batches_are_those_of_all_rows_and_of_each_cohort() {
        let countries: ArrayRef = Arc::new(StringArray::from(vec![Some("JP"), Some("DE"), None]));
        let mut tally = Tally::new(2, 1);
        let batch = contributions(&[&[1.0, -3.0, 0.5], &[4.0, f32::NAN, 1.0]]);
        tally.add(&batch, &[&countries], None).expect("added");
        let batch = contributions(&[&[1.0, -1.0, 0.0], &[0.0, 0.0, 0.0]]);
        tally.add(&batch, &[&countries], Some(&[0.5, 0.25, 0.5])).expect("added");
        assert_eq!(tally.rows(), 5, "the row that is not finite counts nowhere");
        assert!((tally.mean_error() - 0.25).abs() < 1e-12);
        let all = tally.importances(&names(2));
        let found: Vec<_> =
            all.iter().map(|one| (one.feature.as_str(), one.mean_absolute, one.mean)).collect();
        assert_eq!(found, [("f1", 1.0, 1.0), ("f0", 0.7, 0.3)]);
        let cohorts = tally.cohorts(&["country".to_owned()], &names(2));
        let found: Vec<_> = cohorts
            .iter()
            .map(|cohort| (cohort.value.as_str(), cohort.rows, cohort.features[0].mean_absolute))
            .collect();
        assert_eq!(found, [("(missing)", 2, 0.5), ("JP", 2, 2.0), ("DE", 1, 1.0)]);
    }

    #[test]
    fn rare_values_are_one_cohort_and_no_row_is_lost() {
        let rows = 2_000;
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (0..rows).map(|row| if row % 2 == 0 { 7 } else { row }),
        ));
        let ones = vec![1.0; usize::try_from(rows).expect("small")];
        let mut tally = Tally::new(1, 1);
        tally.add(&contributions(&[&ones]), &[&values], None).expect("added");
        let cohorts = tally.cohorts(&["age".to_owned()], &names(1));
        assert_eq!(cohorts.len(), COHORT_VALUES_MAX + 1);
        assert_eq!((cohorts[0].value.as_str(), cohorts[0].rows), ("7", 1_001));
        assert_eq!(cohorts.last().map(|cohort| cohort.value.as_str()), Some(OTHER));
        assert_eq!(cohorts.iter().map(|cohort| cohort.rows).sum::<u64>(), 2_000);
    }
}
