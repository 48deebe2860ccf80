//! Where a prediction comes from: its generation, run and release, when it was served, and its copy.

use cameo_domain::{GenerationId, ReleaseId, ServicePath, Stage};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    generations::GenerationRecord,
    releases,
    runs::{self, RunRecord},
};

/// Most periods of service of one generation that are told; each further one is a rollback.
const SERVED_MAX: i64 = 100;

/// Everything that one generation, and so each prediction of it, was made from.
#[derive(Debug, Clone, Serialize)]
pub struct Lineage {
    /// Whose.
    pub service: ServicePath,
    /// The generation: its hashes, watermark and data fingerprint.
    pub generation: GenerationRecord,
    /// The run that made it.
    pub run: RunRecord,
    /// What that run executed.
    pub release: ReleaseOrigin,
    /// When readers were served it, oldest first.
    pub served: Vec<Served>,
    /// Its copy in the warehouse; none where it was never published.
    pub mirror: Option<Mirror>,
    /// How it is explained; none where it is not.
    pub explanation: Option<ExplanationOrigin>,
}

/// The release of a lineage.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseOrigin {
    /// Its hash.
    pub release: ReleaseId,
    /// The version that its config states.
    pub version: String,
    /// Where it stands now.
    pub stage: Option<Stage>,
    /// The commit that its bundle came from.
    pub git_commit: Option<String>,
    /// Who applied it first.
    pub applied_by: String,
    /// When it was applied first.
    pub applied_at: DateTime<Utc>,
    /// Who answers for it, as its card says.
    pub owner: Option<String>,
}

/// A time in which a generation was served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Served {
    /// `publish` or `rollback`.
    pub action: String,
    /// The worker or person.
    pub actor: String,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when; none while it is served.
    pub until: Option<DateTime<Utc>>,
}

/// The copy of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Mirror {
    /// `pending` or `mirrored`.
    pub state: String,
    /// When both sides were found equal.
    pub completed_at: Option<DateTime<Utc>>,
}

/// What explanations of a generation rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplanationOrigin {
    /// How contributions were found.
    pub method: String,
    /// How many customers the release compares with; none where its method needs none.
    pub background_rows: Option<u64>,
}

impl FromRow<'_, PgRow> for ExplanationOrigin {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let rows: Option<i32> = row.try_get("background_rows")?;
        Ok(Self {
            method: row.try_get("method")?,
            background_rows: rows.map(|rows| rows.unsigned_abs().into()),
        })
    }
}

/// The generation that the service showed at an instant, as the ledger tells; none before its first
/// publication.
pub async fn served_at(
    store: &Store,
    path: &ServicePath,
    at: DateTime<Utc>,
) -> Result<Option<GenerationId>, StoreError> {
    // Of a service that was withdrawn the last entry names none.
    let generation: Option<Option<i64>> = sqlx::query_scalar(
        "select generation from cameo.publications
         where tenant = $1 and service = $2 and at <= $3 order by publication desc limit 1",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(at)
    .fetch_optional(store.control())
    .await?;
    Ok(generation.flatten().map(GenerationId))
}

/// Where the predictions of a generation of the service come from.
pub async fn find(
    store: &Store,
    path: &ServicePath,
    generation: GenerationId,
) -> Result<Option<Lineage>, StoreError> {
    let generation: Option<GenerationRecord> = sqlx::query_as(
        "select g.*, cameo.rows_left(g) as rows_left, cameo.checksum_left(g) as checksum_left,
                s.current_generation is not distinct from g.generation as current
         from cameo.generations g join cameo.services s using (tenant, service)
         where tenant = $1 and service = $2 and g.generation = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(generation.0)
    .fetch_optional(store.control())
    .await?;
    let Some(generation) = generation else { return Ok(None) };
    let run = runs::find(store, &path.tenant, generation.run).await?;
    let run = run.ok_or_else(|| StoreError::NotFound(format!("run {}", generation.run)))?;
    let release = release(store, path, generation.release).await?;
    let mirror = sqlx::query_as(
        "select state, completed_at from cameo.outbox where generation = $1 and tenant = $2",
    )
    .bind(generation.generation.0)
    .bind(path.tenant.as_str())
    .fetch_optional(store.control())
    .await?;
    let explanation = sqlx::query_as(
        "select e.method, b.rows as background_rows
         from cameo.explanations e join cameo.generations g using (generation)
         left join cameo.explanation_backgrounds b
             on (b.tenant, b.service, b.release) = (g.tenant, g.service, g.release)
         where e.generation = $1 and e.tenant = $2",
    )
    .bind(generation.generation.0)
    .bind(path.tenant.as_str())
    .fetch_optional(store.control())
    .await?;
    let served = served(store, path, generation.generation).await?;
    Ok(Some(Lineage {
        service: path.clone(),
        generation,
        run,
        release,
        served,
        mirror,
        explanation,
    }))
}

async fn release(
    store: &Store,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<ReleaseOrigin, StoreError> {
    let record = releases::find(store, &path.tenant, &path.service, release).await?;
    let record = record.ok_or_else(|| StoreError::NotFound(format!("release {release}")))?;
    let owner = record.manifest.pointer("/card/owner").and_then(|owner| owner.as_str());
    Ok(ReleaseOrigin {
        release,
        stage: releases::stage(store, &path.tenant, &path.service, release).await?,
        owner: owner.map(str::to_owned),
        version: record.version,
        git_commit: record.git_commit,
        applied_by: record.applied_by,
        applied_at: record.applied_at,
    })
}

async fn served(
    store: &Store,
    path: &ServicePath,
    generation: GenerationId,
) -> Result<Vec<Served>, StoreError> {
    let served = sqlx::query_as(
        "select p.action, p.actor, p.at as \"from\", (
             select n.at from cameo.publications n
             where n.tenant = p.tenant and n.service = p.service and n.publication > p.publication
             order by n.publication limit 1) as until
         from cameo.publications p
         where p.tenant = $1 and p.service = $2 and p.generation = $3
         order by p.publication limit $4",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(generation.0)
    .bind(SERVED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(served)
}
