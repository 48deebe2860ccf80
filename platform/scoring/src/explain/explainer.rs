//! The explainer: a model with the method that explains it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::options::{ExplainOptions, Method, Unit};
use super::output;
use super::sampling::Sampling;
use crate::accept::Rejected;
use crate::error::{ModelError, ScoreError};
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::scorer::Scorer;

/// Most walks per row that the sampling method may be asked for.
const SAMPLES_MAX: usize = 1 << 20;
/// Most background rows; more would make no contribution more exact than a float is.
const BACKGROUND_ROWS_MAX: usize = 1 << 20;

/// A model that is checked, compiled and ready to be explained.
///
/// Explaining takes `&self` and no lock: share one explainer between all threads.
#[derive(Debug)]
pub struct Explainer {
    engine: Engine,
    schema: SchemaRef,
    output: String,
    /// Why a better method was not taken; empty when the method is the best or was asked for.
    instead: String,
}

#[derive(Debug)]
enum Engine {
    Sampling(Sampling),
}

/// What came of a batch.
#[derive(Debug, Clone)]
pub struct Explained {
    /// One `Float32` column per feature column that the model reads, named as it; one row per
    /// accepted row of the batch, in order.
    pub contributions: RecordBatch,
    /// Standard error per row, the largest among its features; `None` where contributions are exact.
    pub error: Option<Vec<f32>>,
    /// Rows of the batch that are not among the contributions, in ascending order.
    pub rejected: Vec<Rejected>,
}

impl Explainer {
    /// Checks a model and prepares the method that explains it.
    ///
    /// `model`, `preprocess`, `features` and `limits` are those of [`Scorer::load`]. `background` holds
    /// rows with the feature columns, as the SQL gives them: the customers against whom a score is
    /// explained. A few hundred drawn at random do.
    ///
    /// # Errors
    /// [`ModelError`] when the model is refused, when the asked method does not hold for it, when the
    /// output to explain is not clear, or when there is no usable background row.
    pub fn load(
        model: &[u8],
        preprocess: Option<&[u8]>,
        features: &Schema,
        background: &RecordBatch,
        options: &ExplainOptions,
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        within("the number of samples per row", options.samples, SAMPLES_MAX)?;
        within("the number of background rows", background.num_rows(), BACKGROUND_ROWS_MAX)?;
        let graph = Graph::read(model, limits)?;
        let first = preprocess.map(|bytes| Graph::read(bytes, limits)).transpose()?;
        let scorer = Scorer::of(&graph, first.as_ref(), features, limits)?;
        let columns = distinct(scorer.input_columns());
        let outputs = scorer.output_schema();
        let output = output::choose(&outputs, options.output.as_deref())?;
        let name = outputs.field(output).name().clone();
        let schema = contributions_schema(&columns);
        if !matches!(options.method, Method::Auto | Method::Kernel) {
            return Err(ModelError::Graph {
                problem: format!(
                    "{} does not hold for this model; use the automatic method",
                    options.method
                ),
            });
        }
        let sampling =
            Sampling::new(scorer, output, columns, background, options.samples, options.seed)?;
        let engine = Engine::Sampling(sampling);
        Ok(Self { engine, schema, output: name, instead: String::new() })
    }

    /// The method that was chosen, never [`Method::Auto`].
    #[must_use]
    pub fn method(&self) -> Method {
        match &self.engine {
            Engine::Sampling(_) => Method::Kernel,
        }
    }

    /// The method and what it rests on, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let method = match &self.engine {
            Engine::Sampling(sampling) => sampling.describe(),
        };
        if self.instead.is_empty() { method } else { format!("{method} ({})", self.instead) }
    }

    /// What contributions and base value are measured in.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match &self.engine {
            Engine::Sampling(_) => Unit::Output,
        }
    }

    /// The output column that is explained.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Feature columns that the model reads, in the order of the contributions.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The explained output of the background, to which contributions are added.
    #[must_use]
    pub fn base_value(&self) -> f64 {
        match &self.engine {
            Engine::Sampling(sampling) => sampling.base(),
        }
    }

    /// Explains every row of a batch; one row is a batch too. Columns are found by name.
    ///
    /// # Errors
    /// [`ScoreError`] as [`Scorer::score`].
    pub fn explain(&self, features: &RecordBatch) -> Result<Explained, ScoreError> {
        match &self.engine {
            Engine::Sampling(sampling) => {
                let sampled = sampling.explain(features)?;
                let columns = sampled.contributions.into_iter().map(single).collect();
                Ok(Explained {
                    contributions: self.batch(columns, sampled.errors.len())?,
                    error: Some(single(sampled.errors)),
                    rejected: sampled.rejected,
                })
            }
        }
    }

    fn batch(&self, columns: Vec<Vec<f32>>, rows: usize) -> Result<RecordBatch, ScoreError> {
        let columns = columns
            .into_iter()
            .map(|column| -> ArrayRef { Arc::new(Float32Array::from(column)) })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}

fn within(what: &str, found: usize, limit: usize) -> Result<(), ModelError> {
    if found <= limit {
        return Ok(());
    }
    Err(ModelError::Limit { what: what.to_owned(), found: found as u64, limit: limit as u64 })
}

fn contributions_schema(columns: &[String]) -> SchemaRef {
    let field = |name: &String| Field::new(name, DataType::Float32, false);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Columns without repetitions: one column may feed two places of a model.
fn distinct(columns: Vec<String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        if !distinct.contains(&column) {
            distinct.push(column);
        }
    }
    distinct
}

#[allow(clippy::cast_possible_truncation, reason = "contributions are 32-bit floats")]
fn single(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32).collect()
}
