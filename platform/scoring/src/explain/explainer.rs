//! The explainer: a model with the method that explains it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::exact::{Exact, Wish};
use super::front::Parts;
use super::options::{ExplainOptions, Method, Unit};
use super::output;
use super::sampling::Sampling;
use super::terminal::Terminal;
use super::trees::Covers;
use crate::accept::Rejected;
use crate::error::{ModelError, ScoreError};
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::scorer::{LoadOptions, Scorer};

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
    Exact(Box<Exact>),
    Sampling(Box<Sampling>),
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
        let load = LoadOptions { limits: limits.clone(), ..LoadOptions::default() };
        Self::load_with(model, preprocess, features, background, options, &load)
    }

    /// As [`Explainer::load`], with values that stand for nulls in the rows and in the background:
    /// `load` are the options of [`Scorer::load_with`].
    ///
    /// # Errors
    /// As [`Explainer::load`], and [`ModelError::NullDefault`] for a default that fits no column.
    pub fn load_with(
        model: &[u8],
        preprocess: Option<&[u8]>,
        features: &Schema,
        background: &RecordBatch,
        options: &ExplainOptions,
        load: &LoadOptions,
    ) -> Result<Self, ModelError> {
        Self::prepare(model, preprocess, features, background, (options, None), load)
    }

    /// As [`Explainer::load`] for path-dependent contributions to a tree ensemble, with the rows that
    /// its trainer counted in each node.
    ///
    /// # Errors
    /// As [`Explainer::load`], and when the covers do not fit the trees.
    pub fn load_with_covers(
        model: &[u8],
        preprocess: Option<&[u8]>,
        features: &Schema,
        background: &RecordBatch,
        covers: &Covers,
        options: &ExplainOptions,
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        let options = ExplainOptions { method: Method::TreePathDependent, ..options.clone() };
        let load = LoadOptions { limits: limits.clone(), ..LoadOptions::default() };
        Self::prepare(model, preprocess, features, background, (&options, Some(covers)), &load)
    }

    fn prepare(
        model: &[u8],
        preprocess: Option<&[u8]>,
        features: &Schema,
        background: &RecordBatch,
        (options, covers): (&ExplainOptions, Option<&Covers>),
        LoadOptions { limits, null_defaults }: &LoadOptions,
    ) -> Result<Self, ModelError> {
        within("the number of samples per row", options.samples, SAMPLES_MAX)?;
        within("the number of background rows", background.num_rows(), BACKGROUND_ROWS_MAX)?;
        let graph = Graph::read(model, limits)?;
        let first = preprocess.map(|bytes| Graph::read(bytes, limits)).transpose()?;
        let scorer = Scorer::of(&graph, first.as_ref(), features, limits)?
            .with_null_defaults(null_defaults, features)?;
        let columns = distinct(scorer.input_columns());
        let outputs = scorer.output_schema();
        let output = output::choose(&outputs, options.output.as_deref())?;
        let name = outputs.field(output).name().clone();
        let schema = contributions_schema(&columns);
        let mut instead = String::new();
        if options.method != Method::Kernel {
            let parts = Parts {
                graph: &graph,
                first: first.as_ref(),
                features,
                limits,
                null_defaults,
                columns: &columns,
            };
            let wish =
                Wish { method: options.method, table_bytes_max: options.table_bytes_max, covers };
            let exact = port_of(&scorer, output)
                .and_then(|(port, score)| Terminal::find(&graph, &port, score))
                .and_then(|terminal| Exact::new(&parts, &terminal, background, &wish));
            match exact {
                Ok(exact) => {
                    let engine = Engine::Exact(Box::new(exact));
                    return Ok(Self { engine, schema, output: name, instead });
                }
                Err(reason) if options.method == Method::Auto => {
                    instead = format!("no exact method holds: {reason}");
                }
                Err(reason) => {
                    return Err(ModelError::Graph {
                        problem: format!(
                            "{} does not hold for this model: {reason}; take the automatic method, which explains every model",
                            options.method
                        ),
                    });
                }
            }
        }
        let sampling =
            Sampling::new(scorer, output, columns, background, options.samples, options.seed)?;
        Ok(Self { engine: Engine::Sampling(Box::new(sampling)), schema, output: name, instead })
    }

    /// The method that was chosen, never [`Method::Auto`].
    #[must_use]
    pub fn method(&self) -> Method {
        match &self.engine {
            Engine::Exact(exact) => exact.method,
            Engine::Sampling(_) => Method::Kernel,
        }
    }

    /// The method and what it rests on, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let method = match &self.engine {
            Engine::Exact(exact) => exact.describe(),
            Engine::Sampling(sampling) => sampling.describe(),
        };
        if self.instead.is_empty() { method } else { format!("{method} ({})", self.instead) }
    }

    /// What contributions and base value are measured in.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match &self.engine {
            Engine::Exact(exact) => exact.unit,
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
            Engine::Exact(exact) => exact.base,
            Engine::Sampling(sampling) => sampling.base(),
        }
    }

    /// Explains every row of a batch; one row is a batch too. Columns are found by name.
    ///
    /// # Errors
    /// [`ScoreError`] as [`Scorer::score`].
    pub fn explain(&self, features: &RecordBatch) -> Result<Explained, ScoreError> {
        match &self.engine {
            Engine::Exact(exact) => {
                let found = exact.explain(features, self.schema.fields().len())?;
                Ok(Explained {
                    contributions: self.batch(found.columns, found.rows)?,
                    error: None,
                    rejected: found.rejected,
                })
            }
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

/// Name of the output that an output column belongs to, and the column's place in it.
fn port_of(scorer: &Scorer, column: usize) -> Result<(String, usize), String> {
    let mut start = 0;
    for port in scorer.output_ports() {
        let width = port.columns().map_or(1, |columns| columns.len());
        if column < start + width {
            return Ok((port.name.clone(), column - start));
        }
        start += width;
    }
    Err("its score belongs to no output".to_owned())
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
