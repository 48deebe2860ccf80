//! Ranking batches of customers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Float32Type;

use super::dot::{Level, Panels};
use super::items::Items;
use super::load::{Dot, Method, Ranking};
use super::pairs::Tiles;
use super::tail;
use crate::accept::Rejected;
use crate::error::{ModelError, ScoreError};

/// A model with the items of a run.
///
/// Ranking takes `&self` and no lock: share one ranker between all threads.
#[derive(Debug)]
pub struct Ranker {
    ranking: Arc<Ranking>,
    keys: ArrayRef,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Dot(Panels),
    Pairs(Tiles),
}

/// What came of a batch of customers.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// For each row, the customer's index in the batch; ascending.
    pub customers: Vec<u32>,
    /// The rows of each customer, best first; columns as [`Ranking::output_schema`], ranks from 1.
    pub rows: RecordBatch,
    /// Customers of the batch without rows, in ascending order.
    pub rejected: Vec<Rejected>,
}

/// Pairs that rank, customer by customer, best first.
#[derive(Debug, Default)]
pub(super) struct Winners {
    /// Index among the accepted customers.
    pub(super) customers: Vec<u32>,
    pub(super) ranks: Vec<i64>,
    /// Index among the sorted items.
    pub(super) items: Vec<u32>,
}

impl Winners {
    pub(super) fn add(&mut self, customer: u32, items: impl Iterator<Item = u32>) {
        for (rank, item) in (1..).zip(items) {
            self.customers.push(customer);
            self.ranks.push(rank);
            self.items.push(item);
        }
    }
}

impl Ranker {
    pub(super) fn new(ranking: Arc<Ranking>, items: Items) -> Result<Self, ModelError> {
        let refused = |problem: String| ModelError::Graph { problem };
        let count = u32::try_from(items.keys.len()).map_err(|_| ModelError::Limit {
            what: "the number of items".to_owned(),
            found: items.keys.len() as u64,
            limit: u64::from(u32::MAX),
        })?;
        let scored =
            ranking.item.score(&items.rows).map_err(|error| refused(format!("items: {error}")))?;
        if let Some(rejected) = scored.rejected.first() {
            let key = arrow::util::display::array_value_to_string(&items.keys, rejected.row);
            return Err(refused(format!(
                "item `{}` cannot be scored: `{}`: {}",
                key.unwrap_or_default(),
                rejected.column,
                rejected.reason
            )));
        }
        let way = match &ranking.method {
            Method::Dot(dot) => {
                let columns = floats(&scored.outputs, &dot.item);
                let biases = dot.item_bias.map(|at| floats(&scored.outputs, &[at])[0]);
                Way::Dot(Panels::pack(Level::best(), &columns, biases, count))
            }
            Method::Pairs => Way::Pairs(Tiles::new(scored.outputs)?),
        };
        Ok(Self { ranking, keys: items.keys, way })
    }

    /// How many items there are.
    #[must_use]
    pub fn items(&self) -> usize {
        self.keys.len()
    }

    /// Ranks the items for each customer of a batch. Columns are found by name; others are ignored.
    ///
    /// A customer that lacks a value which the model needs, or for whom no item has a finite score,
    /// has no rows and is among [`Ranked::rejected`].
    ///
    /// # Errors
    /// [`ScoreError`] when a column is missing or of another type than at load, or when the model
    /// fails on the values.
    pub fn rank(&self, customers: &RecordBatch) -> Result<Ranked, ScoreError> {
        let scored = self.ranking.customer.score(customers)?;
        let mut rejected = scored.rejected;
        let accepted = accepted(customers.num_rows(), &rejected);
        let (winners, outputs) = match (&self.way, &self.ranking.method) {
            (Way::Dot(panels), Method::Dot(dot)) => self.by_dot(panels, dot, &scored.outputs),
            (Way::Pairs(tiles), _) => tiles.best(&self.ranking, &scored.outputs)?,
            (Way::Dot(_), Method::Pairs) => unreachable!("the way follows the method"),
        };
        let mut ranked = vec![false; accepted.len()];
        for customer in &winners.customers {
            ranked[*customer as usize] = true;
        }
        for (at, _) in ranked.iter().enumerate().filter(|(_, ranked)| !**ranked) {
            rejected.push(self.without_rows(accepted[at] as usize));
        }
        rejected.sort_by_key(|rejected| rejected.row);
        let items = UInt32Array::from(winners.items);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(winners.ranks)), take(&self.keys, &items, None)?];
        columns.extend(outputs);
        Ok(Ranked {
            customers: winners.customers.iter().map(|at| accepted[*at as usize]).collect(),
            rows: RecordBatch::try_new(self.ranking.output_schema(), columns)?,
            rejected,
        })
    }

    fn without_rows(&self, row: usize) -> Rejected {
        let outputs = self.ranking.joint.scorer.output_schema();
        Rejected {
            row,
            column: outputs.field(self.ranking.score).name().clone(),
            reason: if self.keys.is_empty() {
                "there is no item to rank".to_owned()
            } else {
                "no item has a finite score for this customer".to_owned()
            },
        }
    }

    fn by_dot(
        &self,
        panels: &Panels,
        dot: &Dot,
        customers: &RecordBatch,
    ) -> (Winners, Vec<ArrayRef>) {
        let columns = floats(customers, &dot.customer);
        let cuts: Vec<&[f32]> =
            floats(customers, &(0..customers.num_columns()).collect::<Vec<_>>());
        let mut winners = Winners::default();
        let mut scores: Vec<f32> = Vec::new();
        let rows = customers.num_rows();
        panels.best(&columns, rows, self.ranking.top_n(), |row, best| {
            let value = |cut: usize| cuts[dot.cut_columns[cut]][row];
            let from = scores.len();
            scores.extend(
                best.as_slice().iter().map(|(product, _)| tail::apply(&dot.steps, *product, value)),
            );
            // A bias that is not finite, or a scale that overflows: such a score says nothing.
            let finite = scores[from..].iter().take_while(|score| score.is_finite()).count();
            scores.truncate(from + finite);
            #[allow(clippy::cast_possible_truncation, reason = "batches have far fewer rows")]
            winners.add(row as u32, best.take(finite).map(|(_, item)| item));
        });
        (winners, vec![Arc::new(Float32Array::from(scores))])
    }
}

/// Rows of a batch that are not rejected.
fn accepted(rows: usize, rejected: &[Rejected]) -> Vec<u32> {
    let mut kept = vec![true; rows];
    for rejected in rejected {
        kept[rejected.row] = false;
    }
    (0..).zip(kept).filter(|(_, kept)| *kept).map(|(row, _)| row).collect()
}

/// The values of float columns; a column of another type has none.
fn floats<'a>(batch: &'a RecordBatch, columns: &[usize]) -> Vec<&'a [f32]> {
    columns
        .iter()
        .map(|at| {
            batch
                .column(*at)
                .as_primitive_opt::<Float32Type>()
                .map_or(&[][..], |column| column.values())
        })
        .collect()
}
