//! Explaining every prediction of a run while it is made.
//!
//! The model's answers are taken apart into one contribution for each feature
//! ([`cameo_scoring::explain`]). Where the service stores them, the greatest ones of each row travel
//! with its predictions in the column `explanation`; over all rows they add up to the importance of
//! each feature, which is recorded with the generation.

mod background;
mod one;
pub(crate) mod sql;
mod tally;
mod text;

use std::sync::{Arc, Mutex, PoisonError};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, StringArray},
    compute::filter_record_batch,
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
};
use cameo_bundle::{ExplanationConfig, ExplanationMethod, ExplanationStore};
use cameo_domain::EXPLANATION_COLUMN;
use cameo_isolation::{Explainer, Fault};
use cameo_scoring::explain::{ExplainOptions, Explained, Method, Unit};
use cameo_store::{Store, explanations as stored};
use cameo_warehouse::{ReadOptions, Warehouse};
use tally::Tally;

pub use one::{Contribution, ExplainedCustomer, explain_one};

use crate::{
    error::{RunError, chain},
    plan::{ModelFiles, Plan, null_defaults},
};

/// How the predictions of one run are explained, and what they have added up to so far.
pub(crate) struct Explanations {
    explainer: Explainer,
    /// How many contributions each row keeps, where it keeps any.
    top_k: Option<usize>,
    cohorts: Vec<String>,
    /// The rows whose importance stands for all, where explaining every row would cost too much.
    sample: Option<RecordBatch>,
    tally: Mutex<Tally>,
}

impl Explanations {
    /// Gets ready to explain what the plan's model says; `None` where the release wants no
    /// explanations, where nobody asked and the model has no exact method, or where there are no
    /// customers yet.
    ///
    /// # Errors
    /// [`RunError::Halt`] where what `EXPLANATION_CONFIG` asks for cannot be done with this model.
    pub(crate) async fn prepare(
        plan: &Plan,
        files: Arc<ModelFiles>,
        store: &Store,
        warehouse: &dyn Warehouse,
        read: &ReadOptions,
    ) -> Result<Option<Self>, RunError> {
        let asked = plan.manifest.explanation.as_ref();
        let settings = asked.cloned().unwrap_or_else(unasked);
        // Of a service that ranks, a score is of a customer and an item; nothing of it is explained.
        if settings.store == ExplanationStore::None || plan.scorer().is_none() {
            return Ok(None);
        }
        // What nobody asked for must cost little: one made-up customer tells which method it would be.
        if asked.is_none() {
            let probe = background::made_up(&plan.feature_schema());
            let probe = load(plan, Arc::clone(&files), &probe, &settings).await?;
            if !probe.is_ok_and(|explainer| is_exact(explainer.about().method)) {
                return Ok(None);
            }
        }
        let rows = settings.background_rows;
        let background = background::of_release(plan, rows, store, warehouse, read).await?;
        if background.num_rows() == 0 {
            return Ok(None);
        }
        let explainer = match load(plan, files, &background, &settings).await? {
            Ok(explainer) => explainer,
            Err(problem) if asked.is_some() => {
                return Err(RunError::halt(
                    "explanation",
                    format!("the model cannot be explained as EXPLANATION_CONFIG says: {problem}"),
                ));
            }
            Err(problem) => {
                tracing::info!(service = %plan.manifest.path, reason = problem, "not explained");
                return Ok(None);
            }
        };
        Self::new(plan, explainer, &settings, background).map(Some)
    }

