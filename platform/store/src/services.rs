//! Services: what each tenant hosts.

use cameo_domain::{
    GenerationId, MissedRunPolicy, PredictionSchema, ReleaseId, ServiceName, ServicePath, Stage,
    TenantName,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use crate::{Store, StoreError, releases::policy_from, row::Columns};

/// A service with its pointer and its release: what is in production, else what came last.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceRecord {
    /// Tenant and name.
    pub path: ServicePath,
    /// What its next runs execute, where the stage is production.
    pub release: ReleaseId,
    /// Where that release stands.
    pub stage: Stage,
    /// The version that the release's config states.
    pub version: String,
    /// The declared predictions.
    pub schema: PredictionSchema,
    /// Five-field pattern.
    pub cron: String,
    /// IANA zone of the pattern.
    pub timezone: String,
    /// The first due instant that is not decided yet; none where no release is in production.
    pub next_due_at: Option<DateTime<Utc>>,
    /// What readers are served.
    pub current_generation: Option<GenerationId>,
    /// How many published generations are kept.
    pub generations_kept: u32,
    /// Age after which predictions count as stale.
    pub stale_after_seconds: u64,
    /// What happens to due instants that passed while nothing could run.
    pub missed_run_policy: MissedRunPolicy,
    /// How far back a missed instant is still worth running.
    pub missed_run_window_seconds: u64,
    /// How often a run is tried.
    pub attempts_max: u32,
    /// The release's manifest, with its run settings.
    pub manifest: serde_json::Value,
}

impl FromRow<'_, PgRow> for ServiceRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        let current: Option<i64> = row.try_get("current_generation")?;
        let (kept, attempts): (i32, i32) =
            (row.try_get("generations_kept")?, row.try_get("attempts_max")?);
        Ok(Self {
            path: row.path()?,
            release: row.parsed("release")?,
            stage: row.parsed("stage")?,
            version: row.try_get("version")?,
            schema: schema.0,
            cron: row.try_get("cron")?,
            timezone: row.try_get("timezone")?,
            next_due_at: row.try_get("next_due_at")?,
            current_generation: current.map(GenerationId),
            generations_kept: kept.unsigned_abs(),
            stale_after_seconds: row.count("stale_after_seconds")?.unwrap_or_default(),
            missed_run_policy: policy_from(row.try_get("missed_run_policy")?),
            missed_run_window_seconds: row.count("missed_run_window_seconds")?.unwrap_or_default(),
            attempts_max: attempts.unsigned_abs(),
            manifest: row.try_get("manifest")?,
        })
    }
}

macro_rules! services_sql {
    () => {
        "select r.*, s.current_generation, t.stage,
                case when s.release is not null then s.next_due_at end as next_due_at
         from cameo.services s
         join lateral (
             select t.release, t.stage from cameo.release_stages t
             where (t.tenant, t.service) = (s.tenant, s.service)
             order by array_position(array['production', 'canary', 'shadow', 'candidate'], t.stage),
                      t.promotion desc
             limit 1) t on true
         join cameo.releases r
             on (r.tenant, r.service, r.release) = (s.tenant, s.service, t.release)"
    };
}

/// All services of one tenant, or of all, by name.
pub async fn list(
    store: &Store,
    tenant: Option<&TenantName>,
) -> Result<Vec<ServiceRecord>, StoreError> {
    let records = sqlx::query_as(concat!(
        services_sql!(),
        " where $1::text is null or s.tenant = $1 order by s.tenant, s.service"
    ))
    .bind(tenant.map(TenantName::as_str))
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// One service.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Option<ServiceRecord>, StoreError> {
    let record =
        sqlx::query_as(concat!(services_sql!(), " where s.tenant = $1 and s.service = $2"))
            .bind(tenant.as_str())
            .bind(service.as_str())
            .fetch_optional(store.control())
            .await?;
    Ok(record)
}
