//! The scorer: a model bound to feature columns.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::accept::{Rejected, Strings, accept};
use crate::bind::{self, BoundColumn, BoundInput};
use crate::defaults::NullDefaults;
use crate::error::{ModelError, ScoreError};
use crate::fused::Fused;
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::outputs::Outputs;
use crate::session::Session;
use crate::signature::Port;
use crate::stages::Stages;

/// A model that is checked, compiled and bound to the columns that feed it.
///
/// Scoring takes `&self` and no lock: share one scorer between all threads.
#[derive(Debug)]
pub struct Scorer {
    inputs: Vec<BoundInput>,
    engine: Engine,
    outputs: Outputs,
}

#[derive(Debug)]
pub(crate) enum Engine {
    /// Straight over the columns.
    Fused(Fused),
    /// On the general runtime.
    Stages(Stages),
}

/// What a model is held to and what stands for nulls.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Bounds of the model.
    pub limits: ScoringLimits,
    /// What stands for a null, by feature column. A column without one gives NaN to a float input and
    /// loses the row for any other.
    pub null_defaults: NullDefaults,
}

/// What came of a batch.
#[derive(Debug, Clone)]
pub struct Scored {
    /// One row per accepted row of the batch, in order; columns as [`Scorer::output_schema`].
    pub outputs: RecordBatch,
    /// Rows of the batch that are not in the outputs, in ascending order.
    pub rejected: Vec<Rejected>,
}

impl Scorer {
    /// Checks and compiles a model, with an optional preprocess model in front, for feature columns.
    ///
    /// `features` are the columns of the SQL without the key. The preprocess model's outputs feed the
    /// model's inputs by name, or its only output the only input; without one, features do (see the
    /// crate's page for types and for the order of a matrix).
    ///
    /// # Errors
    /// [`ModelError`] names the operator and node, the input, or the column, and what to do.
    pub fn load(
        model: &[u8],
        preprocess: Option<&[u8]>,
        features: &Schema,
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        let options = LoadOptions { limits: limits.clone(), ..LoadOptions::default() };
        Self::load_with(model, preprocess, features, &options)
    }

    /// As [`Scorer::load`], with values that stand for nulls.
    ///
    /// # Errors
    /// As [`Scorer::load`], and [`ModelError::NullDefault`] for a default that fits no column.
    pub fn load_with(
        model: &[u8],
        preprocess: Option<&[u8]>,
        features: &Schema,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        let limits = &options.limits;
        let graph = Graph::read(model, limits)?;
        let first = preprocess.map(|bytes| Graph::read(bytes, limits)).transpose()?;
        let scorer = Self::of(&graph, first.as_ref(), features, limits)?;
        scorer.with_null_defaults(&options.null_defaults, features)
    }

    /// Puts values in the place of nulls; each must belong to a column that the model reads.
    pub(crate) fn with_null_defaults(
        mut self,
        declared: &NullDefaults,
        features: &Schema,
    ) -> Result<Self, ModelError> {
        bind::defaults(&mut self.inputs, declared, features)?;
        Ok(self)
    }

    /// As [`Scorer::with_null_defaults`] for a part of a model, which may read fewer columns.
    pub(crate) fn with_null_defaults_of_part(
        mut self,
        declared: &NullDefaults,
    ) -> Result<Self, ModelError> {
        bind::defaults_of_part(&mut self.inputs, declared)?;
        Ok(self)
    }

    /// Compiles checked graphs; see [`Scorer::load`].
    pub(crate) fn of(
        graph: &Graph,
        first: Option<&Graph>,
        features: &Schema,
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        let entry = first.unwrap_or(graph);
        let inputs = bind::inputs(&entry.inputs, entry.feature_names.as_deref(), features)?;
        let bound: Vec<Port> = inputs.iter().map(|input| input.port.clone()).collect();
        // A fused graph costs a row at most one step per weight; the runtime refuses what costs more.
        let weights = [Some(graph), first].into_iter().flatten().map(Graph::constant_values).sum();
        let fused = if limits.row_steps_max < weights {
            None
        } else {
            Fused::recognise(graph, first, &bound)?
        };
        let (engine, ports) = if let Some(fused) = fused {
            let ports = fused.ports.clone();
            (Engine::Fused(fused), ports)
        } else {
            let (stages, ports) = Stages::compile(graph, first, &inputs, limits)?;
            (Engine::Stages(stages), ports)
        };
        Ok(Self { inputs, engine, outputs: Outputs::new(ports, limits)? })
    }

    /// Columns of [`Scored::outputs`].
    #[must_use]
    pub fn output_schema(&self) -> SchemaRef {
        self.outputs.schema()
    }

    /// The model's outputs, with their widths.
    pub(crate) fn output_ports(&self) -> &[Port] {
        self.outputs.ports()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// A session that scores rows one by one.
    #[must_use]
    pub fn session(&self) -> Session<'_> {
        Session::of(self)
    }

    /// Names of the feature columns that the model reads, in the order in which it reads them.
    #[must_use]
    pub fn input_columns(&self) -> Vec<String> {
        self.columns().map(|column| column.name.clone()).collect()
    }

    /// How batches are evaluated, in words: fused or trees straight over the columns with the instructions
    /// that run them, or the general runtime.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.engine {
            Engine::Fused(fused) => fused.describe(),
            Engine::Stages(stages) => stages.describe(),
        }
    }

    /// Scores a batch. Its columns are found by name; columns that the model does not read are ignored.
    ///
    /// # Errors
    /// [`ScoreError`] when a column is missing or of another type than at load, or when the model
    /// fails on the values.
    pub fn score(&self, features: &RecordBatch) -> Result<Scored, ScoreError> {
        let strings = match &self.engine {
            Engine::Fused(_) => Strings::AsGiven,
            Engine::Stages(_) => Strings::Plain,
        };
        let (columns, rejected) = accept(self.columns(), features, strings)?;
        let rows = features.num_rows() - rejected.len();
        let outputs = match &self.engine {
            Engine::Fused(fused) => fused.score(&columns, rows)?,
            Engine::Stages(stages) => stages.score(&columns, &self.outputs, rows)?,
        };
        Ok(Scored { outputs: self.outputs.batch(outputs, rows)?, rejected })
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = &BoundColumn> {
        self.inputs.iter().flat_map(|input| &input.columns)
    }
}
