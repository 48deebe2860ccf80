//! Runs beside production.

use cameo_domain::{ReleaseId, ServiceName, ServicePath, TenantName};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::RunTrigger;
use crate::StoreError;

/// Instants of services, column by column, as one statement takes them.
#[derive(Default)]
pub(crate) struct Instants<'p> {
    pub(crate) tenants: Vec<&'p str>,
    pub(crate) services: Vec<&'p str>,
    pub(crate) due_at: Vec<DateTime<Utc>>,
}

impl<'p> Instants<'p> {
    pub(crate) fn push(
        &mut self,
        tenant: &'p TenantName,
        service: &'p ServiceName,
        due_at: DateTime<Utc>,
    ) {
        self.tenants.push(tenant.as_str());
        self.services.push(service.as_str());
        self.due_at.push(due_at);
    }
}

/// Creates the run of each release in shadow or canary for instants for which production has one. In
/// the same transaction, so that both have it or neither.
pub(crate) async fn create_beside(
    connection: &mut PgConnection,
    instants: &Instants<'_>,
    trigger: RunTrigger,
) -> Result<(), StoreError> {
    let trigger = match trigger {
        RunTrigger::Schedule => "schedule",
        RunTrigger::Manual => "manual",
    };
    sqlx::query(
        "insert into cameo.runs (tenant, service, release, due_at, trigger, attempts_max, purpose)
         select d.tenant, d.service, s.release, d.due_at, $4, r.attempts_max, 'shadow'
         from unnest($1::text[], $2::text[], $3::timestamptz[])
             with ordinality as d (tenant, service, due_at, place)
         join cameo.release_stages s using (tenant, service)
         join cameo.releases r using (tenant, service, release)
         where s.stage in ('shadow', 'canary')
         order by d.place, s.release
         on conflict (tenant, service, release, due_at) where purpose = 'shadow' do nothing",
    )
    .bind(&instants.tenants)
    .bind(&instants.services)
    .bind(&instants.due_at)
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
