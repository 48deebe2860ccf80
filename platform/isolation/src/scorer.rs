//! A scorer, wherever it works.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use cameo_scoring::{LoadOptions, NullDefaults, Scored, ScoringLimits};

use crate::{
    Fault, Files, Host,
    host::unasked,
    message::{Answer, Request},
    object::{Object, encoded_schema, only, schema_of},
};

/// The next thing that a child loads, whichever child.
static OBJECTS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn next_object() -> u64 {
    OBJECTS.fetch_add(1, Ordering::Relaxed)
}

/// A [`cameo_scoring::Scorer`] in a host.
#[derive(Debug)]
pub struct Scorer(At);

#[derive(Debug)]
enum At {
    Here(Box<cameo_scoring::Scorer>),
    Apart { object: Object, input_columns: Vec<String>, outputs: SchemaRef },
}

/// How models are loaded: the default bounds, and what stands for nulls.
pub(crate) fn load_options(null_defaults: &NullDefaults) -> LoadOptions {
    LoadOptions { limits: ScoringLimits::default(), null_defaults: null_defaults.clone() }
}

impl Scorer {
    /// As [`cameo_scoring::Scorer::load_with`], under the default limits.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn load(
        host: &Host,
        files: Files<'_>,
        features: &Schema,
        null_defaults: &NullDefaults,
    ) -> Result<Self, Fault> {
        let Some(process) = &host.process else {
            let options = load_options(null_defaults);
            let Files { model, preprocess } = files;
            let scorer = cameo_scoring::Scorer::load_with(model, preprocess, features, &options)
                .map_err(|error| Fault::of_model(&error))?;
            return Ok(Self(At::Here(Box::new(scorer))));
        };
        let number = next_object();
        let request = Request::LoadScorer { object: number, null_defaults: null_defaults.clone() };
        let features = encoded_schema(features)?;
        let mut parts: Vec<&[u8]> = vec![&features, files.model];
        parts.extend(files.preprocess);
        match process.ask(&request, &parts)? {
            (Answer::Scorer { input_columns }, parts) => {
                let outputs = schema_of(process, parts)?;
                let object = Object { process: Arc::clone(process), number };
                Ok(Self(At::Apart { object, input_columns, outputs }))
            }
            (other, _) => Err(unasked(process, &other)),
        }
    }

    /// Names of the feature columns that the model reads, in the order in which it reads them.
    #[must_use]
    pub fn input_columns(&self) -> Vec<String> {
        match &self.0 {
            At::Here(scorer) => scorer.input_columns(),
            At::Apart { input_columns, .. } => input_columns.clone(),
        }
    }

    /// Columns of what [`Scorer::score`] gives.
    #[must_use]
    pub fn output_schema(&self) -> SchemaRef {
        match &self.0 {
            At::Here(scorer) => scorer.output_schema(),
            At::Apart { outputs, .. } => SchemaRef::clone(outputs),
        }
    }

    /// Scores a batch, as [`cameo_scoring::Scorer::score`]. Share one scorer between all threads.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn score(&self, features: &RecordBatch) -> Result<Scored, Fault> {
        let (object, input_columns, outputs) = match &self.0 {
            At::Here(scorer) => {
                return scorer.score(features).map_err(|error| Fault::of_model(&error));
            }
            At::Apart { object, input_columns, outputs } => (object, input_columns, outputs),
        };
        let request = Request::Score { scorer: object.number };
        let read = only(features, input_columns)?;
        let (answer, found, _) = object.ask(&request, &read, outputs)?;
        let Answer::Scored { rejected } = answer else { return Err(object.unasked(&answer)) };
        object.check(&rejected, features.num_rows())?;
        if found.num_rows() + rejected.len() != features.num_rows() {
            return Err(object.unsound("it gave another number of rows than it took"));
        }
        Ok(Scored { outputs: found, rejected })
    }
}
