//! The tables of generations.

use cameo_domain::{GenerationId, PredictionSchema, ServicePath};
use sqlx::{PgConnection, Row, types::Json};

use super::{Turn, rows::erase_open, turns::hold};
use crate::{Store, StoreError, generations::Table, row::Columns};

/// A generation as an erasure sees it.
pub(super) struct Kept {
    path: ServicePath,
    pub(super) table: Table,
    pub(super) schema: PredictionSchema,
    abandoned: bool,
    pub(super) dropped: bool,
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
pub(super) async fn lock(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<Kept, StoreError> {
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
