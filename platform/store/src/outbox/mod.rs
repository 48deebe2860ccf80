//! Generations that the mirror has still to copy.

mod decode;
mod rows;

pub(crate) use rows::TableCopy;
pub use rows::{RowStream, rows};

use cameo_batch::RowDigest;
use cameo_domain::{
    Epoch, GenerationId, PredictionSchema, Reason, ServiceName, ServicePath, Sha256, TenantName,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use crate::{
    Store, StoreError,
    generations::Table,
    row::{Columns, get, signed},
};

/// A generation to mirror, held until its lease ends.
#[derive(Debug, Clone)]
pub struct MirrorTask {
    /// Which generation.
    pub generation: GenerationId,
    /// Whose.
    pub path: ServicePath,
    /// The same for every repetition, so that the warehouse loads once.
    pub load_id: Sha256,
    /// The number of this claim.
    pub epoch: Epoch,
    /// How often it was claimed, from 1.
    pub attempt: u32,
    /// Its columns.
    pub schema: PredictionSchema,
    /// What its table held when it was claimed, by count and checksum.
    pub digest: RowDigest,
    /// For which instant it was made.
    pub due_at: DateTime<Utc>,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    pub(crate) table: Table,
}

impl FromRow<'_, PgRow> for MirrorTask {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        let digest = RowDigest {
            rows: row.count("rows_left")?.unwrap_or_default(),
            checksum: get(row, "checksum_left", i64::cast_unsigned)?,
        };
        let table =
            Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            path: row.path()?,
            load_id: row.parsed("load_id")?,
            epoch: get(row, "epoch", Epoch)?,
            attempt: get(row, "attempts", i32::unsigned_abs)?,
            schema: schema.0,
            digest,
            due_at: row.try_get("due_at")?,
            published_at: row.try_get("published_at")?,
            table,
        })
    }
}

/// Takes the next generation to mirror, of those of at most `rows_max` rows. A service's generations are mirrored
/// one after the other, oldest first; services overtake each other freely.
pub async fn claim(
    store: &Store,
    lease_seconds: u32,
    rows_max: Option<u64>,
) -> Result<Option<MirrorTask>, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let task = sqlx::query_as(
                    "update cameo.outbox o
                     set epoch = o.epoch + 1, attempts = o.attempts + 1,
                         lease_expires_at = clock_timestamp() + make_interval(secs => $1)
                     from cameo.generations g
                     where g.generation = o.generation and o.generation = (
                         select n.generation from cameo.outbox n
                             join cameo.generations size on size.generation = n.generation
                         where ($2::bigint is null or size.rows <= $2)
                           and n.state = 'pending' and n.not_before <= clock_timestamp()
                           and (n.lease_expires_at is null
                                or n.lease_expires_at < clock_timestamp())
                           and not exists (
                               select from cameo.outbox older
                               where older.tenant = n.tenant and older.service = n.service
                                 and older.state = 'pending'
                                 and older.generation < n.generation)
                         order by n.created_at, n.generation limit 1
                         for update of n skip locked)
                     returning o.generation, o.tenant, o.service, o.load_id, o.epoch, o.attempts,
                         g.schema, cameo.rows_left(g) as rows_left,
                         cameo.checksum_left(g) as checksum_left, g.due_at, g.published_at,
                         g.table_schema, g.table_name",
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

/// Renews the lease of a task that takes long.
pub async fn heartbeat(
    store: &Store,
    task: &MirrorTask,
    lease_seconds: u32,
) -> Result<(), StoreError> {
    let renewed = sqlx::query(
        "update cameo.outbox
         set lease_expires_at = clock_timestamp() + make_interval(secs => $3)
         where generation = $1 and epoch = $2 and state = 'pending'",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(f64::from(lease_seconds))
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, renewed)
}

/// Records that the warehouse has the generation, with the digests of both sides. They must agree, and the
/// generation must still be what was copied: somebody may have been erased from it since.
pub async fn complete(
    store: &Store,
    task: &MirrorTask,
    source: RowDigest,
    mirror: RowDigest,
) -> Result<(), StoreError> {
    if source != mirror {
        return Err(StoreError::DigestMismatch { expected: source, found: mirror });
    }
    let found = sqlx::query(
        "select cameo.rows_left(g) as rows_left, cameo.checksum_left(g) as checksum_left
         from cameo.generations g where generation = $1",
    )
    .bind(task.generation.0)
    .fetch_one(store.control())
    .await?;
    let left = RowDigest {
        rows: found.count("rows_left")?.unwrap_or_default(),
        checksum: get(&found, "checksum_left", i64::cast_unsigned)?,
    };
    if left != source {
        return Err(StoreError::DigestMismatch { expected: left, found: source });
    }
    let completed = sqlx::query(
        "update cameo.outbox
         set state = 'mirrored', completed_at = now(), lease_expires_at = null, reason = null,
             source_rows = $3, source_checksum = $4, mirror_rows = $5, mirror_checksum = $6
         where generation = $1 and epoch = $2 and state = 'pending'",
    )
    .bind(task.generation.0)
    .bind(task.epoch.0)
    .bind(signed(source.rows))
    .bind(source.checksum.cast_signed())
    .bind(signed(mirror.rows))
    .bind(mirror.checksum.cast_signed())
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, completed)
}

