//! Releases: immutable versions of bundles, and where each of them stands.

mod apply;
mod guards;
mod history;
mod ledger;
mod moves;
mod named;
mod promote;

pub use apply::{Applied, apply};
pub use history::{
    HISTORY_ROWS_MAX, PromotionRecord, StagedRelease, Standing, history, in_production_at, list,
    stage, standing,
};
pub use ledger::{AsOf, LedgerEntry, Move, Served, as_of, ledger};
pub(crate) use moves::{Action, Due, Entry, lock_service, shift, stage_of};
pub use named::{PREFIX_DIGITS_MIN, named};
pub use promote::{Moved, Promotion, approve, archive, promote};

use cameo_domain::{
    MissedRunPolicy, PredictionSchema, ReleaseId, ServiceName, Sha256, Stage, TenantName,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use crate::{By, Store, StoreError, row::Columns};

/// The hashes of what made a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseHashes {
    /// Of the config.
    pub config: Sha256,
    /// Of all SQL.
    pub sql: Sha256,
    /// Of the model with its preprocess model.
    pub model: Sha256,
}

/// A release to apply.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// Everything a worker needs, as JSON.
    pub manifest: serde_json::Value,
    /// The hash of the manifest.
    pub release: ReleaseId,
    /// Which service.
    pub service: ServiceName,
    /// The version that the config states.
    pub version: String,
    /// The hashes of its parts.
    pub hashes: ReleaseHashes,
    /// The declared predictions.
    pub schema: PredictionSchema,
    /// Five-field pattern.
    pub cron: String,
    /// IANA zone of the pattern.
    pub timezone: String,
    /// The first due instant, used when the release enters production and the service is new or its
    /// schedule changed.
    pub next_due_at: DateTime<Utc>,
    /// What happens to due instants that passed while nothing could run.
    pub missed_run_policy: MissedRunPolicy,
    /// How far back a missed instant is still worth running.
    pub missed_run_window_seconds: u64,
    /// How many published generations are kept, at least 1.
    pub generations_kept: u32,
    /// Age after which predictions count as stale.
    pub stale_after_seconds: u64,
    /// How often a run is tried, at least 1.
    pub attempts_max: u32,
    /// The commit that the bundle came from.
    pub git_commit: Option<String>,
    /// The stage that it enters.
    pub stage: Stage,
    /// Whether a second person has to approve what goes into production.
    pub protected: bool,
    /// How many comparisons in a row have to pass before it leaves the shadow stage forwards.
    pub shadow_runs_min: u32,
    /// Who applied it, from where.
    pub by: By,
    /// Why, for the ledger of promotions: what was acknowledged.
    pub reason: Option<String>,
}

/// A release as it was applied.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseRecord {
    /// Its hash.
    pub release: ReleaseId,
    /// Which service.
    pub service: ServiceName,
    /// The version that the config states.
    pub version: String,
    /// Everything a worker needs, as JSON.
    pub manifest: serde_json::Value,
    /// The declared predictions.
    pub schema: PredictionSchema,
    /// The hashes of its parts.
    pub hashes: ReleaseHashes,
    /// The commit that the bundle came from.
    pub git_commit: Option<String>,
    /// Who applied it first.
    pub applied_by: String,
    /// When it was applied first.
    pub applied_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for ReleaseRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        Ok(Self {
            release: row.parsed("release")?,
            service: row.parsed("service")?,
            version: row.try_get("version")?,
            manifest: row.try_get("manifest")?,
            schema: schema.0,
            hashes: ReleaseHashes {
                config: row.parsed("config_hash")?,
                sql: row.parsed("sql_hash")?,
                model: row.parsed("model_hash")?,
            },
            git_commit: row.try_get("git_commit")?,
            applied_by: row.try_get("applied_by")?,
            applied_at: row.try_get("applied_at")?,
        })
    }
}

/// The release that the service's next runs execute.
pub async fn current(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Option<ReleaseRecord>, StoreError> {
    let record = sqlx::query_as(
        "select r.* from cameo.services s join cameo.releases r using (tenant, service, release)
         where s.tenant = $1 and s.service = $2",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .fetch_optional(store.control())
    .await?;
    Ok(record)
}

/// A release by its hash.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    release: ReleaseId,
) -> Result<Option<ReleaseRecord>, StoreError> {
    let record = sqlx::query_as(
        "select * from cameo.releases where tenant = $1 and service = $2 and release = $3",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(release.to_string())
    .fetch_optional(store.control())
    .await?;
    Ok(record)
}

pub(crate) fn policy_name(policy: MissedRunPolicy) -> &'static str {
    match policy {
        MissedRunPolicy::Latest => "latest",
        MissedRunPolicy::All => "all",
        MissedRunPolicy::Skip => "skip",
    }
}

pub(crate) fn policy_from(name: &str) -> MissedRunPolicy {
    match name {
        "all" => MissedRunPolicy::All,
        "skip" => MissedRunPolicy::Skip,
        _ => MissedRunPolicy::Latest,
    }
}
