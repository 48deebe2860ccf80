//! The N best items per customer by a model of pairs: tiles of pairs through the scorer.
//!
//! A tile has all items for as many customers as fit, or some of the items for one customer. The
//! items' columns are the same in every tile and are laid out once per run; only the customers'
//! values are repeated. Scores of a tile are looked at and dropped, so memory does not depend on the
//! number of customers or pairs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::load::Ranking;
use super::ranked::Winners;
use super::select::{Best, Score};
use crate::error::{ModelError, ScoreError};

/// Pairs that are scored at once: enough to occupy a kernel, few enough for a core's second cache.
const TILE_PAIRS: usize = 16 * 1024;

/// The items, laid out for tiles.
#[derive(Debug)]
pub(super) struct Tiles {
    items: RecordBatch,
    /// The items repeated for each customer of a tile, where a tile holds all of them.
    repeated: RecordBatch,
    /// Customers of a tile.
    customers: usize,
    /// Items of a tile.
    width: usize,
}

impl Tiles {
    pub(super) fn new(items: RecordBatch) -> Result<Self, ModelError> {
        let count = items.num_rows();
        let width = count.min(TILE_PAIRS);
        let customers = (TILE_PAIRS / width.max(1)).max(1);
        let repeated = if count > TILE_PAIRS {
            items.clone()
        } else {
            let indices =
                UInt32Array::from_iter_values((0..customers).flat_map(|_| indices(0, count)));
            take_record_batch(&items, &indices).map_err(|error| ModelError::Graph {
                problem: format!("the items cannot be laid out: {error}"),
            })?
        };
        Ok(Self { items, repeated, customers, width })
    }

    /// The best items of each customer and the model's outputs for these pairs.
    pub(super) fn best(
        &self,
        ranking: &Ranking,
        customers: &RecordBatch,
    ) -> Result<(Winners, Vec<ArrayRef>), ScoreError> {
        let mut winners = Winners::default();
        let rows = customers.num_rows();
        if self.width > 0 {
            for from in (0..rows).step_by(self.customers) {
                let count = self.customers.min(rows - from);
                self.tile(ranking, customers, from, count, &mut winners)?;
            }
        }
        let outputs = self.outputs(ranking, customers, &winners)?;
        Ok((winners, outputs))
    }

    fn tile(
        &self,
        ranking: &Ranking,
        customers: &RecordBatch,
        from: usize,
        count: usize,
        winners: &mut Winners,
    ) -> Result<(), ScoreError> {
        let mut selections: Vec<Best<f64>> =
            (0..count).map(|_| Best::new(ranking.top_n())).collect();
        for first in (0..self.items.num_rows()).step_by(self.width) {
            let width = self.width.min(self.items.num_rows() - first);
            let own = customers.slice(from, count);
            let repeated = own.columns().iter().map(|column| repeat(column, width));
            let repeated = repeated.collect::<Result<Vec<_>, _>>()?;
            // Whole tiles start at item 0; a tile of some items has one customer.
            let items = self.repeated.slice(first, count * width);
            let pairs = joined(customers, repeated, &items)?;
            let scores = score(ranking, &pairs)?;
            offer(&scores, width, first, &mut selections);
        }
        for (row, selection) in selections.iter_mut().enumerate() {
            #[allow(clippy::cast_possible_truncation, reason = "batches have far fewer rows")]
            winners.add((from + row) as u32, selection.take().map(|(_, item)| item));
        }
        Ok(())
    }

    /// The model's outputs for the pairs that rank; rows do not depend on each other, so scoring
    /// them again gives the scores by which they were chosen.
    fn outputs(
        &self,
        ranking: &Ranking,
        customers: &RecordBatch,
        winners: &Winners,
    ) -> Result<Vec<ArrayRef>, ScoreError> {
        let schema = ranking.joint.scorer.output_schema();
        let mut chunks: Vec<RecordBatch> = Vec::new();
        for from in (0..winners.items.len()).step_by(TILE_PAIRS) {
            let to = winners.items.len().min(from + TILE_PAIRS);
            let pick = |batch: &RecordBatch, rows: &[u32]| {
                take_record_batch(batch, &UInt32Array::from(rows.to_vec()))
            };
            let own = pick(customers, &winners.customers[from..to])?;
            let items = pick(&self.items, &winners.items[from..to])?;
            let pairs = joined(customers, own.columns().to_vec(), &items)?;
            chunks.push(scored(ranking, &pairs)?);
        }
        Ok(arrow::compute::concat_batches(&schema, &chunks)?.columns().to_vec())
    }
}

