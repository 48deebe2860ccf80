//! Taking rows out of a generation's table.

use std::collections::HashMap;

use cameo_batch::RowDigest;
use cameo_domain::{DataType, ErasureId, GenerationId, Key, PredictionSchema, ServicePath};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::ErasedKey;
use crate::{
    StoreError,
    generations::{Table, hash_sql},
    row::{quoted, quoted_list, signed},
    snapshots,
};

/// The keys that are being erased from a service, in the type of its key.
pub(super) async fn open_keys(
    connection: &mut PgConnection,
    path: &ServicePath,
    key_type: DataType,
) -> Result<Vec<ErasedKey>, StoreError> {
    let rows = sqlx::query(
        "select e.erasure, k.key from cameo.erasures e join cameo.erasure_keys k using (erasure)
         where e.tenant = $1 and e.state = 'erasing'
           and (e.services is null or $2 = any (e.services))
           and case $3 when 'INT' then e.fingerprint_int else e.fingerprint_string end is not null
         order by e.erasure",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(key_type.as_str())
    .fetch_all(connection)
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let text: String = row.try_get("key")?;
        let key = Key::parse(&text, key_type)
            .map_err(|error| StoreError::Schema(format!("a key to erase: {error}")))?;
        keys.push(ErasedKey { erasure: ErasureId(row.try_get("erasure")?), key });
    }
    Ok(keys)
}

/// Takes out of a complete generation whoever is being erased from its service at this moment. The caller
/// holds the service, so that no erasure is requested between this and its commit.
pub(crate) async fn erase_open(
    connection: &mut PgConnection,
    path: &ServicePath,
    generation: GenerationId,
    table: &Table,
    schema: &PredictionSchema,
) -> Result<u64, StoreError> {
    let keys = open_keys(connection, path, schema.key().data_type).await?;
    let removed = erase_rows(connection, generation, table, schema, &keys).await?;
    if !removed.is_empty() {
        // Its file still has them: readers go back to the table until there is another one.
        snapshots::renew_with(connection, &path.tenant, generation).await?;
    }
    Ok(removed.iter().map(|(_, digest)| digest.rows).sum())
}

/// Deletes the rows of `keys` and writes down, for each erasure, what the generation has lost by it.
async fn erase_rows(
    connection: &mut PgConnection,
    generation: GenerationId,
    table: &Table,
    schema: &PredictionSchema,
    keys: &[ErasedKey],
) -> Result<Vec<(ErasureId, RowDigest)>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let name = quoted(schema.key().name.as_str());
    let sql = format!(
        "with gone as (delete from {table} where {name} = any ($1::{array}) returning {columns})
         select {name}::text as key, count(*) as rows, bit_xor({hash}) as checksum
         from gone group by 1",
        table = table.sql(),
        array = if schema.key().data_type == DataType::Int { "bigint[]" } else { "text[]" },
        columns = quoted_list(schema.columns().map(|column| column.name.as_str())),
        hash = hash_sql(schema),
    );
    let query = sqlx::query(AssertSqlSafe(sql));
    let found = bind_keys(query, keys.iter().map(|erased| &erased.key)).fetch_all(&mut *connection);
    // Two requests may be about the same key: what is gone is gone for the first of them.
    let mut asked: HashMap<String, ErasureId> = HashMap::new();
    for erased in keys {
        asked.entry(erased.key.to_string()).or_insert(erased.erasure);
    }
    let mut removed: Vec<(ErasureId, RowDigest)> = Vec::new();
    for row in found.await? {
        let key: String = row.try_get("key")?;
        let (rows, checksum): (i64, i64) = (row.try_get("rows")?, row.try_get("checksum")?);
        let Some(erasure) = asked.get(&key).copied() else { continue };
        let gone = RowDigest { rows: rows.unsigned_abs(), checksum: checksum.cast_unsigned() };
        note_loss(connection, erasure, generation, gone).await?;
        removed.push((erasure, gone));
    }
    Ok(removed)
}

/// Writes down what a generation has lost by an erasure.
pub(super) async fn note_loss(
    connection: &mut PgConnection,
    erasure: ErasureId,
    generation: GenerationId,
    gone: RowDigest,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.generation_erasures (erasure, generation, rows, checksum)
         values ($1, $2, $3, $4)",
    )
    .bind(erasure.0)
    .bind(generation.0)
    .bind(signed(gone.rows))
    .bind(gone.checksum.cast_signed())
    .execute(connection)
    .await?;
    Ok(())
}

type Query<'q> =
    sqlx::query::Query<'q, sqlx::Postgres, <sqlx::Postgres as sqlx::Database>::Arguments>;

/// Binds keys as an array: of integers where they are integers, else of texts.
pub(super) fn bind_keys<'q, 'k>(
    query: Query<'q>,
    keys: impl Iterator<Item = &'k Key> + Clone,
) -> Query<'q> {
    let numbers: Vec<i64> = keys
        .clone()
        .filter_map(|key| match key {
            Key::Int(number) => Some(*number),
            Key::String(_) => None,
        })
        .collect();
    if numbers.is_empty() {
        return query.bind(keys.map(Key::to_string).collect::<Vec<_>>());
    }
    query.bind(numbers)
}
