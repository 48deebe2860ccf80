//! The places in Postgres: tables of generations, and quarantine.

use cameo_domain::{GenerationId, Key, PredictionSchema, ServiceName, ServicePath};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, types::Json};

use super::{
    ErasedKey, Turn,
    rows::{bind_keys, erase_open},
    turns::{hold, keys_of},
};
use crate::{
    Store, StoreError,
    connect::spawned,
    generations::Table,
    row::{Columns, quoted, signed},
};

/// Longest wait for whoever uses a table that is rewritten in place; the next turn tries again.
const VACUUM_LOCK_TIMEOUT: &str = "set lock_timeout = '5s'";

/// A generation as an erasure sees it.
struct Kept {
    path: ServicePath,
    table: Table,
    schema: PredictionSchema,
    abandoned: bool,
    dropped: bool,
}

/// Generations of the turn whose tables were not gone through yet.
pub async fn tables(store: &Store, turn: &Turn) -> Result<Vec<GenerationId>, StoreError> {
    generations_with(store, turn, "pending").await
}

/// Generations of the turn from whose tables rows were taken, and in whose pages these still lie.
pub async fn to_rewrite(store: &Store, turn: &Turn) -> Result<Vec<GenerationId>, StoreError> {
    generations_with(store, turn, "removed").await
}

async fn generations_with(
    store: &Store,
    turn: &Turn,
    state: &str,
) -> Result<Vec<GenerationId>, StoreError> {
    let generations: Vec<i64> = sqlx::query_scalar(
        "select distinct subject from cameo.erasure_steps
         where erasure = any ($1) and place = 'table' and state = $2 order by 1",
    )
    .bind(turn.ids())
    .bind(state)
    .fetch_all(store.control())
    .await?;
    Ok(generations.into_iter().map(GenerationId).collect())
}

/// Takes the rows of all who are being erased out of a generation's table, and writes down how many there
/// were of each. A table that was dropped has none; one that an attempt left behind is waited for, until it
/// is dropped.
pub async fn erase_table(
    store: &Store,
    turn: &Turn,
    generation: GenerationId,
) -> Result<(), StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                let kept = lock(connection, generation).await?;
                if !kept.dropped {
                    if kept.abandoned {
                        return Ok(());
                    }
                    let Kept { path, table, schema, .. } = &kept;
                    erase_open(connection, path, generation, table, schema).await?;
                }
                record(connection, &turn, generation, kept.dropped).await
            })
        })
        .await
}

/// Locks the generation's service, under which tables are dropped and pointers moved, and reads it.
async fn lock(connection: &mut PgConnection, generation: GenerationId) -> Result<Kept, StoreError> {
    sqlx::query(
        "select from cameo.services s join cameo.generations g using (tenant, service)
         where g.generation = $1 for no key update of s",
    )
    .bind(generation.0)
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query(
        "select tenant, service, table_schema, table_name, schema, state = 'abandoned' as abandoned,
                dropped_at is not null as dropped
         from cameo.generations where generation = $1",
    )
    .bind(generation.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::NotFound(format!("generation {generation}")))?;
    let schema: Json<PredictionSchema> = row.try_get("schema")?;
    Ok(Kept {
        path: row.path()?,
        table: Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? },
        schema: schema.0,
        abandoned: row.try_get("abandoned")?,
        dropped: row.try_get("dropped")?,
    })
}