    fn new(
        plan: &Plan,
        explainer: Explainer,
        settings: &ExplanationConfig,
        background: RecordBatch,
    ) -> Result<Self, RunError> {
        let schema = plan.feature_schema();
        let cohorts = settings.cohorts.iter().map(|cohort| {
            let name = cohort.as_str();
            let field =
                schema.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name));
            field.map(|field| field.name().clone()).ok_or_else(|| {
                RunError::halt(
                    "cohort_missing",
                    format!("COHORTS names `{name}`, which features.sql does not give"),
                )
            })
        });
        let cohorts = cohorts.collect::<Result<Vec<_>, _>>()?;
        let top_k = (settings.store == ExplanationStore::Prediction)
            .then(|| usize::try_from(settings.top_k).unwrap_or(1));
        // A sampled explanation costs hundreds of evaluations of the model: where the rows keep
        // none, the customers of the background speak for all.
        let sample = (top_k.is_none() && !is_exact(explainer.about().method)).then_some(background);
        let tally = Mutex::new(Tally::new(explainer.about().columns.len(), cohorts.len()));
        Ok(Self { explainer, top_k, cohorts, sample, tally })
    }

    /// Explains the rows of `scored`, which were predicted from `features` row by row, and adds the
    /// column `explanation` where rows keep theirs.
    pub(crate) fn add(
        &self,
        scored: RecordBatch,
        features: &RecordBatch,
    ) -> Result<RecordBatch, RunError> {
        if self.sample.is_some() {
            return Ok(scored);
        }
        let (explained, features, accepted) = self.explain(features)?;
        self.count(&explained, &features)?;
        let Some(top_k) = self.top_k else { return Ok(scored) };
        let broken = |error: ArrowError| RunError::halt("explanation", chain(&error));
        let values = self.explained_columns(&features)?;
        let texts = text::top_k(&explained.contributions, &values, top_k).map_err(broken)?;
        with_texts(&scored, spread(texts, accepted.as_ref())).map_err(broken)
    }

    /// Contributions, the feature rows that have some, and which of all rows these are where some
    /// have none.
    fn explain(
        &self,
        features: &RecordBatch,
    ) -> Result<(Explained, RecordBatch, Option<BooleanArray>), RunError> {
        let explained = self.explainer.explain(features).map_err(|fault| match fault {
            Fault::Model(problem) => RunError::halt("explanation", problem),
            other => other.into(),
        })?;
        if explained.rejected.is_empty() {
            return Ok((explained, features.clone(), None));
        }
        let mut accepted = vec![true; features.num_rows()];
        for rejected in &explained.rejected {
            accepted[rejected.row] = false;
        }
        let accepted = BooleanArray::from(accepted);
        let features = filter_record_batch(features, &accepted)
            .map_err(|error| RunError::halt("explanation", chain(&error)))?;
        Ok((explained, features, Some(accepted)))
    }

    fn count(&self, explained: &Explained, features: &RecordBatch) -> Result<(), RunError> {
        let mut cohorts = Vec::with_capacity(self.cohorts.len());
        for name in &self.cohorts {
            cohorts.push(column(features, name)?);
        }
        let mut tally = Tally::new(explained.contributions.num_columns(), cohorts.len());
        tally
            .add(&explained.contributions, &cohorts, explained.error.as_deref())
            .map_err(|error| RunError::halt("explanation", chain(&error)))?;
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).merge(&tally);
        Ok(())
    }

    fn explained_columns<'a>(
        &self,
        features: &'a RecordBatch,
    ) -> Result<Vec<&'a ArrayRef>, RunError> {
        self.explainer.about().columns.iter().map(|name| column(features, name)).collect()
    }

    /// What holds before any row is explained.
    fn describe(&self) -> stored::Explanation {
        let about = self.explainer.about();
        stored::Explanation {
            method: method_word(about.method).to_owned(),
            description: about.description.clone(),
            output: about.output.clone(),
            unit: unit(about.unit),
            base_value: about.base_value,
            stored: self.top_k.is_some(),
            rows: 0,
            standard_error: None,
        }
    }

    /// What all rows have added up to.
    pub(crate) fn finish(&self) -> Result<stored::Importance, RunError> {
        if let Some(sample) = &self.sample {
            let (explained, features, _) = self.explain(sample)?;
            self.count(&explained, &features)?;
        }
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let features = &self.explainer.about().columns;
        let exact = is_exact(self.explainer.about().method);
        Ok(stored::Importance {
            explanation: stored::Explanation {
                rows: tally.rows(),
                standard_error: (!exact).then(|| tally.mean_error()),
                ..self.describe()
            },
            features: tally.importances(features),
            cohorts: tally.cohorts(&self.cohorts, features),
        })
    }
}

/// What a release without `EXPLANATION_CONFIG` gets, where it is exact.
fn unasked() -> ExplanationConfig {
    ExplanationConfig { store: ExplanationStore::OnDemand, ..ExplanationConfig::default() }
}

/// The explainer, or in words why the model has none.
async fn load(
    plan: &Plan,
    files: Arc<ModelFiles>,
    background: &RecordBatch,
    settings: &ExplanationConfig,
) -> Result<Result<Explainer, String>, RunError> {
    let (host, features) = (plan.host.clone(), plan.feature_schema());
    let (background, options) = (background.clone(), options(plan, settings));
    let defaults = null_defaults(&plan.manifest);
    let load =
        move || Explainer::load(&host, files.files(), &features, &background, &options, &defaults);
    let loaded = tokio::task::spawn_blocking(load)
        .await
        .map_err(|panic| RunError::halt("model_panicked", panic.to_string()))?;
    match loaded {
        Ok(explainer) => Ok(Ok(explainer)),
        Err(Fault::Model(problem)) => Ok(Err(problem)),
        Err(other) => Err(other.into()),
    }
}

