//! Applying: a bundle's release is registered and enters the stage that its config names.

use cameo_domain::{ServicePath, Stage, TenantName};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};

use super::{
    NewRelease,
    guards::{is_protected, request},
    moves::{Action, Due, Entry, lock_service, shift, stage_of},
    policy_name,
};
use crate::{Store, StoreError, connect::say};

/// What applying a release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// The service is new.
    Created,
    /// The service now runs another release.
    Changed,
    /// The release was registered; what the service runs is as before.
    Registered,
    /// The release was registered, and somebody has to approve it for production.
    AwaitsApproval,
    /// Nothing changed: the release is where it was.
    Unchanged,
    /// Nothing changed: somebody rolled the release back, or put it away, and only a promotion brings it
    /// back.
    Held,
}

/// Registers a release and moves it into the stage that it asks for. Applying it again changes nothing
/// while it is in use. The tenant must exist.
///
/// A release whose place was taken by another, or whose service was archived, comes back when it is
/// applied again: git is what is wanted. One that somebody rolled back, or put away, does not.
pub async fn apply(
    store: &Store,
    tenant: &TenantName,
    new: &NewRelease,
) -> Result<Applied, StoreError> {
    let (tenant, new) = (tenant.clone(), new.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &new.by.actor, Some(&new.by.origin)).await?;
                insert(connection, &tenant, &new).await?;
                let created = create_service(connection, &tenant, &new).await?;
                let path = ServicePath::new(tenant, new.service.clone());
                let at = lock_service(connection, &path).await?;
                enter(connection, &path, &new, created, at).await
            })
        })
        .await
}

async fn enter(
    connection: &mut PgConnection,
    path: &ServicePath,
    new: &NewRelease,
    created: bool,
    at: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    let from = stage_of(connection, path, new.release).await?;
    match from {
        Some(Stage::Archived) if was_put_away(connection, path, new).await? => {
            return Ok(Applied::Held);
        }
        Some(Stage::Archived) | None => {}
        Some(_) => return Ok(Applied::Unchanged),
    }
    let due = Due::At(new.next_due_at);
    let reason = new.reason.as_deref();
    let entry = Entry { action: Action::Apply, reason, by: &new.by, at, due };
    let waits =
        new.stage == Stage::Production && is_protected(connection, path, new.release).await?;
    let to = if waits { Stage::Candidate } else { new.stage };
    shift(connection, path, new.release, from, to, &entry).await?;
    if waits {
        request(connection, path, new.release, reason, &new.by).await?;
        return Ok(Applied::AwaitsApproval);
    }
    Ok(match (created, to) {
        (true, _) => Applied::Created,
        (false, Stage::Production) => Applied::Changed,
        (false, _) => Applied::Registered,
    })
}

/// Whether an archived release is there because somebody rolled it back or put it there.
async fn was_put_away(
    connection: &mut PgConnection,
    path: &ServicePath,
    new: &NewRelease,
) -> Result<bool, StoreError> {
    let put_away = sqlx::query_scalar(
        "select p.action in ('rollback', 'promote') from cameo.promotions p
         where p.tenant = $1 and p.service = $2 and p.release = $3
         order by p.promotion desc limit 1",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(new.release.to_string())
    .fetch_one(connection)
    .await?;
    Ok(put_away)
}

async fn create_service(
    connection: &mut PgConnection,
    tenant: &TenantName,
    new: &NewRelease,
) -> Result<bool, StoreError> {
    let created = sqlx::query(
        "insert into cameo.services (tenant, service, release, next_due_at)
         values ($1, $2, null, $3) on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(new.service.as_str())
    .bind(new.next_due_at)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(created == 1)
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
             applied_by, protected, shadow_runs_min)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20)
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
    .bind(&new.by.actor)
    .bind(new.protected)
    .bind(i32::try_from(new.shadow_runs_min).unwrap_or(i32::MAX))
    .execute(connection)
    .await?;
    Ok(())
}

fn bounded(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
