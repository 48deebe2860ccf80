//! Releases: immutable versions of bundles.

use cameo_domain::{MissedRunPolicy, PredictionSchema, ReleaseId, ServiceName, Sha256, TenantName};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use crate::{Store, StoreError, row::Columns};

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
    /// The first due instant, used when the service is new or its schedule changed.
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
    /// Who applied it.
    pub applied_by: String,
}

/// What applying a release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// The service is new.
    Created,
    /// The service now runs another release.
    Changed,
    /// The service already ran this release.
    Unchanged,
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

/// Makes `new` the release that the service's next runs execute. The tenant must exist.
pub async fn apply(
    store: &Store,
    tenant: &TenantName,
    new: &NewRelease,
) -> Result<Applied, StoreError> {
    let (tenant, new) = (tenant.clone(), new.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                insert(connection, &tenant, &new).await?;
                point(connection, &tenant, &new).await
            })
        })
        .await
}

async fn insert(
    connection: &mut PgConnection,
    tenant: &TenantName,
    new: &NewRelease,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.releases (tenant, service, release, version, manifest, schema, cron,
             timezone, missed_run_policy, missed_run_window_seconds, generations_kept,
             stale_after_seconds, attempts_max, config_hash, sql_hash, model_hash, git_commit,
             applied_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(new.service.as_str())
    .bind(new.release.to_string())
    .bind(&new.version)
    .bind(&new.manifest)
    .bind(Json(&new.schema))
    .bind(&new.cron)
    .bind(&new.timezone)
    .bind(policy_name(new.missed_run_policy))
    .bind(bounded(new.missed_run_window_seconds))
    .bind(i32::try_from(new.generations_kept).unwrap_or(i32::MAX))
    .bind(bounded(new.stale_after_seconds))
    .bind(i32::try_from(new.attempts_max).unwrap_or(i32::MAX))
    .bind(new.hashes.config.to_string())
    .bind(new.hashes.sql.to_string())
    .bind(new.hashes.model.to_string())
    .bind(&new.git_commit)
    .bind(&new.applied_by)
    .execute(connection)
    .await?;
    Ok(())
}

async fn point(
    connection: &mut PgConnection,
    tenant: &TenantName,
    new: &NewRelease,
) -> Result<Applied, StoreError> {
    let created = sqlx::query(
        "insert into cameo.services (tenant, service, release, next_due_at)
         values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(new.service.as_str())
    .bind(new.release.to_string())
    .bind(new.next_due_at)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if created == 1 {
        return Ok(Applied::Created);
    }
    // An unchanged schedule keeps its place: instants that are due but not yet decided must not
    // be lost because somebody applied a new model.
    let changed = sqlx::query(
        "update cameo.services s
         set release = n.release,
             next_due_at = case when (n.cron, n.timezone) = (o.cron, o.timezone)
                 then s.next_due_at else $4 end
         from cameo.releases o, cameo.releases n
         where s.tenant = $1 and s.service = $2 and s.release <> $3
           and (o.tenant, o.service, o.release) = (s.tenant, s.service, s.release)
           and (n.tenant, n.service, n.release) = (s.tenant, s.service, $3)",
    )
    .bind(tenant.as_str())
    .bind(new.service.as_str())
    .bind(new.release.to_string())
    .bind(new.next_due_at)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(if changed == 1 { Applied::Changed } else { Applied::Unchanged })
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

fn bounded(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
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