fn options(plan: &Plan, settings: &ExplanationConfig) -> ExplainOptions {
    let default = ExplainOptions::default();
    // Of a classifier's probabilities the last one is that of the positive class.
    let outputs = plan.scoring.output_schema();
    let last = outputs.fields().iter().rfind(|field| field.data_type().is_floating());
    let last = last.map(|field| field.name().clone());
    let samples = settings.samples.and_then(|samples| usize::try_from(samples).ok());
    ExplainOptions {
        method: match settings.method {
            ExplanationMethod::Auto => Method::Auto,
            ExplanationMethod::TreePath => Method::TreePathDependent,
            ExplanationMethod::TreeInterventional => Method::TreeInterventional,
            ExplanationMethod::Linear => Method::Linear,
            ExplanationMethod::Kernel => Method::Kernel,
        },
        output: settings.output.clone().or(last),
        samples: samples.unwrap_or(default.samples),
        ..default
    }
}

fn is_exact(method: Method) -> bool {
    !matches!(method, Method::Kernel | Method::Auto)
}

/// The method as `EXPLANATION_CONFIG` spells it.
fn method_word(method: Method) -> &'static str {
    match method {
        Method::Auto => "AUTO",
        Method::TreePathDependent => "TREE_PATH",
        Method::TreeInterventional => "TREE_INTERVENTIONAL",
        Method::Linear => "LINEAR",
        Method::Kernel => "KERNEL",
    }
}

fn unit(unit: Unit) -> stored::Unit {
    match unit {
        Unit::Margin => stored::Unit::Margin,
        Unit::Output => stored::Unit::Output,
    }
}

/// The column of `explanation` in what the model's step gives.
pub(crate) fn field() -> Field {
    Field::new(EXPLANATION_COLUMN, DataType::Utf8, true)
}

/// The same rows with explanations that say nothing.
pub(crate) fn with_nothing(scored: &RecordBatch) -> Result<RecordBatch, RunError> {
    let mut fields = scored.schema_ref().fields().to_vec();
    fields.push(Arc::new(field()));
    let mut columns = scored.columns().to_vec();
    let nothing = std::iter::repeat_n(Some("[]"), scored.num_rows());
    columns.push(Arc::new(nothing.collect::<StringArray>()));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| RunError::halt("batch", chain(&error)))
}

fn column<'a>(features: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, RunError> {
    let fields = features.schema_ref().fields().iter();
    fields
        .zip(features.columns())
        .find(|(field, _)| field.name().eq_ignore_ascii_case(name))
        .map(|(_, column)| column)
        .ok_or_else(|| {
            RunError::halt("explanation", format!("the features have no column `{name}`"))
        })
}

/// Gives the rows without contributions a null.
fn spread(texts: StringArray, accepted: Option<&BooleanArray>) -> StringArray {
    let Some(accepted) = accepted else { return texts };
    let mut given = texts.iter();
    accepted
        .values()
        .iter()
        .map(|accepted| accepted.then(|| given.next().flatten()).flatten())
        .collect()
}

fn with_texts(scored: &RecordBatch, texts: StringArray) -> Result<RecordBatch, ArrowError> {
    let mut fields = scored.schema_ref().fields().to_vec();
    fields.push(Arc::new(field()));
    let mut columns = scored.columns().to_vec();
    columns.push(Arc::new(texts));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Whether `predictions.sql` gave the explanations as it got them: documents, if not the same ones.
pub(crate) fn check_documents(batch: &RecordBatch) -> Result<(), RunError> {
    let Some(texts) = batch.column_by_name(EXPLANATION_COLUMN) else { return Ok(()) };
    let Some(texts) = texts.as_any().downcast_ref::<StringArray>() else { return Ok(()) };
    for text in texts.iter().flatten() {
        if serde_json::from_str::<Vec<serde::de::IgnoredAny>>(text).is_err() {
            return Err(RunError::halt(
                "explanation_changed",
                format!(
                    "predictions.sql must give `{EXPLANATION_COLUMN}` as model_outputs has it, a \
                     JSON list; it gave `{}`",
                    text.chars().take(100).collect::<String>()
                ),
            ));
        }
    }
    Ok(())
}
