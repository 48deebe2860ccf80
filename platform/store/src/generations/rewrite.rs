//! Writing a generation's table anew, without what was erased from it.
//!
//! Postgres keeps a deleted row in its page until something else takes the room, and even then it may
//! leave bytes behind. So the table is copied, and the copy takes its place: readers wait for the moment of
//! the exchange, not for the copying.

use cameo_batch::RowDigest;
use cameo_domain::{GenerationId, PredictionSchema, ServicePath};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, types::Json};

use super::{
    Table,
    begin::{STORAGE, keep_no_keys},
    index, seal, views,
};
use crate::{
    Store, StoreError,
    connect::spawned,
    erasures::{Turn, hold},
    row::{Columns, get, quoted},
};

/// Longest wait for readers of the table; longer would queue other readers behind it.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// Memory that building the index may take.
const INDEX_MEMORY: &str = "256MB";

struct Erased {
    path: ServicePath,
    table: Table,
    schema: PredictionSchema,
    /// What it should hold: what was sealed, less what was erased.
    left: RowDigest,
    shown: bool,
}

/// What became of a table that was to be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewritten {
    /// It was, and nothing of what was erased lies in it any more.
    Done,
    /// Somebody reads it, or more was erased meanwhile: the next turn tries again.
    Later,
}

/// Writes the table anew and compares it with what should be left of it. With the exchange, the steps of
/// the erasures that took something out of it are done.
pub async fn rewrite(
    store: &Store,
    turn: &Turn,
    generation: GenerationId,
) -> Result<Rewritten, StoreError> {
    let (mut connection, workers) = store.dedicated_with_workers().await?;
    let Some(erased) = find(&mut connection, generation).await? else {
        return finish_dropped(store, turn, generation).await;
    };
    let copied = spawned(async move {
        copy(&mut connection, &erased).await?;
        drop(workers);
        connection.close().await?;
        Ok(erased)
    })
    .await?;
    cameo_crashpoint::hit("erasure_table_copied");
    let turn = turn.clone();
    let exchanged = store
        .transaction(move |connection| {
            Box::pin(async move { exchange(connection, &turn, generation, &copied).await })
        })
        .await;
    match exchanged {
        Err(error) if error.sqlstate().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
            tracing::debug!(%generation, "the table is in use; it is written anew later");
            Ok(Rewritten::Later)
        }
        decided => decided,
    }
}

/// The generation as it is now; none where its table was dropped.
async fn find(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<Option<Erased>, StoreError> {
    let row = sqlx::query(
        "select g.tenant, g.service, g.table_schema, g.table_name, g.schema,
                cameo.rows_left(g) as rows_left, cameo.checksum_left(g) as checksum_left,
                s.view_generation is not distinct from g.generation as shown
         from cameo.generations g join cameo.services s using (tenant, service)
         where g.generation = $1 and g.dropped_at is null and g.sealed_at is not null",
    )
    .bind(generation.0)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let schema: Json<PredictionSchema> = row.try_get("schema")?;
    Ok(Some(Erased {
        path: row.path()?,
        table: Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? },
        schema: schema.0,
        left: RowDigest {
            rows: row.count("rows_left")?.unwrap_or_default(),
            checksum: get(&row, "checksum_left", i64::cast_unsigned)?,
        },
        shown: row.try_get("shown")?,
    }))
}

/// Makes the copy, whole or not at all.
async fn copy(connection: &mut PgConnection, erased: &Erased) -> Result<(), StoreError> {
    let (table, new) = (erased.table.sql(), erased.table.rewritten());
    let copy = new.sql();
    let mut transaction = connection.begin().await?;
    for statement in [
        format!("set local maintenance_work_mem = '{INDEX_MEMORY}'"),
        format!("drop table if exists {copy}"),
        format!("create table {copy} (like {table}){STORAGE}"),
    ] {
        transaction.execute(AssertSqlSafe(statement)).await?;
    }
    keep_no_keys(&mut transaction, &new, &erased.schema).await?;
    for statement in [
        format!("insert into {copy} select * from {table}"),
        format!(
            "create unique index {}",
            index::definition_for(&new, &erased.schema, erased.left.rows)
        ),
    ] {
        transaction.execute(AssertSqlSafe(statement)).await?;
    }
    let found = seal::digest(&mut transaction, &copy, &erased.schema).await?;
    if found != erased.left {
        return Err(StoreError::DigestMismatch { expected: erased.left, found });
    }
    transaction.commit().await?;
    connection.execute(AssertSqlSafe(index::settle_sql(&new, erased.left.rows))).await?;
    Ok(())
}

/// Puts the copy in the table's place.
async fn exchange(
    connection: &mut PgConnection,
    turn: &Turn,
    generation: GenerationId,
    copied: &Erased,
) -> Result<Rewritten, StoreError> {
    sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
    hold(connection, turn).await?;
    sqlx::query("select from cameo.services where tenant = $1 and service = $2 for no key update")
        .bind(copied.path.tenant.as_str())
        .bind(copied.path.service.as_str())
        .execute(&mut *connection)
        .await?;
    // Under the lock nobody is erased, no table is dropped, and no view moves.
    let Some(now) = find(connection, generation).await? else { return Ok(Rewritten::Later) };
    if now.left != copied.left {
        return Ok(Rewritten::Later);
    }
    let (table, new) = (now.table.sql(), now.table.rewritten());
    let copy = new.sql();
    for statement in [
        format!("lock table {table} in access exclusive mode"),
        format!("lock table {copy} in access exclusive mode"),
    ] {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    if now.shown {
        views::replace(connection, &now.path, &new, &now.schema).await?;
    }
    let (name, old_name) = (quoted(&now.table.name), quoted(&format!("{}_key", now.table.name)));
    let schema = quoted(&now.table.schema);
    for statement in [
        format!("drop table {table}"),
        format!("alter table {copy} rename to {name}"),
        format!(
            "alter index {schema}.{} rename to {old_name}",
            quoted(&format!("{}_key", new.name))
        ),
    ] {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    done(connection, generation).await?;
    Ok(Rewritten::Done)
}

/// The table was dropped since: nothing is left of it to write.
async fn finish_dropped(
    store: &Store,
    turn: &Turn,
    generation: GenerationId,
) -> Result<Rewritten, StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                done(connection, generation).await?;
                Ok(Rewritten::Done)
            })
        })
        .await
}

async fn done(connection: &mut PgConnection, generation: GenerationId) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_steps set state = 'done', finished_at = clock_timestamp()
         where place = 'table' and subject = $1 and state = 'removed'",
    )
    .bind(generation.0)
    .execute(connection)
    .await?;
    Ok(())
}
