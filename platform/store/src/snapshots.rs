//! Which generation has which immutable file, and the queue of those that have none yet.
//!
//! A row per published generation is written by the transaction that publishes it, or before by the run that
//! is about to. A worker claims the row, makes the file from the generation's table, names it as unwanted, stores
//! it in the artifact store and records it as the one to serve. Whatever is named unwanted when nobody holds the
//! row is deleted by the next who claims it: what a dead worker left, and the file of a table that was dropped.

use std::collections::HashSet;

use cameo_domain::{
    Epoch, GenerationId, PredictionSchema, Reason, ServicePath, Sha256, TenantName,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use crate::{
    Store, StoreError,
    generations::{Generation, Table},
    outbox::{RowStream, TableCopy},
    row::{Columns, get, signed},
    runs::hold,
};

/// The file of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The digest of its content, and its address in the artifact store.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: u64,
}

impl SnapshotFile {
    /// From the columns `snapshot_sha256` and `snapshot_bytes`; none where they are null.
    pub(crate) fn of(row: &PgRow) -> Result<Option<Self>, sqlx::Error> {
        let sha256 = row.parsed_option("snapshot_sha256")?;
        let bytes = row.count("snapshot_bytes")?;
        Ok(sha256.zip(bytes).map(|(sha256, bytes)| Self { sha256, bytes }))
    }
}

/// A generation's snapshot to make or to delete, held until its lease ends.
#[derive(Debug, Clone)]
pub struct SnapshotTask {
    /// Which generation.
    pub generation: GenerationId,
    /// Whose.
    pub path: ServicePath,
    /// Its columns.
    pub schema: PredictionSchema,
    /// The number of this claim.
    pub epoch: Epoch,
    /// How often it was claimed, from 1.
    pub attempt: u32,
    /// Whether a file is to be made.
    pub wanted: bool,
    /// Files to delete before.
    pub unwanted: Vec<Sha256>,
    pub(crate) table: Table,
}

impl FromRow<'_, PgRow> for SnapshotTask {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        let table =
            Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
        let unwanted: Vec<String> = row.try_get("unwanted")?;
        let parsed = unwanted.iter().map(|sha256| sha256.parse());
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            path: row.path()?,
            schema: schema.0,
            epoch: get(row, "epoch", Epoch)?,
            attempt: get(row, "attempts", i32::unsigned_abs)?,
            wanted: row.try_get("wanted")?,
            unwanted: parsed.collect::<Result<_, _>>().map_err(|error| {
                sqlx::Error::ColumnDecode { index: "unwanted".to_owned(), source: Box::new(error) }
            })?,
            table,
        })
    }
}

/// Takes the next published generation whose snapshot is to be made, or any whose files are to be deleted, of those of
/// at most `rows_max` rows: what services show first, then the newest.
pub async fn claim(
    store: &Store,
    lease_seconds: u32,
    rows_max: Option<u64>,
) -> Result<Option<SnapshotTask>, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let task = sqlx::query_as(
                    "update cameo.snapshots f
                     set epoch = f.epoch + 1, attempts = f.attempts + 1,
                         lease_expires_at = clock_timestamp() + make_interval(secs => $1)
                     from cameo.generations g
                     where g.generation = f.generation and f.generation = (
                         select n.generation
                         from cameo.snapshots n join cameo.services s using (tenant, service)
                             join cameo.generations size on size.generation = n.generation
                         where ($2::bigint is null or size.rows <= $2)
                           and (n.state = 'pending' and size.state = 'published'
                                or n.unwanted <> '{}')
                           and n.not_before <= clock_timestamp()
                           and (n.lease_expires_at is null
                                or n.lease_expires_at < clock_timestamp())
                         order by s.current_generation is not distinct from n.generation desc,
                             n.generation desc
                         limit 1 for update of n skip locked)
                     returning f.generation, f.tenant, f.service, f.epoch, f.attempts, f.unwanted,
                         f.state = 'pending' and g.state = 'published' as wanted,
                         g.schema, g.table_schema, g.table_name",
                )
                .bind(f64::from(lease_seconds))
                .bind(rows_max.map(signed))
                .fetch_optional(connection)
                .await?;
                Ok(task)
            })
        })
        .await
}

