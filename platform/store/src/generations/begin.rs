//! Beginning a generation.

use cameo_domain::{DataType, GenerationId, PredictionSchema, ReleaseId, Sha256};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, types::Json};

use super::{Generation, Table};
use crate::{
    Store, StoreError,
    releases::ReleaseHashes,
    row::quoted,
    runs::{ClaimedRun, hold},
};

/// Where a generation comes from.
#[derive(Debug, Clone)]
pub struct GenerationMeta {
    /// What makes it.
    pub release: ReleaseId,
    /// The hashes of the release's parts.
    pub hashes: ReleaseHashes,
    /// The newest modification of what it is made from.
    pub watermark: Option<DateTime<Utc>>,
    /// Of names, sizes and modification times of what it is made from.
    pub data_fingerprint: Option<Sha256>,
    /// When the predictions are made.
    pub predicted_at: DateTime<Utc>,
    /// Its columns.
    pub schema: PredictionSchema,
}

/// Begins the generation of this attempt, with a new empty table. What earlier attempts of the run
/// left is abandoned.
pub async fn begin(
    store: &Store,
    run: &ClaimedRun,
    meta: &GenerationMeta,
) -> Result<Generation, StoreError> {
    let (run, meta) = (run.clone(), meta.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, run.run, run.epoch).await?;
                sqlx::query(
                    "update cameo.generations set state = 'abandoned'
                     where run = $1 and epoch < $2 and state = 'loading'",
                )
                .bind(run.run.0)
                .bind(run.epoch.0)
                .execute(&mut *connection)
                .await?;
                let generation = insert(connection, &run, &meta).await?;
                create_table(connection, &generation).await?;
                Ok(generation)
            })
        })
        .await
}

async fn insert(
    connection: &mut PgConnection,
    run: &ClaimedRun,
    meta: &GenerationMeta,
) -> Result<Generation, StoreError> {
    let id: i64 = sqlx::query_scalar(
        "select nextval(pg_get_serial_sequence('cameo.generations', 'generation'))",
    )
    .fetch_one(&mut *connection)
    .await?;
    let id = GenerationId(id);
    let table = Table::of(&run.path.tenant, run.path.service.as_str(), id);
    sqlx::query(
        "insert into cameo.generations (generation, tenant, service, run, epoch, due_at, release,
             config_hash, sql_hash, model_hash, data_fingerprint, watermark, predicted_at, schema,
             table_schema, table_name)
         overriding system value
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(id.0)
    .bind(run.path.tenant.as_str())
    .bind(run.path.service.as_str())
    .bind(run.run.0)
    .bind(run.epoch.0)
    .bind(run.due_at)
    .bind(meta.release.to_string())
    .bind(meta.hashes.config.to_string())
    .bind(meta.hashes.sql.to_string())
    .bind(meta.hashes.model.to_string())
    .bind(meta.data_fingerprint.map(|hash| hash.to_string()))
    .bind(meta.watermark)
    .bind(meta.predicted_at)
    .bind(Json(&meta.schema))
    .bind(&table.schema)
    .bind(&table.name)
    .execute(connection)
    .await?;
    Ok(Generation {
        id,
        table,
        path: run.path.clone(),
        run: run.run,
        epoch: run.epoch,
        schema: meta.schema.clone(),
    })
}

async fn create_table(
    connection: &mut PgConnection,
    generation: &Generation,
) -> Result<(), StoreError> {
    let named_by = generation.schema.identity().count();
    let columns: Vec<String> = generation
        .schema
        .columns()
        .enumerate()
        .map(|(index, column)| {
            let required = if index < named_by { " not null" } else { "" };
            format!("{} {}{required}", quoted(column.name.as_str()), sql_type(column.data_type))
        })
        .collect();
    let sql = format!("create table {} ({}){STORAGE}", generation.table.sql(), columns.join(", "));
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    keep_no_keys(connection, &generation.table, &generation.schema).await
}

/// Loaded once and never updated: full pages, and nothing for autovacuum to do but get in the way of
/// dropping it.
pub(crate) const STORAGE: &str = " with (fillfactor = 100, autovacuum_enabled = false)";

/// Statistics of the key would be a sample of keys that outlives the table. Nobody misses them: it is
/// unique, which is all that a planner asks of it.
pub(super) async fn keep_no_keys(
    connection: &mut PgConnection,
    table: &Table,
    schema: &PredictionSchema,
) -> Result<(), StoreError> {
    let sql = format!(
        "alter table {} alter column {} set statistics 0",
        table.sql(),
        quoted(schema.key().name.as_str())
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Text is compared by bytes, so that order and hashes do not depend on the server's locale.
fn sql_type(declared: DataType) -> &'static str {
    match declared {
        DataType::Int => "bigint",
        DataType::Float64 => "double precision",
        // JSON stays text, which costs a COPY least; the view shows it as json.
        DataType::String | DataType::Json => "text collate \"C\"",
        DataType::Bool => "boolean",
        DataType::Date => "date",
        DataType::Timestamp => "timestamptz",
    }
}