/// What each erasure took out of a generation, be it now, when it was requested or when the generation was
/// published. While anything was taken out of it by an erasure that goes on, its pages have to be written
/// anew.
async fn record(
    connection: &mut PgConnection,
    turn: &Turn,
    generation: GenerationId,
    dropped: bool,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_steps s
         set rows_removed = told.rows,
             rows_after = case when told.rows > 0 then cameo.rows_left(g) end,
             checksum_after = case when told.rows > 0 then cameo.checksum_left(g) end,
             rows_before = case when told.rows > 0 then cameo.rows_left(g) + told.rows end,
             checksum_before = case when told.rows > 0
                 then cameo.checksum_left(g) # told.checksum end,
             state = case when told.dirty then 'removed' else 'done' end,
             finished_at = case when told.dirty then null else clock_timestamp() end
         from cameo.generations g,
              lateral (select e.erasure, coalesce(sum(l.rows), 0)::bigint as rows,
                              coalesce(bit_xor(l.checksum), 0) as checksum,
                              not $3 and exists (
                                  select from cameo.generation_erasures d
                                  join cameo.erasures o on o.erasure = d.erasure
                                  where d.generation = g.generation and o.state = 'erasing') as dirty
                       from unnest($1::bigint[]) e (erasure)
                       left join cameo.generation_erasures l
                           on (l.erasure, l.generation) = (e.erasure, g.generation)
                       group by e.erasure) told
         where g.generation = $2 and s.erasure = told.erasure and s.place = 'table'
           and s.subject = g.generation and s.state = 'pending'",
    )
    .bind(turn.ids())
    .bind(generation.0)
    .bind(dropped)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the rows of the turn's customers from quarantine, and writes the table anew where there were
/// any: a row that is merely deleted stays in its page until something else takes the room.
pub async fn erase_quarantine(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let own = turn.clone();
    let dirty: bool = store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &own).await?;
                remove_quarantined(connection, &own).await?;
                let dirty = sqlx::query_scalar(
                    "select exists (select from cameo.erasure_steps where erasure = any ($1)
                                    and place = 'quarantine' and state = 'removed')",
                )
                .bind(own.ids())
                .fetch_one(connection)
                .await?;
                Ok(dirty)
            })
        })
        .await?;
    if dirty {
        cameo_crashpoint::hit("quarantine_erased");
        write_anew(store, "cameo.quarantine").await?;
        sqlx::query(
            "update cameo.erasure_steps set state = 'done', finished_at = clock_timestamp()
             where erasure = any ($1) and place = 'quarantine' and state = 'removed'",
        )
        .bind(turn.ids())
        .execute(store.control())
        .await?;
    }
    Ok(())
}

async fn remove_quarantined(connection: &mut PgConnection, turn: &Turn) -> Result<(), StoreError> {
    let keys = keys_of(connection, turn).await?;
    for (ErasedKey { erasure, key }, services) in &keys {
        let services: Option<Vec<&str>> =
            services.as_ref().map(|names| names.iter().map(ServiceName::as_str).collect());
        let removed = sqlx::query(
            "delete from cameo.quarantine q using cameo.runs r, cameo.releases l
             where r.run = q.run and r.tenant = $1 and q.key = $2
               and ($3::text[] is null or r.service = any ($3))
               and (l.tenant, l.service, l.release) = (r.tenant, r.service, r.release)
               and l.schema -> 0 ->> 'type' = $4",
        )
        .bind(turn.tenant.as_str())
        .bind(key.to_string())
        .bind(services)
        .bind(kind(key))
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if removed > 0 {
            sqlx::query(
                "update cameo.erasure_steps
                 set rows_removed = rows_removed + $2, state = 'removed', finished_at = null
                 where erasure = $1 and place = 'quarantine'",
            )
            .bind(erasure.0)
            .bind(signed(removed))
            .execute(&mut *connection)
            .await?;
        }
    }
    sqlx::query(
        "update cameo.erasure_steps set state = 'done', finished_at = clock_timestamp()
         where erasure = any ($1) and place = 'quarantine' and state = 'pending'",
    )
    .bind(turn.ids())
    .execute(connection)
    .await?;
    Ok(())
}

fn kind(key: &Key) -> &'static str {
    match key {
        Key::Int(_) => "INT",
        Key::String(_) => "STRING",
    }
}

