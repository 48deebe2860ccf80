//! Matching the steps of a run before anything runs.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use cameo_batch::is_assignable;
use cameo_bundle::ReleaseManifest;
use cameo_domain::TenantName;
use cameo_scoring::{Scorer, ScoringLimits};
use cameo_warehouse::{Parameters, PostProcess, Query, QueryDescription, Warehouse};

use crate::{
    error::{RunError, chain},
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

/// A release whose steps fit together, ready to run.
pub struct Plan {
    pub(crate) manifest: ReleaseManifest,
    pub(crate) query: Query,
    pub(crate) description: QueryDescription,
    pub(crate) key_index: usize,
    pub(crate) scorer: Arc<Scorer>,
    pub(crate) scored: SchemaRef,
    pub(crate) postprocessed: Option<SchemaRef>,
}

impl Plan {
    /// Describes the features, loads the model and matches every column from step to step.
    ///
    /// # Errors
    /// [`RunError::Halt`] names the step, the column, and what was expected and found;
    /// [`RunError::Transient`] where the warehouse could not be asked.
    pub async fn prepare(
        manifest: ReleaseManifest,
        files: ModelFiles,
        warehouse: &dyn Warehouse,
        parameters: Parameters,
    ) -> Result<Self, RunError> {
        let tenant: &TenantName = &manifest.path.tenant;
        let query = Query { sql: manifest.feature_sql.clone(), parameters };
        let description = warehouse.describe(tenant, &query).await?;
        let key_index = find_key(&manifest, &description.schema)?;
        let features = without(&description.schema, key_index);
        let scorer = tokio::task::spawn_blocking(move || {
            Scorer::load(
                &files.model,
                files.preprocess.as_deref(),
                &features,
                &ScoringLimits::default(),
            )
        })
        .await
        .map_err(|panic| RunError::halt("model_panicked", panic.to_string()))?
        .map_err(|error| RunError::halt("model", chain(&error)))?;

        let key = manifest.schema.key();
        let outputs = Arc::new(rows::scored_schema(key, &scorer.output_schema()));
        let postprocessed = match &manifest.predictions_sql {
            None => None,
            Some(sql) => Some(
                PostProcess::describe(sql, &outputs, &query.parameters)
                    .map_err(|error| RunError::halt("predictions_sql", chain(&error)))?,
            ),
        };
        let plan = Self {
            query,
            description,
            key_index,
            scorer: Arc::new(scorer),
            scored: outputs,
            postprocessed,
            manifest,
        };
        plan.check_predictions()?;
        Ok(plan)
    }

    /// What `features.sql` gives and reads.
    #[must_use]
    pub fn description(&self) -> &QueryDescription {
        &self.description
    }

    /// What the steps before the publication give: the declared columns are taken from it by name.
    pub(crate) fn result(&self) -> &Schema {
        self.postprocessed.as_ref().unwrap_or(&self.scored)
    }

    fn check_predictions(&self) -> Result<(), RunError> {
        let step = if self.postprocessed.is_some() { "predictions.sql" } else { "the model" };
        let fields = self.result().fields();
        for column in self.manifest.schema.columns() {
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
