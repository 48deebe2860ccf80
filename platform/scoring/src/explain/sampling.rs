//! Shapley values of any model by sampling.
//!
//! A walk starts at a background row and gives it the features of the explained row one by one, in a
//! drawn order; what a feature changes when it comes in is one sample of its contribution (Castro,
//! Gómez and Tejada 2009). Each order is walked forwards and backwards, which cancels the part of the
//! error that is linear in the order (antithetic pairs; Mitchell et al. 2022).
//!
//! The orders and their background rows are drawn once, so a row has the same contributions in every
//! batch. What the samples miss of the exact sum (their background rows are not all) goes to the
//! features in proportion to the variance of their samples.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat, filter_record_batch, take};
use arrow::datatypes::{DataType, Float64Type};

use super::random::Random;
use crate::accept::Rejected;
use crate::error::{ModelError, ScoreError};
use crate::scorer::Scorer;

/// Mixed rows that are scored at once.
const MIXED_ROWS_MAX: usize = 8_192;
/// Pairs of walks at least: one has no variance to state an error from.
const PAIRS_MIN: usize = 2;

/// The sampling method, bound to a scorer and its background rows.
#[derive(Debug)]
pub(super) struct Sampling {
    scorer: Scorer,
    /// Position of the explained column among the outputs.
    output: usize,
    /// Feature columns that the model reads.
    columns: Vec<String>,
    /// Those columns of the background rows that can be scored.
    background: RecordBatch,
    background_values: Vec<f64>,
    base: f64,
    pairs: Vec<Pair>,
}

/// An order of the features, walked both ways from a background row.
#[derive(Debug)]
struct Pair {
    order: Vec<usize>,
    background: usize,
}

/// Contributions of the accepted rows of a batch.
pub(super) struct Sampled {
    /// By feature, then by row.
    pub(super) contributions: Vec<Vec<f64>>,
    /// By row: the largest standard error among the features.
    pub(super) errors: Vec<f64>,
    pub(super) rejected: Vec<Rejected>,
}

impl Sampling {
    /// Draws the walks.
    ///
    /// # Errors
    /// When no background row can be scored.
    pub(super) fn new(
        scorer: Scorer,
        output: usize,
        columns: Vec<String>,
        background: &RecordBatch,
        samples: usize,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let refused = |problem: String| ModelError::Graph { problem };
        let mut sampling = Self {
            scorer,
            output,
            columns,
            background: background.clone(),
            background_values: Vec::new(),
            base: 0.0,
            pairs: Vec::new(),
        };
        let (background, values, _) = sampling
            .accepted(background)
            .map_err(|error| refused(format!("the background rows cannot be scored: {error}")))?;
        if values.is_empty() {
            return Err(refused(
                "no background row can be scored; give at least one row of features without nulls in columns that the model wants complete".to_owned(),
            ));
        }
        sampling.base = values.iter().sum::<f64>() / values.len() as f64;
        let mut random = Random::new(seed);
        let mut queue: Vec<usize> = Vec::new();
        sampling.pairs = (0..(samples / 2).max(PAIRS_MIN))
            .map(|_| {
                if queue.is_empty() {
                    queue = random.order(values.len());
                }
                let background = queue.pop().unwrap_or(0);
                Pair { order: random.order(sampling.columns.len()), background }
            })
            .collect();
        sampling.background = background;
        sampling.background_values = values;
        Ok(sampling)
    }