/// Gives the task back, to be tried again from `not_before`.
pub async fn retry(
    store: &Store,
    task: &MirrorTask,
    reason: Reason,
    not_before: DateTime<Utc>,
) -> Result<(), StoreError> {
    let returned = sqlx::query(
        "update cameo.outbox set lease_expires_at = null, reason = $3, not_before = $4
         where generation = $1 and epoch = $2 and state = 'pending'",
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

fn held(task: &MirrorTask, rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::StaleTask(task.generation)) }
}

/// How far the mirror is behind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lag {
    /// Generations that wait.
    pub pending: u64,
    /// Age of the oldest of them; 0 when none waits.
    pub oldest_seconds: f64,
}

/// How far the mirror is behind over all tenants.
pub async fn lag(store: &Store) -> Result<Lag, StoreError> {
    let row = sqlx::query(
        "select count(*) as pending,
                coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8
                    as oldest_seconds
         from cameo.outbox where state = 'pending'",
    )
    .fetch_one(store.control())
    .await?;
    let oldest_seconds = row.try_get("oldest_seconds")?;
    Ok(Lag { pending: row.count("pending")?.unwrap_or_default(), oldest_seconds })
}

/// What the mirror holds of a generation.
#[derive(Debug, Clone, Serialize)]
pub struct MirrorRecord {
    /// Which generation.
    pub generation: GenerationId,
    /// Its identity in the warehouse.
    pub load_id: Sha256,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was tried again.
    pub reason: Option<Reason>,
    /// Count and checksum of both sides, once mirrored.
    pub digest: Option<RowDigest>,
    /// When both sides were found equal.
    pub completed_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for MirrorRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let checksum: Option<i64> = row.try_get("mirror_checksum")?;
        let digest = row
            .count("mirror_rows")?
            .zip(checksum)
            .map(|(rows, checksum)| RowDigest { rows, checksum: checksum.cast_unsigned() });
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            load_id: row.parsed("load_id")?,
            attempts: get(row, "attempts", i32::unsigned_abs)?,
            reason: row.json("reason")?,
            digest,
            completed_at: row.try_get("completed_at")?,
        })
    }
}

/// Most records that [`list`] gives.
const LISTED_MAX: i64 = 200;

/// How the mirror stands for the service's latest generations, newest first.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Vec<MirrorRecord>, StoreError> {
    let records = sqlx::query_as(
        "select * from cameo.outbox where tenant = $1 and service = $2
         order by generation desc limit $3",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(records)
}