/// Takes the snapshot of a sealed generation before it is published, for the run that holds it. `None` where nobody would look it up as soon as it is published: where the service shows nothing yet, or
/// a generation of a newer due instant.
pub async fn begin(
    store: &Store,
    generation: &Generation,
    lease_seconds: u32,
) -> Result<Option<SnapshotTask>, StoreError> {
    let (id, run, epoch) = (generation.id, generation.run, generation.epoch);
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, run, epoch).await?;
                let task = sqlx::query_as(
                    "with begun as (
                         insert into cameo.snapshots
                             (generation, tenant, service, epoch, attempts, lease_expires_at)
                         select g.generation, g.tenant, g.service, 1, 1,
                             clock_timestamp() + make_interval(secs => $2)
                         from cameo.generations g join cameo.services s using (tenant, service)
                             join cameo.generations shown on shown.generation = s.current_generation
                         where g.generation = $1 and g.state = 'loading' and g.sealed_at is not null
                           and shown.due_at < g.due_at
                         on conflict (generation) do nothing
                         returning *)
                     select f.generation, f.tenant, f.service, f.epoch, f.attempts, f.unwanted,
                         true as wanted, g.schema, g.table_schema, g.table_name
                     from begun f join cameo.generations g using (generation)",
                )
                .bind(id.0)
                .bind(f64::from(lease_seconds))
                .fetch_optional(connection)
                .await?;
                Ok(task)
            })
        })
        .await
}

/// Renews the lease of a task that takes long.
pub async fn heartbeat(
    store: &Store,
    task: &SnapshotTask,
    lease_seconds: u32,
) -> Result<(), StoreError> {
    let renewed = sqlx::query(
        "update cameo.snapshots
         set lease_expires_at = clock_timestamp() + make_interval(secs => $3)
         where generation = $1 and epoch = $2",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(f64::from(lease_seconds))
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, renewed)
}

/// Reads the generation's rows in the order of what names them: key (`INT` by value, `STRING` by its bytes), then
/// rank. In batches of its schema, in bounded memory: Postgres sorts, on disk where it has to.
pub async fn rows(store: &Store, task: &SnapshotTask) -> Result<RowStream, StoreError> {
    let copy = TableCopy {
        generation: task.generation,
        table: task.table.clone(),
        schema: task.schema.clone(),
        in_order: true,
    };
    copy.rows(store).await
}

/// Names a file that is about to be stored, so that it is deleted should nobody record it.
pub async fn announce(
    store: &Store,
    task: &SnapshotTask,
    sha256: &Sha256,
) -> Result<(), StoreError> {
    let announced = sqlx::query(
        "update cameo.snapshots set unwanted = array_append(array_remove(unwanted, $3), $3)
         where generation = $1 and epoch = $2 and state = 'pending'",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(sha256.to_string())
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, announced)
}

/// Records the file that is served from now on.
pub async fn complete(
    store: &Store,
    task: &SnapshotTask,
    file: &SnapshotFile,
) -> Result<(), StoreError> {
    let completed = sqlx::query(
        "with ready as (
             update cameo.snapshots
             set state = 'ready', sha256 = $3, bytes = $4, ready_at = now(), reason = null,
                 lease_expires_at = null, unwanted = array_remove(unwanted, $3)
             where generation = $1 and epoch = $2 and state = 'pending'
             returning tenant || '/' || service as path)
         select pg_notify('cameo_publications', path) from ready",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(file.sha256.to_string())
    .bind(signed(file.bytes))
    .fetch_all(store.control())
    .await?
    .len();
    held(task, completed as u64)
}

/// Names a file that was stored and could not be recorded, so that it is deleted: whoever named it before may have
/// been too slow for that. Nothing where another worker has made the same.
pub async fn disown(store: &Store, task: &SnapshotTask, sha256: &Sha256) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.snapshots set unwanted = array_append(unwanted, $2)
         where generation = $1 and sha256 is distinct from $2 and not $2 = any (unwanted)",
    )
    .bind(task.generation.0)
    .bind(sha256.to_string())
    .execute(store.control())
    .await?;
    Ok(())
}

/// Records that the task's unwanted files are deleted.
pub async fn cleaned(store: &Store, task: &SnapshotTask) -> Result<(), StoreError> {
    let deleted: Vec<String> = task.unwanted.iter().map(Sha256::to_string).collect();
    let cleaned = sqlx::query(
        "update cameo.snapshots
         set unwanted = array(select left_over from unnest(unwanted) left_over
                              where left_over <> all ($3)),
             lease_expires_at = case when state = 'pending' then lease_expires_at end
         where generation = $1 and epoch = $2",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(deleted)
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, cleaned)
}

