//! Who changed what, when and from where.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use cameo_access::Caller;
use cameo_checkpoint::Check;
use cameo_domain::ServiceName;
use cameo_store::audit::{self, AuditEntry, AuditFilter, PAGE_ENTRIES_MAX};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    authorise::visible,
    extract::{PathParams, QueryParams},
    problem::{Code, Problem},
};

/// Entries of a page, unless the caller says otherwise.
const PAGE_ENTRIES: u32 = 50;

/// A change of state.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Entry {
    /// Its number among all changes of the platform, so that of a tenant there are gaps.
    #[schema(example = 4711)]
    entry: i64,
    /// When it was made.
    at: DateTime<Utc>,
    /// Who made it.
    #[schema(example = "cli:ada")]
    actor: String,
    /// From where.
    #[schema(example = "api 10.0.0.7")]
    origin: String,
    /// Of which service; `null` where it concerns the tenant.
    #[schema(required = true, example = "gender")]
    service: Option<String>,
    /// What was done to what.
    #[schema(example = "generation.rolled_back")]
    action: String,
    /// Which one: the number, name, prefix or hash.
    #[schema(example = "41")]
    subject: String,
    /// What changed, by column.
    #[schema(value_type = Object, example = json!({"previous": 42}))]
    detail: serde_json::Value,
    /// The hash of this entry, made from all of its fields and the hash of the one before.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    hash: String,
}

/// A page of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryPage {
    /// Newest first.
    entries: Vec<Entry>,
    /// Ask for the next page with it as `before`; `null` on the last page.
    #[schema(required = true, example = 4662)]
    next_before: Option<i64>,
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only of this service.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// Only at or after this instant.
    #[param(example = "2026-03-01T00:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// Only entries with a smaller number: the `next_before` of the page before.
    #[param(example = 4662)]
    before: Option<i64>,
    /// Most entries of the page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200, example = 50)]
    limit: Option<u32>,
}

/// List a tenant's audit trail
///
/// Every change of its services, releases, runs, publications and keys, newest first; for a key of some
/// services, the changes of these. Pages are stable: what happens meanwhile does not shift them.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit", operation_id = "listAudit", tag = "tenants",
    params(("tenant" = String, Path, description = "The team.", example = "marketing"), AuditQuery),
    responses((status = 200, description = "A page of the trail", body = EntryPage)))]
pub(crate) async fn list_audit(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    QueryParams(query): QueryParams<AuditQuery>,
) -> Result<Json<EntryPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_ENTRIES);
    if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("expected a `limit` of 1 to {PAGE_ENTRIES_MAX}, found {limit}"),
        ));
    }
    let tenant = path.tenant()?;
    let filter = AuditFilter {
        services: visible(&caller, &tenant, Check::AuditListed),
        tenant: Some(tenant),
        service: query.service,
        since: query.since,
        before: query.before,
        limit,
    };
    let entries = audit::list(&app.store, &filter).await?;
    // A full page may be the last one; the next is then empty, which costs less than counting.
    let is_full = entries.len() == limit as usize;
    let next_before = entries.last().filter(|_| is_full).map(|entry| entry.entry);
    Ok(Json(EntryPage { entries: entries.into_iter().map(Entry::from).collect(), next_before }))
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            entry: entry.entry,
            at: entry.at,
            actor: entry.actor,
            origin: entry.origin,
            service: entry.service,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
            hash: entry.hash,
        }
    }
}