fn indices(from: usize, to: usize) -> impl Iterator<Item = u32> {
    #[allow(clippy::cast_possible_truncation, reason = "the number of items is a u32")]
    (from..to).map(|index| index as u32)
}

/// Each value `times` times.
fn repeat(column: &ArrayRef, times: usize) -> Result<ArrayRef, ScoreError> {
    if let Some(floats) =
        column.as_primitive_opt::<Float32Type>().filter(|floats| floats.null_count() == 0)
    {
        let mut values = Vec::with_capacity(floats.len() * times);
        for value in floats.values() {
            values.resize(values.len() + times, *value);
        }
        return Ok(Arc::new(Float32Array::from(values)));
    }
    let rows = indices(0, column.len()).flat_map(|row| std::iter::repeat_n(row, times));
    Ok(take(column, &UInt32Array::from_iter_values(rows), None)?)
}

/// Customer columns and item columns side by side.
fn joined(
    customers: &RecordBatch,
    columns: Vec<ArrayRef>,
    items: &RecordBatch,
) -> Result<RecordBatch, ScoreError> {
    let (own, other) = (customers.schema(), items.schema());
    let fields: Vec<_> = own.fields().iter().chain(other.fields()).cloned().collect();
    let columns = columns.into_iter().chain(items.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
}

fn scored(ranking: &Ranking, pairs: &RecordBatch) -> Result<RecordBatch, ScoreError> {
    let scored = ranking.joint.score(pairs)?;
    match scored.rejected.first() {
        None => Ok(scored.outputs),
        // The parts of both sides give no nulls.
        Some(rejected) => Err(ScoreError::Evaluation {
            problem: format!("`{}`: {}", rejected.column, rejected.reason),
        }),
    }
}

pub(super) fn score(ranking: &Ranking, pairs: &RecordBatch) -> Result<ArrayRef, ScoreError> {
    Ok(ArrayRef::clone(scored(ranking, pairs)?.column(ranking.score)))
}

/// Offers the scores of a tile, `width` of each customer in turn.
fn offer(scores: &ArrayRef, width: usize, first: usize, selections: &mut [Best<f64>]) {
    match scores.data_type() {
        DataType::Float32 => {
            offer_values(scores.as_primitive::<Float32Type>().values(), width, first, selections);
        }
        _ => offer_values(scores.as_primitive::<Float64Type>().values(), width, first, selections),
    }
}

fn offer_values<S: Score + Into<f64>>(
    scores: &[S],
    width: usize,
    first: usize,
    selections: &mut [Best<f64>],
) {
    for (selection, scores) in selections.iter_mut().zip(scores.chunks_exact(width)) {
        for (item, score) in indices(first, first + width).zip(scores) {
            selection.offer((*score).into(), item);
        }
    }
}

/// Every customer with every item, for few of both.
pub(super) fn product(
    customers: &RecordBatch,
    items: &RecordBatch,
) -> Result<RecordBatch, ScoreError> {
    let width = items.num_rows();
    let repeated = customers.columns().iter().map(|column| repeat(column, width));
    let repeated = repeated.collect::<Result<Vec<_>, _>>()?;
    let rows = (0..customers.num_rows()).flat_map(|_| indices(0, width));
    let items = take_record_batch(items, &UInt32Array::from_iter_values(rows))?;
    joined(customers, repeated, &items)
}

/// Scores as doubles.
pub(super) fn doubles(scores: &ArrayRef) -> Result<Vec<f64>, ScoreError> {
    Ok(cast(scores, &DataType::Float64)?.as_primitive::<Float64Type>().values().to_vec())
}