/// Writes a small table into a new file without what was deleted from it. Its users wait meanwhile.
pub(super) async fn write_anew(store: &Store, table: &'static str) -> Result<(), StoreError> {
    let mut connection = store.dedicated().await?;
    spawned(async move {
        connection.execute(VACUUM_LOCK_TIMEOUT).await?;
        connection.execute(AssertSqlSafe(format!("vacuum full {table}"))).await?;
        connection.close().await?;
        Ok(())
    })
    .await
}

/// Searches the tables and quarantine once more for the erasures of the turn that are done everywhere, and
/// writes down what was found. A place where anything was found is gone through again.
pub async fn search_again(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let own = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &own).await?;
                let steps = sqlx::query(
                    "select s.erasure, s.subject from cameo.erasure_steps s
                     where s.erasure = any ($1) and s.place = 'table'
                       and not exists (select from cameo.erasure_steps o
                                       where o.erasure = s.erasure and o.state <> 'done')",
                )
                .bind(own.ids())
                .fetch_all(&mut *connection)
                .await?;
                let keys = keys_of(connection, &own).await?;
                for step in &steps {
                    let (erasure, subject): (i64, i64) =
                        (step.try_get("erasure")?, step.try_get("subject")?);
                    let mine = keys.iter().filter(|(key, _)| key.erasure.0 == erasure);
                    let mine: Vec<&Key> = mine.map(|(erased, _)| &erased.key).collect();
                    let found = count_in(connection, GenerationId(subject), &mine).await?;
                    found_again(connection, erasure, "table", subject, found).await?;
                }
                search_quarantine(connection, &own, &keys).await
            })
        })
        .await
}

async fn count_in(
    connection: &mut PgConnection,
    generation: GenerationId,
    keys: &[&Key],
) -> Result<u64, StoreError> {
    let kept = lock(connection, generation).await?;
    if kept.dropped {
        return Ok(0);
    }
    let declared = kept.schema.key();
    let fitting = keys.iter().copied().filter(|key| kind(key) == declared.data_type.as_str());
    let sql = format!(
        "select count(*) from {} where {} = any ($1)",
        kept.table.sql(),
        quoted(declared.name.as_str())
    );
    let query = bind_keys(sqlx::query(AssertSqlSafe(sql)), fitting);
    let count: i64 = query.fetch_one(connection).await?.try_get(0)?;
    Ok(count.unsigned_abs())
}

async fn search_quarantine(
    connection: &mut PgConnection,
    turn: &Turn,
    keys: &[(ErasedKey, Option<Vec<ServiceName>>)],
) -> Result<(), StoreError> {
    for (ErasedKey { erasure, key }, services) in keys {
        let services: Option<Vec<&str>> =
            services.as_ref().map(|names| names.iter().map(ServiceName::as_str).collect());
        let found: i64 = sqlx::query_scalar(
            "select count(*) from cameo.quarantine q join cameo.runs r using (run)
             join cameo.releases l using (tenant, service, release)
             where r.tenant = $1 and q.key = $2 and ($3::text[] is null or r.service = any ($3))
               and l.schema -> 0 ->> 'type' = $4",
        )
        .bind(turn.tenant.as_str())
        .bind(key.to_string())
        .bind(services)
        .bind(kind(key))
        .fetch_one(&mut *connection)
        .await?;
        found_again(connection, erasure.0, "quarantine", 0, found.unsigned_abs()).await?;
    }
    Ok(())
}

/// Writes down what the search at the end found in a place.
pub(super) async fn found_again(
    connection: &mut PgConnection,
    erasure: i64,
    place: &str,
    subject: i64,
    rows: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_steps
         set rows_found_again = $4,
             state = case when $4 = 0 then state else 'pending' end,
             finished_at = case when $4 = 0 then finished_at end
         where erasure = $1 and place = $2 and subject = $3",
    )
    .bind(erasure)
    .bind(place)
    .bind(subject)
    .bind(signed(rows))
    .execute(connection)
    .await?;
    Ok(())
}
