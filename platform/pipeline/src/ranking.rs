//! Services that rank: the items of a run, and the best ones of each customer.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array},
    compute::{concat_batches, filter_record_batch, take},
    datatypes::{DataType, Float32Type, Float64Type, Schema},
    error::ArrowError,
};
use cameo_bundle::RankingSettings;
use cameo_domain::{Column, TenantName};
use cameo_isolation::{Fault, Host, Ranker, Ranking};
use cameo_scoring::rank::{RankOptions, Ranked};
use cameo_store::quarantine::QuarantinedRow;
use cameo_warehouse::{
    Parameters, Query, QueryDescription, ReadOptions, Warehouse, WarehouseError,
};
use futures_util::StreamExt;

use crate::{
    error::{RunError, chain},
    plan::ModelFiles,
    rows::{self, Keyed},
};

/// Most items of one run: they are held in memory, and each is scored with every customer.
pub(crate) const ITEMS_MAX: usize = 100_000;
/// Rows that one step of ranking gives at most, unless a single customer has more.
const RANKED_ROWS: usize = 64 * 1024;

/// What ranks in place of a scorer.
pub(crate) struct RankingStep {
    pub(crate) query: Query,
    pub(crate) description: QueryDescription,
    pub(crate) ranking: Arc<Ranking>,
}

impl RankingStep {
    /// Describes the items and takes the model apart; reads no item.
    pub(crate) async fn prepare(
        settings: &RankingSettings,
        host: &Host,
        files: Arc<ModelFiles>,
        customers: Schema,
        (warehouse, tenant, parameters): (&dyn Warehouse, &TenantName, Parameters),
    ) -> Result<Self, RunError> {
        let query = Query { sql: settings.item_sql.clone(), parameters };
        let description = warehouse.describe(tenant, &query).await.map_err(about_items)?;
        let items = Arc::clone(&description.schema);
        let options = RankOptions {
            item_key: settings.item_key.to_string(),
            top_n: usize::try_from(settings.top_n).unwrap_or(usize::MAX),
            score: settings.score.clone(),
        };
        let host = host.clone();
        let load = move || Ranking::load(&host, &files.model, &customers, &items, &options);
        let ranking = tokio::task::spawn_blocking(load)
            .await
            .map_err(|panic| RunError::halt("model_panicked", panic.to_string()))??;
        Ok(Self { query, description, ranking: Arc::new(ranking) })
    }

    /// Customers whose rows are made in one step.
    pub(crate) fn customers_per_step(&self) -> usize {
        (RANKED_ROWS / self.ranking.top_n()).max(1)
    }

    /// Reads the items, once per run, and evaluates what depends on them alone.
    pub(crate) async fn items(
        &self,
        warehouse: &dyn Warehouse,
        tenant: &TenantName,
        read: &ReadOptions,
    ) -> Result<Ranker, RunError> {
        let read = ReadOptions { partitions: 1, ..*read };
        let outcome = warehouse.read(tenant, &self.query, &read).await.map_err(about_items)?;
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut found = 0;
        for mut partition in outcome.partitions {
            while let Some(batch) = partition.next().await {
                let batch = batch.map_err(about_items)?;
                found += batch.num_rows();
                if found > ITEMS_MAX {
                    return Err(RunError::halt(
                        "items_limit",
                        format!(
                            "the items' query gives more than {ITEMS_MAX} items, the limit of one run; leave out \
                             what nobody could be offered, or make it a service of its own"
                        ),
                    ));
                }
                batches.push(batch);
            }
        }
        if found == 0 {
            return Err(RunError::halt(
                "items_empty",
                "the items' query gives no item, so there is nothing to rank; look at its WHERE",
            ));
        }
        let schema = outcome.schema;
        let ranking = Arc::clone(&self.ranking);
        let over = move || {
            let items = concat_batches(&schema, &batches)
                .map_err(|error| RunError::halt("items", chain(&error)))?;
            ranking.over(&items).map_err(|fault| match fault {
                Fault::Model(problem) => RunError::halt("items", problem),
                other => other.into(),
            })
        };
        tokio::task::spawn_blocking(over)
            .await
            .map_err(|panic| RunError::halt("model_panicked", panic.to_string()))?
    }
}

/// The rows of a batch of customers and the customers that were left out, each with all its rows.
pub(crate) fn rank(
    ranker: &Ranker,
    key: &Column,
    keyed: &Keyed,
) -> Result<(RecordBatch, Vec<QuarantinedRow>), RunError> {
    let broken = |error: ArrowError| RunError::halt("batch", chain(&error));
    let best = ranker.rank(&keyed.features)?;
    let rejected = best.rejected.iter().map(|row| QuarantinedRow {
        key: rows::key_text(&keyed.keys, row.row),
        column: Some(row.column.clone()),
        reason: row.reason.clone(),
    });
    let mut rejected: Vec<QuarantinedRow> = rejected.collect();
    let customers = UInt32Array::from(best.customers.clone());
    let keys = take(&keyed.keys, &customers, None).map_err(broken)?;
    let joined = rows::join(key, keys, &best.rows).map_err(broken)?;
    let whole = without_unusable(&best, joined, keyed, &mut rejected).map_err(broken)?;
    Ok((whole, rejected))
}

/// Leaves out customers of whom an output is not a finite number: half of a ranking would mislead.
fn without_unusable(
    ranked: &Ranked,
    joined: RecordBatch,
    keyed: &Keyed,
    rejected: &mut Vec<QuarantinedRow>,
) -> Result<RecordBatch, ArrowError> {
    let mut unusable: HashSet<u32> = HashSet::new();
    for (field, column) in ranked.rows.schema_ref().fields().iter().zip(ranked.rows.columns()) {
        for row in (0..column.len()).filter(|row| !is_finite(column, *row)) {
            let customer = ranked.customers[row];
            if unusable.insert(customer) {
                rejected.push(QuarantinedRow {
                    key: rows::key_text(&keyed.keys, customer as usize),
                    column: Some(field.name().clone()),
                    reason: "the prediction is not a finite number".to_owned(),
                });
            }
        }
    }
    if unusable.is_empty() {
        return Ok(joined);
    }
    let kept = ranked.customers.iter().map(|customer| Some(!unusable.contains(customer)));
    filter_record_batch(&joined, &kept.collect::<BooleanArray>())
}

fn is_finite(column: &ArrayRef, row: usize) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).is_finite(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).is_finite(),
        _ => true,
    }
}

/// A fault of the items' query, told apart from one of features.sql.
fn about_items(error: WarehouseError) -> RunError {
    match error {
        WarehouseError::Sql(error) => {
            RunError::halt("items_sql", format!("the items' query: {}", chain(&error)))
        }
        other => other.into(),
    }
}
