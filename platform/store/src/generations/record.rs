//! What the control plane knows of a service's generations.

use cameo_batch::RowDigest;
use cameo_domain::{Epoch, GenerationId, ReleaseId, RunId, ServiceName, Sha256, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    releases::ReleaseHashes,
    row::{Columns, get},
};

/// Most generations that [`list`], and publications that [`history`], give.
const LISTED_MAX: i64 = 200;

/// Where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// An attempt is making it.
    Loading,
    /// It was published at some time.
    Published,
    /// It was complete, but a newer one had been published before.
    Retired,
    /// It was complete, to be compared with production's; it was never published.
    Shadowed,
    /// Its attempt ended before it was complete.
    Abandoned,
}

/// A generation.
#[derive(Debug, Clone, Serialize)]
pub struct GenerationRecord {
    /// Its number.
    pub generation: GenerationId,
    /// The run that made it.
    pub run: RunId,
    /// The claim under which it was made.
    pub epoch: Epoch,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// What made it.
    pub release: ReleaseId,
    /// The hashes of what made it.
    pub hashes: ReleaseHashes,
    /// Of names, sizes and modification times of what it was made from.
    pub data_fingerprint: Option<Sha256>,
    /// The newest modification of what it was made from.
    pub watermark: Option<DateTime<Utc>>,
    /// When its predictions were made.
    pub predicted_at: DateTime<Utc>,
    /// Where it stands.
    pub state: GenerationState,
    /// Whether readers are served from it.
    pub current: bool,
    /// Count and checksum of what it holds, once sealed: less what was erased since.
    pub digest: Option<RowDigest>,
    /// When it was published.
    pub published_at: Option<DateTime<Utc>>,
    /// When its table was dropped.
    pub dropped_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for GenerationRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let checksum: Option<i64> = row.try_get("checksum_left")?;
        let digest = row
            .count("rows_left")?
            .zip(checksum)
            .map(|(rows, checksum)| RowDigest { rows, checksum: checksum.cast_unsigned() });
        let state: &str = row.try_get("state")?;
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            run: get(row, "run", RunId)?,
            epoch: get(row, "epoch", Epoch)?,
            due_at: row.try_get("due_at")?,
            release: row.parsed("release")?,
            hashes: ReleaseHashes {
                config: row.parsed("config_hash")?,
                sql: row.parsed("sql_hash")?,
                model: row.parsed("model_hash")?,
            },
            data_fingerprint: row.parsed_option("data_fingerprint")?,
            watermark: row.try_get("watermark")?,
            predicted_at: row.try_get("predicted_at")?,
            state: match state {
                "published" => GenerationState::Published,
                "retired" => GenerationState::Retired,
                "shadowed" => GenerationState::Shadowed,
                "abandoned" => GenerationState::Abandoned,
                _ => GenerationState::Loading,
            },
            current: row.try_get("current")?,
            digest,
            published_at: row.try_get("published_at")?,
            dropped_at: row.try_get("dropped_at")?,
        })
    }
}

/// The service's latest generations, newest first.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Vec<GenerationRecord>, StoreError> {
    let records = sqlx::query_as(
        "select g.*, cameo.rows_left(g) as rows_left, cameo.checksum_left(g) as checksum_left,
                s.current_generation is not distinct from g.generation as current
         from cameo.generations g join cameo.services s using (tenant, service)
         where tenant = $1 and service = $2 order by g.generation desc limit $3",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// A move of a service's pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// `publish`, `rollback` or `withdraw`.
    pub action: String,
    /// Where the pointer moved to; none where the service was withdrawn.
    pub generation: Option<GenerationId>,
    /// Where it stood before.
    pub previous: Option<GenerationId>,
    /// The worker or person.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Publication {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (generation, previous): (Option<i64>, Option<i64>) =
            (row.try_get("generation")?, row.try_get("previous")?);
        Ok(Self {
            action: row.try_get("action")?,
            generation: generation.map(GenerationId),
            previous: previous.map(GenerationId),
            actor: row.try_get("actor")?,
            at: row.try_get("at")?,
        })
    }
}

/// The latest moves of the service's pointer, newest first.
pub async fn history(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Vec<Publication>, StoreError> {
    let publications = sqlx::query_as(
        "select action, generation, previous, actor, at from cameo.publications
         where tenant = $1 and service = $2 order by publication desc limit $3",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(publications)
}

/// How many bytes the generation's table and its indexes take; none where it is dropped.
pub async fn table_bytes(
    store: &Store,
    generation: GenerationId,
) -> Result<Option<u64>, StoreError> {
    let bytes: Option<Option<i64>> = sqlx::query_scalar(
        "select pg_total_relation_size(to_regclass(format('%I.%I', table_schema, table_name)))
         from cameo.generations where generation = $1 and dropped_at is null",
    )
    .bind(generation.0)
    .fetch_optional(store.control())
    .await?;
    Ok(bytes.flatten().map(i64::unsigned_abs))
}
