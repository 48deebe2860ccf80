//! The two ledgers of a service read as one: which release stood where, and which generation was served.

use cameo_domain::{GenerationId, ReleaseId, ServiceName, Stage, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use super::{HISTORY_ROWS_MAX, PromotionRecord, in_production_at};
use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// Something that happened to a service.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// From where; publications do not say.
    pub origin: Option<String>,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// What.
    #[serde(flatten)]
    pub moved: Move,
}

/// What moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Move {
    /// A release moved from stage to stage.
    Promotion {
        /// `apply`, `promote`, `approve`, `replace`, `rollback` or `archive`.
        action: String,
        /// Which release.
        release: ReleaseId,
        /// Its version.
        version: String,
        /// Where it stood; none where it was new.
        from: Option<Stage>,
        /// Where it stands since.
        to: Stage,
        /// Who had asked, where it was approved.
        requested_by: Option<String>,
    },
    /// The pointer moved from generation to generation.
    Publication {
        /// `publish`, `rollback` or `withdraw`.
        action: String,
        /// What is served since; none where it was withdrawn.
        generation: Option<GenerationId>,
        /// What was served before.
        previous: Option<GenerationId>,
        /// What made the generation.
        release: Option<ReleaseId>,
        /// The version of that release.
        version: Option<String>,
    },
}

impl FromRow<'_, PgRow> for LedgerEntry {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let action = row.try_get("action")?;
        let generation = |column| -> Result<Option<GenerationId>, sqlx::Error> {
            Ok(get(row, column, |id: Option<i64>| id)?.map(GenerationId))
        };
        let moved = if row.try_get("is_promotion")? {
            Move::Promotion {
                action,
                release: row.parsed("release")?,
                version: row.try_get("version")?,
                from: row.parsed_option("from_stage")?,
                to: row.parsed("to_stage")?,
                requested_by: row.try_get("requested_by")?,
            }
        } else {
            Move::Publication {
                action,
                generation: generation("generation")?,
                previous: generation("previous")?,
                release: row.parsed_option("release")?,
                version: row.try_get("version")?,
            }
        };
        Ok(Self {
            at: row.try_get("at")?,
            actor: row.try_get("actor")?,
            origin: row.try_get("origin")?,
            reason: row.try_get("reason")?,
            moved,
        })
    }
}

/// A page of both ledgers, newest first: what happened before `before`, at least `limit` entries where
/// there are as many. What happened at one instant stays on one page.
pub async fn ledger(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    before: Option<DateTime<Utc>>,
    limit: u32,
) -> Result<Vec<LedgerEntry>, StoreError> {
    let entries = sqlx::query_as(
        "select * from (
             select p.at, true as is_promotion, p.promotion as number, p.action, p.actor, p.origin,
                    p.reason, p.release, r.version, p.from_stage, p.to_stage,
                    q.actor as requested_by, null::bigint as generation, null::bigint as previous
             from cameo.promotions p join cameo.releases r using (tenant, service, release)
             left join cameo.promotion_requests q using (request)
             where p.tenant = $1 and p.service = $2
             union all
             select p.at, false, p.publication, p.action, p.actor, null, null, g.release, r.version,
                    null, null, null, p.generation, p.previous
             from cameo.publications p
             left join cameo.generations g on g.generation = p.generation
             left join cameo.releases r
                 on (r.tenant, r.service, r.release) = (g.tenant, g.service, g.release)
             where p.tenant = $1 and p.service = $2) entries
         where ($3::timestamptz is null or at < $3)
           and at >= coalesce((
               select at from (
                   select at from cameo.promotions where tenant = $1 and service = $2
                   union all
                   select at from cameo.publications where tenant = $1 and service = $2) instants
               where $3::timestamptz is null or at < $3
               order by at desc offset $4 limit 1), '-infinity')
         order by at desc, is_promotion, number desc",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(before)
    .bind(i64::from(limit.clamp(1, HISTORY_ROWS_MAX)) - 1)
    .fetch_all(store.control())
    .await?;
    Ok(entries)
}

/// What readers were served at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Which generation.
    pub generation: GenerationId,
    /// What made it.
    pub release: ReleaseId,
    /// The version of that release.
    pub version: String,
    /// The commit that its bundle came from.
    pub git_commit: Option<String>,
    /// Since when it was served.
    pub since: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Served {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            release: row.parsed("release")?,
            version: row.try_get("version")?,
            git_commit: row.try_get("git_commit")?,
            since: row.try_get("at")?,
        })
    }
}

/// How a service stood at an instant (W4).
#[derive(Debug, Clone, Serialize)]
pub struct AsOf {
    /// The instant.
    pub at: DateTime<Utc>,
    /// The release in production, by the entry that put it there; none where nothing was.
    pub production: Option<PromotionRecord>,
    /// The version of that release.
    pub version: Option<String>,
    /// The commit that its bundle came from.
    pub git_commit: Option<String>,
    /// What readers were served; none where nothing was published.
    pub served: Option<Served>,
}

/// What was in production and what was served at an instant.
pub async fn as_of(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    at: DateTime<Utc>,
) -> Result<AsOf, StoreError> {
    let production = in_production_at(store, tenant, service, at).await?;
    let release = match &production {
        Some(entry) => super::find(store, tenant, service, entry.release).await?,
        None => None,
    };
    let (version, git_commit) =
        release.map(|release| (release.version, release.git_commit)).unzip();
    let served = sqlx::query_as(
        "select g.generation, g.release, r.version, r.git_commit, l.at
         from (select generation, at from cameo.publications
               where tenant = $1 and service = $2 and at <= $3
               order by publication desc limit 1) l
         join cameo.generations g on g.generation = l.generation
         join cameo.releases r on (r.tenant, r.service, r.release) = (g.tenant, g.service, g.release)",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(at)
    .fetch_optional(store.control())
    .await?;
    Ok(AsOf { at, production, version, git_commit: git_commit.flatten(), served })
}
