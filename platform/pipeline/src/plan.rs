//! Matching the steps of a run before anything runs.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use cameo_batch::is_assignable;
use cameo_bundle::{NullDefault as Declared, ReleaseManifest};
use cameo_domain::{EXPLANATION_COLUMN, PredictionSchema, Sha256, TenantName};
use cameo_isolation::{Files, Host, Scorer};
use cameo_scoring::{NullDefault, NullDefaults};
use cameo_warehouse::{Parameters, PostProcess, Query, QueryDescription, TableStats, Warehouse};

use chrono::{DateTime, Utc};

use crate::{
    error::{RunError, chain},
    explain,
    ranking::RankingStep,
    rows,
};

/// The bytes of a release's model.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// `MODEL_PATH`.
    pub model: Vec<u8>,
    /// `PREPROCESS_OBJECT_PATH`, where given.
    pub preprocess: Option<Vec<u8>>,
}

impl ModelFiles {
    pub(crate) fn files(&self) -> Files<'_> {
        Files { model: &self.model, preprocess: self.preprocess.as_deref() }
    }
}

/// What makes predictions of features.
pub(crate) enum Scoring {
    /// One row per customer.
    Rows(Arc<Scorer>),
    /// The best items of each customer.
    Ranking(RankingStep),
}

impl Scoring {
    pub(crate) fn input_columns(&self) -> Vec<String> {
        match self {
            Self::Rows(scorer) => scorer.input_columns(),
            Self::Ranking(step) => step.ranking.input_columns(),
        }
    }

    pub(crate) fn output_schema(&self) -> SchemaRef {
        match self {
            Self::Rows(scorer) => scorer.output_schema(),
            Self::Ranking(step) => step.ranking.output_schema(),
        }
    }
}

/// A release whose steps fit together, ready to run.
pub struct Plan {
    pub(crate) manifest: ReleaseManifest,
    /// Where its model works.
    pub(crate) host: Host,
    /// The columns as the steps give them; the manifest has those that are kept, some of them sealed.
    pub(crate) opened: PredictionSchema,
    pub(crate) query: Query,
    pub(crate) description: QueryDescription,
    pub(crate) key_index: usize,
    pub(crate) scoring: Scoring,
    pub(crate) scored: SchemaRef,
    pub(crate) postprocessed: Option<SchemaRef>,
}

impl Plan {
    /// Describes the features, loads the model into `host` and matches every column from step to step.
    ///
    /// # Errors
    /// [`RunError::Halt`] names the step, the column, and what was expected and found;
    /// [`RunError::Transient`] where the warehouse could not be asked.
    pub async fn prepare(
        manifest: ReleaseManifest,
        files: Arc<ModelFiles>,
        warehouse: &dyn Warehouse,
        parameters: Parameters,
        host: Host,
    ) -> Result<Self, RunError> {
        let tenant: &TenantName = &manifest.path.tenant;
        let query = Query { sql: manifest.feature_sql.clone(), parameters };
        let description = warehouse.describe(tenant, &query).await?;
        let key_index = find_key(&manifest, &description.schema)?;
        let features = without(&description.schema, key_index);
        let scoring = match &manifest.ranking {
            None => Scoring::Rows(load(&host, files, features, null_defaults(&manifest)).await?),
            Some(settings) => {
                let from = (warehouse, tenant, query.parameters);
                Scoring::Ranking(
                    RankingStep::prepare(settings, &host, files, features, from).await?,
                )
            }
        };
        let key = manifest.schema.key();
        let mut outputs = rows::scored_schema(key, &scoring.output_schema());
        if manifest.schema.is_explained() {
            outputs = with_explanation(&outputs)?;
        }
        let outputs = Arc::new(outputs);
        let postprocessed = match &manifest.predictions_sql {
            None => None,
            Some(sql) => Some(
                PostProcess::describe(sql, &outputs, &query.parameters)
                    .map_err(|error| RunError::halt("predictions_sql", chain(&error)))?,
            ),
        };
        let plan = Self {
            opened: manifest.schema.opened(),
            query,
            description,
            key_index,
            scoring,
            scored: outputs,
            postprocessed,
            manifest,
            host,
        };
        plan.check_predictions()?;
        Ok(plan)
    }

    /// The columns of `features.sql` without the key.
    pub(crate) fn feature_schema(&self) -> Schema {
        without(&self.description.schema, self.key_index)
    }

    /// The model that gives one row per customer; a service that ranks has none.
    pub(crate) fn scorer(&self) -> Option<&Scorer> {
        match &self.scoring {
            Scoring::Rows(scorer) => Some(scorer),
            Scoring::Ranking(_) => None,
        }
    }

    /// Whether each prediction carries its explanation.
    pub(crate) fn is_explained(&self) -> bool {
        self.manifest.schema.is_explained()
    }

    /// What `features.sql` gives and reads.
    #[must_use]
    pub fn description(&self) -> &QueryDescription {
        &self.description
    }

    /// The tables that a run reads, each once.
    #[must_use]
    pub fn tables(&self) -> Vec<TableStats> {
        let items = self.ranking().map(|step| step.description.tables.as_slice());
        let mut tables = self.description.tables.clone();
        for table in items.unwrap_or_default() {
            if tables.iter().all(|known| known.name != table.name) {
                tables.push(table.clone());
            }
        }
        tables
    }