/// Gives the task back, to be tried again from `not_before`.
pub async fn retry(
    store: &Store,
    task: &SnapshotTask,
    reason: Reason,
    not_before: DateTime<Utc>,
) -> Result<(), StoreError> {
    let returned = sqlx::query(
        "update cameo.snapshots set lease_expires_at = null, reason = $3, not_before = $4
         where generation = $1 and epoch = $2",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(Json(reason))
    .bind(not_before)
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, returned)
}

/// Has the snapshots of a generation made anew, because its table has changed: readers go back to the table at
/// once, and the old file is deleted. Nothing where it has none.
pub async fn renew(
    store: &Store,
    tenant: &TenantName,
    generation: GenerationId,
) -> Result<(), StoreError> {
    let mut connection = store.control().acquire().await?;
    renew_with(&mut connection, tenant, generation).await
}

/// [`renew`] as a part of what changes the table.
pub(crate) async fn renew_with(
    connection: &mut PgConnection,
    tenant: &TenantName,
    generation: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query(
        "with renewed as (
             update cameo.snapshots
             set state = 'pending', epoch = epoch + 1, sha256 = null, bytes = null,
                 ready_at = null, not_before = now(),
                 unwanted = unwanted || array_remove(array[sha256], null)
             where generation = $1 and tenant = $2 and state <> 'gone'
             returning tenant || '/' || service as path)
         select pg_notify('cameo_publications', path) from renewed",
    )
    .bind(generation.0)
    .bind(tenant.as_str())
    .fetch_all(connection)
    .await?;
    Ok(())
}

fn held(task: &SnapshotTask, rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::StaleTask(task.generation)) }
}

/// What waits to be made or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Waiting {
    /// Published generations without a file.
    pub pending: u64,
    /// Age of the oldest of them; 0 when none waits.
    pub oldest_seconds: f64,
    /// Files that are to be deleted.
    pub unwanted: u64,
}

/// What waits to be made or deleted over all tenants.
pub async fn waiting(store: &Store) -> Result<Waiting, StoreError> {
    let row = sqlx::query(
        "select count(*) filter (where is_pending) as pending,
                coalesce(extract(epoch from clock_timestamp()
                    - min(since) filter (where is_pending)), 0)::float8 as oldest_seconds,
                coalesce(sum(cardinality(unwanted)), 0)::bigint as unwanted
         from (select f.state = 'pending' and g.state = 'published' as is_pending,
                      greatest(f.created_at, g.published_at) as since, f.unwanted
               from cameo.snapshots f join cameo.generations g using (generation)
               where f.state = 'pending' or f.unwanted <> '{}') waiting",
    )
    .fetch_one(store.control())
    .await?;
    Ok(Waiting {
        pending: row.count("pending")?.unwrap_or_default(),
        oldest_seconds: row.try_get("oldest_seconds")?,
        unwanted: row.count("unwanted")?.unwrap_or_default(),
    })
}

/// The digests of all files that may be served. Copies of any other one are to be deleted: its table was dropped,
/// or has changed.
pub async fn files(store: &Store) -> Result<HashSet<Sha256>, StoreError> {
    let rows = sqlx::query("select sha256 from cameo.snapshots where state = 'ready'")
        .fetch_all(store.control())
        .await?;
    Ok(rows.iter().map(|row| row.parsed("sha256")).collect::<Result<_, _>>()?)
}

/// The files of generations that are about to be published, so that readers have them when they are.
pub async fn upcoming(store: &Store) -> Result<Vec<SnapshotFile>, StoreError> {
    let rows = sqlx::query(
        "select f.sha256 as snapshot_sha256, f.bytes as snapshot_bytes
         from cameo.generations g join cameo.snapshots f using (generation)
         where g.state = 'loading' and g.dropped_at is null and f.state = 'ready'
         order by f.generation",
    )
    .fetch_all(store.control())
    .await?;
    let files = rows.iter().map(SnapshotFile::of).collect::<Result<Vec<_>, _>>()?;
    Ok(files.into_iter().flatten().collect())
}

/// The file of a generation, where it has one.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    generation: GenerationId,
) -> Result<Option<SnapshotFile>, StoreError> {
    let row = sqlx::query(
        "select sha256 as snapshot_sha256, bytes as snapshot_bytes
         from cameo.snapshots where generation = $1 and tenant = $2",
    )
    .bind(generation.0)
    .bind(tenant.as_str())
    .fetch_optional(store.control())
    .await?;
    Ok(row.as_ref().map(SnapshotFile::of).transpose()?.flatten())
}
