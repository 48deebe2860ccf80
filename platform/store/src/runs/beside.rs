//! Runs beside production.

use cameo_domain::{ReleaseId, ServiceName, ServicePath, TenantName};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::RunTrigger;
use crate::StoreError;

/// Creates the run of each release in shadow or canary for an instant for which production has one. In
/// the same transaction, so that both have it or neither.
pub(crate) async fn create_beside(
    connection: &mut PgConnection,
    tenant: &TenantName,
    service: &ServiceName,
    due_at: DateTime<Utc>,
    trigger: RunTrigger,
) -> Result<(), StoreError> {
    let trigger = match trigger {
        RunTrigger::Schedule => "schedule",
        RunTrigger::Manual => "manual",
    };
    sqlx::query(
        "insert into cameo.runs (tenant, service, release, due_at, trigger, attempts_max, purpose)
         select s.tenant, s.service, s.release, $3, $4, r.attempts_max, 'shadow'
         from cameo.release_stages s join cameo.releases r using (tenant, service, release)
         where s.tenant = $1 and s.service = $2 and s.stage in ('shadow', 'canary')
         on conflict (tenant, service, release, due_at) where purpose = 'shadow' do nothing",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(due_at)
    .bind(trigger)
    .execute(connection)
    .await?;
    Ok(())
}

/// Withdraws the waiting runs of a release that no longer runs beside production.
pub(crate) async fn cancel_beside(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<(), StoreError> {
    let reason = cameo_domain::Reason::new("cancelled", "the release left the shadow stage");
    sqlx::query(
        "update cameo.runs set state = 'cancelled', finished_at = now(), reason = $4
         where tenant = $1 and service = $2 and release = $3 and purpose = 'shadow'
           and state = 'queued'",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(Json(reason))
    .execute(connection)
    .await?;
    Ok(())
}