    pub(super) fn base(&self) -> f64 {
        self.base
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "sampled Shapley values, {} walks per row over {} background rows, with their standard error",
            2 * self.pairs.len(),
            self.background_values.len()
        )
    }

    pub(super) fn explain(&self, features: &RecordBatch) -> Result<Sampled, ScoreError> {
        let (rows, values, rejected) = self.accepted(features)?;
        let width = self.columns.len();
        let mut contributions = vec![Vec::with_capacity(values.len()); width];
        let mut errors = Vec::with_capacity(values.len());
        let table = Table::of(&rows, &self.background)?;
        for (row, value) in values.iter().enumerate() {
            let (row, error) = self.row(&table, row, *value)?;
            for (to, contribution) in contributions.iter_mut().zip(row) {
                to.push(contribution);
            }
            errors.push(error);
        }
        Ok(Sampled { contributions, errors, rejected })
    }

    /// The model's columns of the rows that can be scored, with their scores.
    fn accepted(
        &self,
        features: &RecordBatch,
    ) -> Result<(RecordBatch, Vec<f64>, Vec<Rejected>), ScoreError> {
        let scored = self.scorer.score(features)?;
        let values = self.values(&scored.outputs)?;
        let columns = self
            .columns
            .iter()
            .filter_map(|name| Some((name, features.column_by_name(name)?.clone(), true)));
        let mut rows = RecordBatch::try_from_iter_with_nullable(columns)?;
        if !scored.rejected.is_empty() {
            let mut keep = vec![true; features.num_rows()];
            scored.rejected.iter().for_each(|rejected| keep[rejected.row] = false);
            rows = filter_record_batch(&rows, &BooleanArray::from(keep))?;
        }
        Ok((rows, values, scored.rejected))
    }

    fn values(&self, outputs: &RecordBatch) -> Result<Vec<f64>, ScoreError> {
        let column = cast(outputs.column(self.output), &DataType::Float64)?;
        Ok(column.as_primitive::<Float64Type>().values().to_vec())
    }

    /// Contributions of one row and their largest standard error.
    fn row(&self, table: &Table, row: usize, value: f64) -> Result<(Vec<f64>, f64), ScoreError> {
        let width = self.columns.len();
        let mut sums = vec![0f64; width];
        let mut squares = vec![0f64; width];
        let steps = width.saturating_sub(1);
        let pairs_at_once = (MIXED_ROWS_MAX / (2 * steps).max(1)).max(1);
        for pairs in self.pairs.chunks(pairs_at_once) {
            let mixed = self.mixed(table, row, pairs, steps)?;
            for (index, pair) in pairs.iter().enumerate() {
                let start = self.background_values[pair.background];
                let mut changes = vec![0f64; width];
                for (way, backwards) in [false, true].into_iter().enumerate() {
                    let from = (index * 2 + way) * steps;
                    let visited = mixed[from..from + steps].iter().copied().chain([value]);
                    let mut before = start;
                    for (step, after) in visited.enumerate() {
                        changes[pair.feature(step, backwards)] += (after - before) / 2.0;
                        before = after;
                    }
                }
                for ((sum, square), change) in sums.iter_mut().zip(&mut squares).zip(changes) {
                    *sum += change;
                    *square += change * change;
                }
            }
        }
        Ok(self.settle(sums, &squares, value))
    }

    /// Scores of the rows along the walks: by pair, forwards then backwards, by step.
    fn mixed(
        &self,
        table: &Table,
        row: usize,
        pairs: &[Pair],
        steps: usize,
    ) -> Result<Vec<f64>, ScoreError> {
        if steps == 0 {
            return Ok(Vec::new());
        }
        let width = self.columns.len();
        let count = pairs.len() * 2 * steps;
        let mut picks: Vec<Vec<u32>> = vec![Vec::with_capacity(count); width];
        for pair in pairs {
            let background = narrow(table.rows + pair.background);
            for backwards in [false, true] {
                for place in 0..width {
                    // It comes in at step `place`, so what is scored after step `place` has it.
                    let picks = &mut picks[pair.feature(place, backwards)];
                    picks.extend(std::iter::repeat_n(background, place.min(steps)));
                    picks.extend(std::iter::repeat_n(narrow(row), steps - place.min(steps)));
                }
            }
        }
        let columns = self.columns.iter().zip(&table.columns).zip(picks).map(
            |((name, column), picks)| -> Result<(&String, ArrayRef, bool), ScoreError> {
                Ok((name, take(column, &UInt32Array::from(picks), None)?, true))
            },
        );
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let scored = self.scorer.score(&RecordBatch::try_from_iter_with_nullable(columns)?)?;
        if let Some(rejected) = scored.rejected.first() {
            return Err(ScoreError::Evaluation {
                problem: format!(
                    "a row mixed from two accepted rows was rejected in column `{}`: {}",
                    rejected.column, rejected.reason
                ),
            });
        }
        self.values(&scored.outputs)
    }

    /// Means of the samples, corrected to add up, and the largest standard error.
    fn settle(&self, sums: Vec<f64>, squares: &[f64], value: f64) -> (Vec<f64>, f64) {
        let count = self.pairs.len() as f64;
        let mut means: Vec<f64> = sums.into_iter().map(|sum| sum / count).collect();
        let variances: Vec<f64> = means
            .iter()
            .zip(squares)
            .map(|(mean, square)| ((square / count - mean * mean) / (count - 1.0)).max(0.0))
            .collect();
        let missing = value - self.base - means.iter().sum::<f64>();
        let total: f64 = variances.iter().sum();
        let width = means.len() as f64;
        for (mean, variance) in means.iter_mut().zip(&variances) {
            *mean += missing * if total > 0.0 { variance / total } else { 1.0 / width };
        }
        (means, variances.into_iter().fold(0.0, f64::max).sqrt())
    }
}

impl Pair {
    /// The feature that comes in at a step.
    fn feature(&self, step: usize, backwards: bool) -> usize {
        self.order[if backwards { self.order.len() - 1 - step } else { step }]
    }
}

/// The explained rows and the background rows in one array per column.
struct Table {
    columns: Vec<ArrayRef>,
    /// Explained rows; the background follows.
    rows: usize,
}

impl Table {
    fn of(rows: &RecordBatch, background: &RecordBatch) -> Result<Self, ScoreError> {
        let columns = rows
            .columns()
            .iter()
            .zip(background.columns())
            .map(|(rows, background)| {
                let background: &dyn Array = background;
                let parts: [&dyn Array; 2] = [rows, background];
                Ok(concat(&parts)?)
            })
            .collect::<Result<Vec<_>, ScoreError>>()?;
        Ok(Self { columns, rows: rows.num_rows() })
    }
}

fn narrow(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
