//! Sealing: count, checksum and index.

use cameo_batch::{NULL_FLOAT, NULL_INT, NULL_TEXT, RowDigest, column_salt};
use cameo_domain::{DataType, PredictionSchema};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row, postgres::PgDatabaseError};

use super::{Generation, index};
use crate::{Store, StoreError, connect::spawned, error::sqlstate, row::quoted, runs::hold};

/// Memory that building the index may take.
const INDEX_MEMORY: &str = "256MB";
/// Parallel workers that building the index may take, besides its leader.
const INDEX_WORKERS: u32 = 2;
const UNIQUE_VIOLATION: &str = "23505";

/// Counts and hashes what the table holds, then builds the index on what names a row. After this the
/// generation can be published. A repetition gives the same digest.
pub async fn seal(store: &Store, generation: &Generation) -> Result<RowDigest, StoreError> {
    let (mut connection, workers) = store.dedicated_with_workers().await?;
    let (store, generation) = (store.clone(), generation.clone());
    spawned(async move {
        let digest = digest_and_index(&mut connection, &generation).await?;
        drop(workers);
        store.keep(connection);
        record(&store, &generation, digest).await?;
        Ok(digest)
    })
    .await
}

async fn digest_and_index(
    connection: &mut PgConnection,
    generation: &Generation,
) -> Result<RowDigest, StoreError> {
    let settings = format!(
        "set maintenance_work_mem = '{INDEX_MEMORY}';
         set max_parallel_maintenance_workers = {INDEX_WORKERS};
         set synchronous_commit = off"
    );
    connection.execute(AssertSqlSafe(settings)).await?;
    let Generation { table, schema, .. } = generation;
    let digest = digest(connection, &table.sql(), schema).await?;
    let index = index::definition_for(table, schema, digest.rows);
    let sql = format!("create unique index if not exists {index}");
    connection.execute(AssertSqlSafe(sql)).await.map_err(duplicate_key)?;
    cameo_crashpoint::hit("index_built");
    connection.execute(AssertSqlSafe(index::settle_sql(table, digest.rows))).await?;
    Ok(digest)
}

fn duplicate_key(error: sqlx::Error) -> StoreError {
    if sqlstate(&error).as_deref() != Some(UNIQUE_VIOLATION) {
        return error.into();
    }
    let detail = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .and_then(PgDatabaseError::detail);
    StoreError::DuplicateKey { example: detail.unwrap_or("a key occurs twice").to_owned() }
}

/// The digest of a table of this schema, as [`RowDigest`] defines it.
pub(crate) async fn digest(
    connection: &mut PgConnection,
    table: &str,
    schema: &PredictionSchema,
) -> Result<RowDigest, StoreError> {
    let sql = format!(
        "select count(*) as rows, coalesce(bit_xor({}), 0) as checksum from {table}",
        hash_sql(schema)
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
    let (rows, checksum): (i64, i64) = (row.try_get("rows")?, row.try_get("checksum")?);
    Ok(RowDigest { rows: rows.unsigned_abs(), checksum: checksum.cast_unsigned() })
}

/// The hash of a row: chained over the columns, each with its salt.
pub(crate) fn hash_sql(schema: &PredictionSchema) -> String {
    schema.columns().enumerate().fold("0::bigint".to_owned(), |seed, (index, column)| {
        let name = quoted(column.name.as_str());
        let seed = format!("({seed} # '{}'::bigint)", column_salt(index));
        let int =
            |value: &str| format!("hashint8extended(coalesce({value}, '{NULL_INT}'), {seed})");
        match column.data_type {
            DataType::Int => int(&name),
            DataType::Bool => int(&format!("{name}::integer::bigint")),
            DataType::Date => int(&format!("({name} - date '2000-01-01')::bigint")),
            DataType::Float64 => {
                format!("hashfloat8extended(coalesce({name}, '{NULL_FLOAT:e}'), {seed})")
            }
            DataType::String | DataType::Json => {
                let null = NULL_TEXT.replace('\u{1}', "\\x01");
                format!("hashtextextended(coalesce({name}, e'{null}') collate \"C\", {seed})")
            }
            // A timestamp hashes as its microseconds since 2000-01-01 in UTC; -infinity, the null,
            // as the least integer.
            DataType::Timestamp => format!(
                "timestamp_hash_extended(\
                 coalesce({name} at time zone 'UTC', '-infinity'::timestamp), {seed})"
            ),
        }
    })
}

async fn record(
    store: &Store,
    generation: &Generation,
    digest: RowDigest,
) -> Result<(), StoreError> {
    let (id, run, epoch) = (generation.id, generation.run, generation.epoch);
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, run, epoch).await?;
                sqlx::query(
                    "update cameo.generations set rows = $2, checksum = $3, sealed_at = now()
                     where generation = $1 and state = 'loading'",
                )
                .bind(id.0)
                .bind(crate::row::signed(digest.rows))
                .bind(digest.checksum.cast_signed())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}
