//! Reading the trail.

use cameo_domain::{ServiceName, Services, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use crate::{Store, StoreError, row::names};

/// Most entries in one page of [`list`].
pub const PAGE_ENTRIES_MAX: u32 = 200;

/// A change of state.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct AuditEntry {
    /// Its number: from 1, without a gap.
    pub entry: i64,
    /// When the change was committed.
    pub at: DateTime<Utc>,
    /// Who made it.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// Of which tenant; none where it concerns the platform, such as a key for every tenant.
    pub tenant: Option<String>,
    /// Of which service; none where it concerns the tenant.
    pub service: Option<String>,
    /// What was done to what, such as `run.claimed`.
    pub action: String,
    /// Which one: the number, name, prefix or hash.
    pub subject: String,
    /// What changed, by column.
    pub detail: serde_json::Value,
    /// The hash of the entry before; zeros for the first.
    pub previous_hash: String,
    /// The hash of all of the above.
    pub hash: String,
}

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of one tenant, or of all and of the platform.
    pub tenant: Option<TenantName>,
    /// Of one service.
    pub service: Option<ServiceName>,
    /// Of some services; what concerns the tenant as a whole is then left out.
    pub services: Services,
    /// At or after this instant.
    pub since: Option<DateTime<Utc>>,
    /// Older than this entry: the last one of the page before.
    pub before: Option<i64>,
    /// At most this many, up to [`PAGE_ENTRIES_MAX`]; 0 stands for the most.
    pub limit: u32,
}

/// A page of entries, newest first.
pub async fn list(store: &Store, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
    let limit =
        if filter.limit == 0 { PAGE_ENTRIES_MAX } else { filter.limit.min(PAGE_ENTRIES_MAX) };
    let entries = sqlx::query_as(
        "select * from cameo.audit
         where ($1::text is null or tenant = $1) and ($2::text is null or service = $2)
           and ($3::timestamptz is null or at >= $3) and ($4::bigint is null or entry < $4)
           and ($6::text[] is null or service = any($6))
         order by entry desc limit $5",
    )
    .bind(filter.tenant.as_ref().map(TenantName::as_str))
    .bind(filter.service.as_ref().map(ServiceName::as_str))
    .bind(filter.since)
    .bind(filter.before)
    .bind(i64::from(limit))
    .bind(names(&filter.services))
    .fetch_all(store.control())
    .await?;
    Ok(entries)
}