    /// The newest modification of what a run reads.
    #[must_use]
    pub fn watermark(&self) -> Option<DateTime<Utc>> {
        let items = self.ranking().and_then(|step| step.description.watermark);
        self.description.watermark.max(items)
    }

    /// Of names, sizes and modification times of what a run reads.
    #[must_use]
    pub fn data_fingerprint(&self) -> Sha256 {
        let features = self.description.data_fingerprint;
        let Some(step) = self.ranking() else { return features };
        let (features, items) =
            (features.to_string(), step.description.data_fingerprint.to_string());
        Sha256::of_parts([("features", features.as_bytes()), ("items", items.as_bytes())])
    }

    /// What ranks, where the service ranks.
    pub(crate) fn ranking(&self) -> Option<&RankingStep> {
        match &self.scoring {
            Scoring::Rows(_) => None,
            Scoring::Ranking(step) => Some(step),
        }
    }

    /// Whether some predictions are kept sealed.
    pub(crate) fn is_sensitive(&self) -> bool {
        self.manifest.schema.sensitive().next().is_some()
    }

    /// What the steps before the publication give: the declared columns are taken from it by name.
    pub(crate) fn result(&self) -> &Schema {
        self.postprocessed.as_ref().unwrap_or(&self.scored)
    }

    fn check_predictions(&self) -> Result<(), RunError> {
        let step = match (&self.postprocessed, &self.scoring) {
            (Some(_), _) => "predictions.sql",
            (None, Scoring::Rows(_)) => "the model",
            (None, Scoring::Ranking(_)) => "ranking",
        };
        let fields = self.result().fields();
        for column in self.opened.columns() {
            let name = column.name.as_str();
            let Some(field) = fields.iter().find(|field| field.name().eq_ignore_ascii_case(name))
            else {
                let given: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
                return Err(RunError::halt(
                    "prediction_missing",
                    format!(
                        "PREDICTION_NAMES declares `{name}`, but {step} gives only {}",
                        given.join(", ")
                    ),
                ));
            };
            if !is_assignable(field.data_type(), column.data_type) {
                return Err(RunError::halt(
                    "prediction_type",
                    format!(
                        "prediction `{name}` is declared {}, but {step} gives {}",
                        column.data_type,
                        field.data_type()
                    ),
                ));
            }
        }
        Ok(())
    }
}

async fn load(
    host: &Host,
    files: Arc<ModelFiles>,
    features: Schema,
    null_defaults: NullDefaults,
) -> Result<Arc<Scorer>, RunError> {
    let host = host.clone();
    let load = move || Scorer::load(&host, files.files(), &features, &null_defaults);
    let scorer = tokio::task::spawn_blocking(load)
        .await
        .map_err(|panic| RunError::halt("model_panicked", panic.to_string()))??;
    Ok(Arc::new(scorer))
}

/// What stands for nulls, be it to score or to explain.
pub(crate) fn null_defaults(manifest: &ReleaseManifest) -> NullDefaults {
    let value = |declared: &Declared| match declared {
        Declared::Boolean(value) => NullDefault::Boolean(*value),
        Declared::Integer(value) => NullDefault::Integer(*value),
        Declared::Number(value) => NullDefault::Number(*value),
        Declared::Text(text) => NullDefault::Text(text.clone()),
    };
    let declared = manifest.null_defaults.iter();
    declared.map(|(name, default)| (name.clone(), value(default))).collect()
}

/// The column of stored explanations follows the model's outputs.
fn with_explanation(outputs: &Schema) -> Result<Schema, RunError> {
    let taken = |field: &&Arc<Field>| field.name().eq_ignore_ascii_case(EXPLANATION_COLUMN);
    if let Some(field) = outputs.fields().iter().find(taken) {
        return Err(RunError::halt(
            "explanation_name_taken",
            format!(
                "the model's output `{}` has the name of the stored explanations; rename it, or \
                 write STORE: ON_DEMAND in EXPLANATION_CONFIG",
                field.name()
            ),
        ));
    }
    let mut fields = outputs.fields().to_vec();
    fields.push(Arc::new(explain::field()));
    Ok(Schema::new(fields))
}

fn find_key(manifest: &ReleaseManifest, features: &Schema) -> Result<usize, RunError> {
    let key = manifest.schema.key();
    let name = key.name.as_str();
    let Some(index) =
        features.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name))
    else {
        let given: Vec<_> = features.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(RunError::halt(
            "key_missing",
            format!(
                "the key `{name}` is not among the columns of features.sql: {}",
                given.join(", ")
            ),
        ));
    };
    let found = features.field(index).data_type();
    if is_assignable(found, key.data_type) {
        Ok(index)
    } else {
        Err(RunError::halt(
            "key_type",
            format!(
                "the key `{name}` is declared {}, but features.sql gives {found}",
                key.data_type
            ),
        ))
    }
}

fn without(schema: &Schema, index: usize) -> Schema {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(position, _)| *position != index)
        .map(|(_, field)| Arc::clone(field))
        .collect();
    Schema::new(fields)
}
