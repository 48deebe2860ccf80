//! What keeps a release from moving: the table of stages, comparisons that it lacks, an approval.

use cameo_domain::{ReleaseId, ServicePath, Stage};
use sqlx::{PgConnection, Row};

use crate::{By, StoreError};

/// Production is left by the release that replaces it, or with its service.
pub(super) fn check_step(from: Stage, to: Stage) -> Result<(), StoreError> {
    if from == Stage::Production {
        return Err(StoreError::Promotion(
            "it is in production; promote another release, which takes its place, or archive the \
             service"
                .to_owned(),
        ));
    }
    if from.may_become(to) {
        return Ok(());
    }
    let next: Vec<&str> = from.next().iter().map(|stage| stage.as_str()).collect();
    Err(StoreError::Promotion(format!(
        "a release goes from {from} to {}, not to {to}",
        next.join(", ")
    )))
}

/// Whether production of the service is protected: by the release that is there or by the new one, so
/// that a release which lifts the protection needs an approval itself.
pub(super) async fn is_protected(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<bool, StoreError> {
    let protected = sqlx::query_scalar(
        "select coalesce(bool_or(r.protected), false)
         from cameo.services s
         join cameo.releases r on (r.tenant, r.service) = (s.tenant, s.service)
             and r.release in (s.release, $3)
         where s.tenant = $1 and s.service = $2",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_one(connection)
    .await?;
    Ok(protected)
}

/// A release enters canary or production only after as many passed comparisons in a row as it asks for
/// itself. It need not where nothing is in production to compare it with, or where it stood there before.
pub(super) async fn check_comparisons(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    to: Stage,
) -> Result<(), StoreError> {
    if !matches!(to, Stage::Canary | Stage::Production) {
        return Ok(());
    }
    let row = sqlx::query(
        "select r.shadow_runs_min, cameo.comparisons_passed(r.tenant, r.service, r.release) as passed,
                s.release is null or exists (
                    select from cameo.promotions p
                    where (p.tenant, p.service, p.release) = (r.tenant, r.service, r.release)
                      and p.to_stage = 'production') as exempt
         from cameo.releases r join cameo.services s using (tenant, service)
         where r.tenant = $1 and r.service = $2 and r.release = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_one(connection)
    .await?;
    let (wanted, passed): (i32, i64) = (row.try_get("shadow_runs_min")?, row.try_get("passed")?);
    if passed >= i64::from(wanted) || row.try_get("exempt")? {
        return Ok(());
    }
    Err(StoreError::Promotion(format!(
        "its last {passed} comparisons with production have passed, SHADOW_RUNS_MIN asks for {wanted}; \
         promote it to shadow and let the schedule run it"
    )))
}

/// Asks for the approval of a release.
pub(super) async fn request(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    reason: Option<&str>,
    by: &By,
) -> Result<i64, StoreError> {
    let request = sqlx::query_scalar(
        "insert into cameo.promotion_requests (tenant, service, release, actor, origin, reason)
         values ($1, $2, $3, $4, $5, $6) returning request",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(&by.actor)
    .bind(&by.origin)
    .bind(reason)
    .fetch_one(connection)
    .await?;
    Ok(request)
}

/// The newest request for a release since it last changed its stage that `by` may approve.
pub(super) async fn open_request(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    by: &By,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select q.request, q.actor, not cameo.may_be_one_person(q.actor, $4) as of_another
         from cameo.promotion_requests q
         join cameo.release_stages s using (tenant, service, release)
         where q.tenant = $1 and q.service = $2 and q.release = $3 and q.at >= s.since
         order by of_another desc, q.request desc limit 1",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(&by.actor)
    .fetch_optional(connection)
    .await?;
    let short = release.0.short();
    let row = row.ok_or_else(|| {
        StoreError::Promotion(format!("nobody has asked to promote {short}; `cameo promote` asks"))
    })?;
    if row.try_get("of_another")? {
        return Ok(row.try_get("request")?);
    }
    let asker: String = row.try_get("actor")?;
    let relation = if asker == by.actor {
        String::new()
    } else {
        format!(", which {} may be as well, since one key was made with the other", by.actor)
    };
    Err(StoreError::Promotion(format!(
        "{asker} asked to promote {short}{relation}; somebody else has to approve it"
    )))
}
