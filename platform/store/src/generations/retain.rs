//! Dropping tables that nobody needs any more.

use cameo_domain::{GenerationId, ServicePath};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};

use super::Table;
use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// How long a table outlives its time, for readers who read the pointer before it moved.
pub const GRACE_SECONDS: u32 = 60;
/// Most tables that one call drops.
const DROPPED_MAX: i64 = 64;
/// Longest wait for a reader of a table; the next call tries again.
const DROP_LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// The tenant's view still shows the table.
const DEPENDENT_OBJECTS: &str = "2BP01";

struct Candidate {
    generation: GenerationId,
    path: ServicePath,
    table: Table,
}

impl FromRow<'_, PgRow> for Candidate {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let table =
            Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
        Ok(Self { generation: get(row, "generation", GenerationId)?, path: row.path()?, table })
    }
}

/// Generations whose table may go, by a mark (`$1`: seconds of grace). Never the current one, never
/// one that the mirror has still to copy or a verdict has still to compare, never one of the latest that
/// the service keeps. Of a release beside production the newest stays while it runs there.
const DROPPABLE: &str = "
    select g.generation, g.tenant, g.service, g.table_schema, g.table_name
    from cameo.generations g
    join cameo.services s using (tenant, service)
    -- Of a service that was taken out of use, each release's own number counts.
    join cameo.releases r
        on (r.tenant, r.service, r.release) = (g.tenant, g.service, coalesce(s.release, g.release))
    where g.dropped_at is null
      and g.generation is distinct from s.current_generation
      -- Nobody has compared it yet.
      and (g.state = 'abandoned' or not exists (
          select from cameo.runs b
          where b.purpose = 'shadow' and b.state <> 'cancelled'
            and (b.tenant, b.service, b.due_at) = (g.tenant, g.service, g.due_at)
            and not exists (select from cameo.verdicts v where v.run = b.run)))
      and (g.state in ('abandoned', 'retired')
           or g.state = 'shadowed' and not exists (
               select from cameo.release_stages t
               where (t.tenant, t.service, t.release) = (g.tenant, g.service, g.release)
                 and t.stage in ('shadow', 'canary')
                 and g.generation = (
                     select max(n.generation) from cameo.generations n
                     where (n.tenant, n.service, n.release) = (g.tenant, g.service, g.release)
                       and n.state = 'shadowed'))
           or g.state = 'published'
              and not exists (
                  select from cameo.outbox o
                  where o.generation = g.generation and o.state = 'pending')
              and not exists (
                  select from cameo.publications p
                  where p.previous = g.generation
                    and p.at > clock_timestamp() - make_interval(secs => $1))
              -- A pointer that refers to nothing again was withdrawn: nothing is kept for it.
              and (s.current_generation is null and s.release is null or r.generations_kept <= (
                  select count(*) from cameo.generations n
                  where n.tenant = g.tenant and n.service = g.service
                    and n.state = 'published' and n.dropped_at is null
                    and (n.due_at, n.generation) > (g.due_at, g.generation))))";

/// Drops the tables that are no longer needed and gives their generations. Each drop is a short
/// transaction of its own that gives up at once when somebody reads the table.
pub async fn retain(store: &Store) -> Result<Vec<GenerationId>, StoreError> {
    retain_after(store, GRACE_SECONDS).await
}

/// [`retain`] with another grace period.
pub async fn retain_after(
    store: &Store,
    grace_seconds: u32,
) -> Result<Vec<GenerationId>, StoreError> {
    let sql = format!("{DROPPABLE} order by g.generation limit $2");
    let candidates: Vec<Candidate> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(f64::from(grace_seconds))
        .bind(DROPPED_MAX)
        .fetch_all(store.control())
        .await?;
    let mut dropped = Vec::new();
    for candidate in candidates {
        let generation = candidate.generation;
        let outcome = store
            .transaction(move |connection| {
                Box::pin(async move { drop_table(connection, &candidate, grace_seconds).await })
            })
            .await;
        match outcome {
            Ok(true) => dropped.push(generation),
            Ok(false) => {}
            Err(error) => match error.sqlstate().as_deref() {
                Some(LOCK_NOT_AVAILABLE | DEPENDENT_OBJECTS) => {
                    tracing::debug!(%generation, "the table is in use; it is dropped later");
                }
                _ => return Err(error),
            },
        }
    }
    Ok(dropped)
}

async fn drop_table(
    connection: &mut PgConnection,
    candidate: &Candidate,
    grace_seconds: u32,
) -> Result<bool, StoreError> {
    sqlx::query(DROP_LOCK_TIMEOUT).execute(&mut *connection).await?;
    // Under the pointer's lock no rollback can come between the check and the drop.
    sqlx::query("select from cameo.services where tenant = $1 and service = $2 for no key update")
        .bind(candidate.path.tenant.as_str())
        .bind(candidate.path.service.as_str())
        .execute(&mut *connection)
        .await?;
    let sql = format!("{DROPPABLE} and g.generation = $2");
    let still: Option<Candidate> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(f64::from(grace_seconds))
        .bind(candidate.generation.0)
        .fetch_optional(&mut *connection)
        .await?;
    if still.is_none() {
        return Ok(false);
    }
    // With it what is left of a rewriting that was cut short.
    let (table, copy) = (candidate.table.sql(), candidate.table.rewritten().sql());
    sqlx::query(AssertSqlSafe(format!("drop table if exists {table}, {copy}")))
        .execute(&mut *connection)
        .await?;
    sqlx::query("update cameo.generations set dropped_at = now() where generation = $1")
        .bind(candidate.generation.0)
        .execute(&mut *connection)
        .await?;
    drop_importances(connection, candidate.generation).await?;
    Ok(true)
}

/// What belongs to cohorts goes with the table, and with an abandoned one everything; the importance
/// over all rows of a published generation stays for its history.
async fn drop_importances(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query(
        "delete from cameo.importances i using cameo.generations g
         where i.generation = $1 and g.generation = $1
           and (i.cohort_column is not null or g.state = 'abandoned')",
    )
    .bind(generation.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "delete from cameo.explanations e using cameo.generations g
         where e.generation = $1 and g.generation = $1 and g.state = 'abandoned'",
    )
    .bind(generation.0)
    .execute(connection)
    .await?;
    Ok(())
}
