//! Rolling back: the pointer moves to an older generation.

use cameo_domain::{
    GenerationId, PredictionSchema, ReleaseId, ServiceName, ServicePath, Stage, TenantName,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row, types::Json};

use super::Table;
use crate::{
    By, Store, StoreError,
    connect::say,
    erasures::erase_open,
    releases::{Action, Due, Entry, lock_service, shift, stage_of},
    row::Columns,
};

/// A move back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// What was served before.
    pub from: GenerationId,
    /// What is served now.
    pub to: GenerationId,
    /// The release that is in production again, where that changed: the one that made the generation.
    pub release: Option<ReleaseId>,
}

/// What becomes of the release in production when its generation is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Releases {
    /// The release that made the generation is in production again.
    Follow,
    /// What is in production stays there: the next run publishes its predictions again.
    Keep,
}

/// Serves an earlier published generation again: `to`, or else the one published for the due
/// instant before the current one. Only a generation whose table is still kept can be served.
///
/// With [`Releases::Follow`], and where another release made it, that release is in production again as
/// well, or the next run would bring back what was rolled back. That needs nobody's approval: it was in
/// production before. The next run publishes forward as usual.
pub async fn rollback(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    to: Option<GenerationId>,
    releases: Releases,
    by: &By,
) -> Result<RolledBack, StoreError> {
    let (path, by) = (ServicePath::new(tenant.clone(), service.clone()), by.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &by.actor, Some(&by.origin)).await?;
                flip_back(connection, &path, to, releases, &by).await
            })
        })
        .await
}

async fn flip_back(
    connection: &mut PgConnection,
    path: &ServicePath,
    to: Option<GenerationId>,
    releases: Releases,
    by: &By,
) -> Result<RolledBack, StoreError> {
    let at = lock_service(connection, path).await?;
    let (tenant, service) = (path.tenant.as_str(), path.service.as_str());
    let current: Option<i64> = sqlx::query_scalar(
        "select current_generation from cameo.services where tenant = $1 and service = $2",
    )
    .bind(tenant)
    .bind(service)
    .fetch_one(&mut *connection)
    .await?;
    let current =
        current.ok_or_else(|| StoreError::NoRollback("nothing is published yet".to_owned()))?;
    // The pointer's row is locked, and tables are dropped only under the same lock.
    let target: Option<i64> = sqlx::query_scalar(
        "select g.generation from cameo.generations g
         join cameo.generations c on c.generation = $3
         where g.tenant = $1 and g.service = $2 and g.generation <> $3
           and g.state = 'published' and g.dropped_at is null
           and case when $4::bigint is null then g.due_at < c.due_at else g.generation = $4 end
         order by g.due_at desc limit 1",
    )
    .bind(tenant)
    .bind(service)
    .bind(current)
    .bind(to.map(|to| to.0))
    .fetch_optional(&mut *connection)
    .await?;
    let target = target.ok_or_else(|| {
        StoreError::NoRollback(match to {
            Some(to) if to.0 == current => format!("generation {to} is the current one"),
            Some(to) => format!("generation {to} is not a published generation that is still kept"),
            None => format!("no published generation before {current} is still kept"),
        })
    })?;
    erase_from(connection, path, target).await?;
    sqlx::query(
        "update cameo.services set current_generation = $3 where tenant = $1 and service = $2",
    )
    .bind(tenant)
    .bind(service)
    .bind(target)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "insert into cameo.publications (tenant, service, action, generation, previous, actor, at)
         values ($1, $2, 'rollback', $3, $4, $5, $6)",
    )
    .bind(tenant)
    .bind(service)
    .bind(target)
    .bind(current)
    .bind(&by.actor)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    sqlx::query("select pg_notify('cameo_publications', $1)")
        .bind(path.to_string())
        .execute(&mut *connection)
        .await?;
    let release = match releases {
        Releases::Follow => restore_release(connection, path, target, by, at).await?,
        Releases::Keep => None,
    };
    Ok(RolledBack { from: GenerationId(current), to: GenerationId(target), release })
}

/// Takes out of a generation whoever is being erased and was not taken out of it yet.
async fn erase_from(
    connection: &mut PgConnection,
    path: &ServicePath,
    generation: i64,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "select table_schema, table_name, schema from cameo.generations where generation = $1",
    )
    .bind(generation)
    .fetch_one(&mut *connection)
    .await?;
    let table = Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
    let schema: Json<PredictionSchema> = row.try_get("schema")?;
    erase_open(connection, path, GenerationId(generation), &table, &schema.0).await?;
    Ok(())
}

/// Puts the release that made a generation back into production. A service of which nothing is in
/// production stays so.
async fn restore_release(
    connection: &mut PgConnection,
    path: &ServicePath,
    generation: i64,
    by: &By,
    at: DateTime<Utc>,
) -> Result<Option<ReleaseId>, StoreError> {
    let row = sqlx::query(
        "select g.release from cameo.generations g join cameo.services s using (tenant, service)
         where g.generation = $1 and s.release <> g.release",
    )
    .bind(generation)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let release = row.parsed("release")?;
    let from = stage_of(connection, path, release).await?;
    let due = Due::After(at);
    let entry = Entry { action: Action::Rollback, reason: None, by, at, due };
    shift(connection, path, release, from, Stage::Production, &entry).await?;
    Ok(Some(release))
}
