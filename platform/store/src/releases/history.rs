//! What the ledger of promotions tells.

use cameo_domain::{ReleaseId, ServiceName, ServicePath, Stage, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// Most entries of one page of [`history`], and most releases of [`list`].
pub const HISTORY_ROWS_MAX: u32 = 200;

/// A release with the stage in which it stands.
#[derive(Debug, Clone, Serialize)]
pub struct StagedRelease {
    /// Its hash.
    pub release: ReleaseId,
    /// The version that its config states.
    pub version: String,
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whether a second person has to approve what goes into production.
    pub protected: bool,
    /// The commit that its bundle came from.
    pub git_commit: Option<String>,
    /// Who applied it first.
    pub applied_by: String,
    /// When it was applied first.
    pub applied_at: DateTime<Utc>,
    /// Who asked for its approval, while nobody has given it.
    pub approval_asked_by: Option<String>,
    /// How many comparisons in a row have to pass before it may enter canary or production.
    pub shadow_runs_min: u32,
    /// How many of its latest comparisons passed, up to the first that did not.
    pub comparisons_passed: u64,
}

impl StagedRelease {
    /// The stage that usually comes next: production, or shadow for a release that has still to be
    /// compared. None for what is in production.
    #[must_use]
    pub fn next_stage(&self) -> Option<Stage> {
        let is_compared = self.comparisons_passed >= u64::from(self.shadow_runs_min);
        match self.stage {
            Stage::Production => None,
            Stage::Candidate | Stage::Archived if !is_compared => Some(Stage::Shadow),
            _ => Some(Stage::Production),
        }
    }
}

impl FromRow<'_, PgRow> for StagedRelease {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            release: row.parsed("release")?,
            version: row.try_get("version")?,
            stage: row.parsed("stage")?,
            since: row.try_get("since")?,
            protected: row.try_get("protected")?,
            git_commit: row.try_get("git_commit")?,
            applied_by: row.try_get("applied_by")?,
            applied_at: row.try_get("applied_at")?,
            approval_asked_by: row.try_get("approval_asked_by")?,
            shadow_runs_min: get(row, "shadow_runs_min", i32::unsigned_abs)?,
            comparisons_passed: row.count("comparisons_passed")?.unwrap_or_default(),
        })
    }
}

/// An entry of the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct PromotionRecord {
    /// Its number; later ones are larger.
    pub promotion: i64,
    /// Which release.
    pub release: ReleaseId,
    /// Where it stood; none where it was new.
    pub from: Option<Stage>,
    /// Where it stands since.
    pub to: Stage,
    /// `apply`, `promote`, `approve`, `replace`, `rollback` or `archive`.
    pub action: String,
    /// Who.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// Who had asked, where it was approved.
    pub requested_by: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for PromotionRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            promotion: row.try_get("promotion")?,
            release: row.parsed("release")?,
            from: row.parsed_option("from_stage")?,
            to: row.parsed("to_stage")?,
            action: row.try_get("action")?,
            actor: row.try_get("actor")?,
            origin: row.try_get("origin")?,
            reason: row.try_get("reason")?,
            requested_by: row.try_get("requested_by")?,
            at: row.try_get("at")?,
        })
    }
}

macro_rules! staged_releases_sql {
    () => {
        "select r.release, r.version, s.stage, s.since, r.protected, r.git_commit, r.applied_by,
                r.applied_at, r.shadow_runs_min,
                cameo.comparisons_passed(r.tenant, r.service, r.release) as comparisons_passed, (
                    select q.actor from cameo.promotion_requests q
                    where (q.tenant, q.service, q.release) = (s.tenant, s.service, s.release)
                      and s.stage <> 'production' and q.at >= s.since
                    order by q.request desc limit 1) as approval_asked_by
         from cameo.release_stages s join cameo.releases r using (tenant, service, release)
         where s.tenant = $1 and s.service = $2"
    };
}
pub(super) use staged_releases_sql;

/// The releases of a service, those in use first, then the latest.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Vec<StagedRelease>, StoreError> {
    let releases = sqlx::query_as(concat!(
        staged_releases_sql!(),
        " order by array_position(array['production', 'canary', 'shadow', 'candidate'], s.stage),
                  s.promotion desc
          limit $3"
    ))
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(i64::from(HISTORY_ROWS_MAX))
    .fetch_all(store.control())
    .await?;
    Ok(releases)
}

/// Where a release stands; none where it is not registered.
pub async fn stage(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    release: ReleaseId,
) -> Result<Option<Stage>, StoreError> {
    let path = ServicePath::new(tenant.clone(), service.clone());
    let mut connection = store.control().acquire().await?;
    super::stage_of(&mut connection, &path, release).await
}

/// What applying a release has to reckon with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Where the release stands; none where it is new.
    pub stage: Option<Stage>,
    /// Whether the last thing that happened to it is that somebody rolled it back.
    pub rolled_back: bool,
    /// Whether what is in production protects it.
    pub production_protected: bool,
}

/// How [`super::apply`] would find a release, registered or not.
pub async fn standing(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    release: ReleaseId,
) -> Result<Standing, StoreError> {
    let row = sqlx::query(
        "select (select stage from cameo.release_stages
                 where (tenant, service, release) = ($1, $2, $3)) as stage,
                coalesce((select p.action = 'rollback' from cameo.promotions p
                 where (p.tenant, p.service, p.release) = ($1, $2, $3)
                 order by p.promotion desc limit 1), false) as rolled_back,
                exists (select from cameo.services s
                 join cameo.releases r using (tenant, service, release)
                 where (s.tenant, s.service) = ($1, $2) and r.protected) as production_protected",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(release.to_string())
    .fetch_one(store.control())
    .await?;
    Ok(Standing {
        stage: row.parsed_option("stage")?,
        rolled_back: row.try_get("rolled_back")?,
        production_protected: row.try_get("production_protected")?,
    })
}

/// A page of the ledger of a service, newest first; `before` is the last entry of the page before.
pub async fn history(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<PromotionRecord>, StoreError> {
    let entries = sqlx::query_as(
        "select p.*, q.actor as requested_by
         from cameo.promotions p left join cameo.promotion_requests q using (request)
         where p.tenant = $1 and p.service = $2 and ($3::bigint is null or p.promotion < $3)
         order by p.promotion desc limit $4",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(before)
    .bind(i64::from(limit.min(HISTORY_ROWS_MAX)))
    .fetch_all(store.control())
    .await?;
    Ok(entries)
}

/// The entry of the ledger that put into production what stood there at an instant; none where nothing
/// did (W4).
pub async fn in_production_at(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    at: DateTime<Utc>,
) -> Result<Option<PromotionRecord>, StoreError> {
    // The last move into or out of production up to then says what stood there.
    let last: Option<PromotionRecord> = sqlx::query_as(
        "select p.*, q.actor as requested_by
         from cameo.promotions p left join cameo.promotion_requests q using (request)
         where p.tenant = $1 and p.service = $2 and p.at <= $3
           and 'production' in (p.to_stage, p.from_stage)
         order by p.promotion desc limit 1",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(at)
    .fetch_optional(store.control())
    .await?;
    Ok(last.filter(|entry| entry.to == Stage::Production))
}
