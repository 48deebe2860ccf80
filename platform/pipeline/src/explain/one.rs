//! Explaining the prediction for one customer on demand.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::Float32Type,
};
use cameo_domain::Key;
use cameo_store::{Store, erasures, explanations::Explanation};
use cameo_warehouse::{Query, ReadOptions, Warehouse};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Explanations, sql, text};
use crate::{
    error::{RunError, chain},
    plan::{ModelFiles, Plan},
    rows,
};

/// What a feature adds to a prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contribution {
    /// The feature column.
    pub feature: String,
    /// What the customer has in it.
    pub value: Value,
    /// What that adds to the base value, in the explanation's unit.
    pub contribution: f64,
}

/// The prediction for one customer, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedCustomer {
    /// The key, as the service declares it.
    pub key: Key,
    /// What the model says, before `predictions.sql`.
    pub outputs: Map<String, Value>,
    /// How it was explained, and what is expected of a customer of whom nothing is known. `rows` is 1.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// Base value and contributions together: the explained output, in the explanation's unit.
    pub explained: f64,
    /// All features, the greatest contribution first.
    pub contributions: Vec<Contribution>,
}

/// Reads one customer's features as they are now, scores them and takes the answer apart; `None`
/// where `features.sql` gives no such customer, and of one who was erased.
///
/// # Errors
/// [`RunError::Halt`] where the customer cannot be scored, or the model not be explained;
/// [`RunError::Transient`] where the warehouse or the store did not answer.
pub async fn explain_one(
    plan: &Plan,
    files: Arc<ModelFiles>,
    store: &Store,
    warehouse: &dyn Warehouse,
    read: &ReadOptions,
    key: &Key,
) -> Result<Option<ExplainedCustomer>, RunError> {
    let declared = plan.manifest.schema.key().data_type;
    if erasures::suppressed(store, &plan.manifest.path, declared).await?.has(key) {
        return Ok(None);
    }
    let Some(features) = features_of(plan, warehouse, read, key).await? else { return Ok(None) };
    let settings = plan.manifest.explanation.clone().unwrap_or_default();
    let rows = settings.background_rows;
    let background = super::background::of_release(plan, rows, store, warehouse, read).await?;
    let explainer = super::load(plan, files, &background, &settings).await?.map_err(|problem| {
        RunError::halt("explanation", format!("the model cannot be explained: {problem}"))
    })?;
    let explanations = Explanations::new(plan, explainer, &settings, background)?;
    explanations.one(plan, &features, key).map(Some)
}

async fn features_of(
    plan: &Plan,
    warehouse: &dyn Warehouse,
    read: &ReadOptions,
    key: &Key,
) -> Result<Option<RecordBatch>, RunError> {
    let column = plan.manifest.schema.key();
    let sql = sql::one(&plan.query.sql, &column.name, key);
    let query = Query { sql, parameters: plan.query.parameters };
    let mut batches = Vec::new();
    for partition in warehouse.read(&plan.manifest.path.tenant, &query, read).await?.partitions {
        batches.extend(partition.try_collect::<Vec<_>>().await?);
    }
    let broken = |error: arrow::error::ArrowError| RunError::halt("batch", chain(&error));
    let found = concat_batches(&plan.description.schema, &batches).map_err(broken)?;
    if found.num_rows() > 1 {
        return Err(RunError::halt("duplicate_key", format!("features.sql gives `{key}` twice")));
    }
    let (keyed, _) = rows::split(&found, plan.key_index, column).map_err(broken)?;
    Ok((found.num_rows() == 1).then_some(keyed.features))
}

impl Explanations {
    fn one(
        &self,
        plan: &Plan,
        features: &RecordBatch,
        key: &Key,
    ) -> Result<ExplainedCustomer, RunError> {
        let model = plan.scorer().ok_or_else(|| {
            RunError::halt("explanation", "a service that ranks cannot be explained")
        })?;
        let scored = model.score(features)?;
        if let Some(rejected) = scored.rejected.first() {
            return Err(RunError::halt(
                "row_rejected",
                format!(
                    "customer `{key}` cannot be scored: `{}`: {}",
                    rejected.column, rejected.reason
                ),
            ));
        }
        let (explained, features, _) = self.explain(features)?;
        let error = explained.error.as_ref().and_then(|errors| errors.first());
        let explanation = Explanation {
            rows: 1,
            stored: plan.is_explained(),
            standard_error: error.map(|error| f64::from(*error)),
            ..self.describe()
        };
        let contributions = self.contributions(&explained.contributions, &features)?;
        let sum: f64 = contributions.iter().map(|one| one.contribution).sum();
        Ok(ExplainedCustomer {
            key: key.clone(),
            outputs: outputs(&scored.outputs),
            explained: explanation.base_value + sum,
            explanation,
            contributions,
        })
    }

    fn contributions(
        &self,
        contributions: &RecordBatch,
        features: &RecordBatch,
    ) -> Result<Vec<Contribution>, RunError> {
        let columns = self.explained_columns(features)?;
        let mut all = Vec::with_capacity(columns.len());
        for ((field, sizes), values) in
            contributions.schema_ref().fields().iter().zip(contributions.columns()).zip(columns)
        {
            let contribution = f64::from(sizes.as_primitive::<Float32Type>().value(0));
            let value = text::value(values, 0)
                .map_err(|error| RunError::halt("explanation", chain(&error)))?;
            all.push(Contribution { feature: field.name().clone(), value, contribution });
        }
        all.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
        Ok(all)
    }
}

fn outputs(batch: &RecordBatch) -> Map<String, Value> {
    let fields = batch.schema_ref().fields().iter();
    fields
        .zip(batch.columns())
        .map(|(field, column)| {
            (field.name().clone(), text::value(column, 0).unwrap_or(Value::Null))
        })
        .collect()
}
