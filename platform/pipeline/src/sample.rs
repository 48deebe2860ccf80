//! A prepared plan over its first customers, without writing anything.
//!
//! Every step is the run's own: the same query under a limit, the same scorer, the same
//! predictions.sql, the same quarantine. Explanations alone are left out, because they need customers
//! to compare with, which are kept with the release.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use cameo_batch::arrow_schema;
use cameo_domain::PredictionSchema;
use cameo_store::{Store, erasures, quarantine::QuarantinedRow};
use cameo_warehouse::{BatchStream, PostProcess, Query, ReadOptions, Warehouse};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    error::{RunError, chain},
    execute::{
        Beside, Explaining, Scored, one_row_each, postprocess_failed, score, steps_of, to_publish,
    },
    explain::sql,
    plan::Plan,
};

/// Most rows of a sample, which is held in memory. A service that ranks has several per customer.
pub const SAMPLE_ROWS_MAX: u32 = 1_000_000;

/// What a sample shows in place of each sensitive prediction, null or not.
pub const MASK: &str = "(sensitive)";

/// What the first customers would be published with.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Rows in the schema of the release, with [`MASK`] where it seals.
    pub rows: Vec<RecordBatch>,
    /// Customers that `features.sql` gave; of those who were erased there are no rows.
    pub customers: u64,
    /// Rows that would go to quarantine, by reason, the most frequent first.
    pub quarantined: Vec<LeftOut>,
}

/// How many rows would go to quarantine for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The column at fault, where it is one.
    pub column: Option<String>,
    /// Why they were set aside.
    pub reason: String,
    /// How many.
    pub rows: u64,
}

/// Runs a plan on its first `customers` in the order of their keys. Customers who were erased are left out.
///
/// # Errors
/// [`RunError::Halt`] where a run would halt; [`RunError::Transient`] where the warehouse could not
/// be asked.
pub async fn sample(
    plan: &Arc<Plan>,
    store: &Store,
    warehouse: &dyn Warehouse,
    customers: u32,
    read: &ReadOptions,
) -> Result<Sample, RunError> {
    let customers = customers.min(SAMPLE_ROWS_MAX / plan.manifest.schema.top_n().unwrap_or(1));
    let (mut sample, scored) = score_first(plan, store, warehouse, customers, read).await?;
    let results = match &plan.manifest.predictions_sql {
        None => scored,
        Some(sql) => {
            let taken: usize = scored.iter().map(RecordBatch::num_rows).sum();
            let input: BatchStream = Box::pin(stream::iter(scored).map(Ok));
            let (schema, parameters) = (Arc::clone(&plan.scored), &plan.query.parameters);
            let given = PostProcess::run(sql, input, schema, parameters, read).await?;
            let given: Vec<RecordBatch> =
                given.try_collect().await.map_err(|error| postprocess_failed(plan, error))?;
            let rows: usize = given.iter().map(RecordBatch::num_rows).sum();
            one_row_each(taken as u64, rows as u64)?;
            given
        }
    };
    let mut tally = Tally::default();
    for batch in &results {
        let (batch, unusable) = to_publish(plan, batch)?;
        tally.add(unusable);
        sample.rows.push(masked(&batch, &plan.manifest.schema)?);
    }
    sample.quarantined = tally.merged(std::mem::take(&mut sample.quarantined));
    Ok(sample)
}

fn masked(batch: &RecordBatch, schema: &PredictionSchema) -> Result<RecordBatch, RunError> {
    let mut columns = batch.columns().to_vec();
    for sensitive in schema.sensitive() {
        let mask: ArrayRef = Arc::new(StringArray::from(vec![MASK; batch.num_rows()]));
        columns[sensitive.at + 1] = mask;
    }
    RecordBatch::try_new(arrow_schema(schema), columns)
        .map_err(|error| RunError::halt("batch", chain(&error)))
}

/// The customers, their scores, and those that could not be scored.
async fn score_first(
    plan: &Arc<Plan>,
    store: &Store,
    warehouse: &dyn Warehouse,
    customers: u32,
    read: &ReadOptions,
) -> Result<(Sample, Vec<RecordBatch>), RunError> {
    let tenant = &plan.manifest.path.tenant;
    let ranker = match plan.ranking() {
        None => None,
        Some(step) => Some(Arc::new(step.items(warehouse, tenant, read).await?)),
    };
    let key = plan.manifest.schema.key();
    let suppressed = erasures::suppressed(store, &plan.manifest.path, key.data_type).await?;
    let suppressed = Arc::new(suppressed);
    let beside = Beside { ranker, suppressed, explaining: Explaining::LeftOut };
    let sql = sql::first(&plan.query.sql, &key.name, customers);
    let query = Query { sql, parameters: plan.query.parameters };
    let read = ReadOptions { partitions: 1, ..*read };
    let (mut sample, mut scored, mut tally) = (Sample::default(), Vec::new(), Tally::default());
    for mut partition in warehouse.read(tenant, &query, &read).await?.partitions {
        while let Some(batch) = partition.next().await {
            let batch = batch?;
            sample.customers += batch.num_rows() as u64;
            for batch in steps_of(plan, &batch) {
                let (plan, beside) = (Arc::clone(plan), beside.clone());
                let work = move || score(&plan, &beside, &batch);
                let Scored { outputs, rejected, .. } =
                    tokio::task::spawn_blocking(work)
                        .await
                        .map_err(|error| RunError::halt("model_panicked", error.to_string()))??;
                tally.add(rejected);
                scored.extend((outputs.num_rows() > 0).then_some(outputs));
            }
        }
    }
    sample.quarantined = tally.merged(Vec::new());
    Ok((sample, scored))
}

/// Rows by column and reason.
#[derive(Default)]
struct Tally(BTreeMap<(Option<String>, String), u64>);

impl Tally {
    fn add(&mut self, rows: Vec<QuarantinedRow>) {
        for row in rows {
            *self.0.entry((row.column, row.reason)).or_default() += 1;
        }
    }

    /// Together with what was counted before.
    fn merged(mut self, before: Vec<LeftOut>) -> Vec<LeftOut> {
        for one in before {
            *self.0.entry((one.column, one.reason)).or_default() += one.rows;
        }
        let counted = self.0.into_iter();
        let mut left_out: Vec<_> =
            counted.map(|((column, reason), rows)| LeftOut { column, reason, rows }).collect();
        left_out.sort_by_key(|one| std::cmp::Reverse(one.rows));
        left_out
    }
}
