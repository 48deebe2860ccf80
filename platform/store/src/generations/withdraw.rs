//! The end of archived services.

use cameo_domain::ServicePath;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::{
    Store, StoreError,
    connect::say,
    releases::lock_service,
    row::{Columns, quoted, tenant_schema},
};

/// How long the predictions of an archived service stay served and kept: 30 days.
pub const ARCHIVED_KEPT_SECONDS: u32 = 30 * 24 * 3600;
/// Who withdraws, in the ledger.
const ACTOR: &str = "retention";
/// Most services that one call withdraws.
const WITHDRAWN_MAX: i64 = 64;
/// Longest wait for a reader of the view; the next call tries again.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Services of which nothing is in use since `$1` seconds, and which still show something.
const EXPIRED: &str = "
    select s.tenant, s.service, s.current_generation
    from cameo.services s
    where s.current_generation is not null and s.release is null
      and not exists (
          select from cameo.release_stages t
          where (t.tenant, t.service) = (s.tenant, s.service)
            and (t.stage <> 'archived'
                 or t.since > clock_timestamp() - make_interval(secs => $1)))";

/// Withdraws the predictions of services that were archived [`ARCHIVED_KEPT_SECONDS`] ago: the pointer
/// refers to nothing, the view goes, and [`super::retain`] drops the tables. The ledger keeps it all.
pub async fn withdraw(store: &Store) -> Result<Vec<ServicePath>, StoreError> {
    withdraw_after(store, ARCHIVED_KEPT_SECONDS).await
}

/// [`withdraw`] after another time.
pub async fn withdraw_after(
    store: &Store,
    kept_seconds: u32,
) -> Result<Vec<ServicePath>, StoreError> {
    let expired = sqlx::query(AssertSqlSafe(format!("{EXPIRED} order by 1, 2 limit $2")))
        .bind(f64::from(kept_seconds))
        .bind(WITHDRAWN_MAX)
        .fetch_all(store.control())
        .await?;
    let mut withdrawn = Vec::new();
    for row in &expired {
        let path = row.path()?;
        let own = path.clone();
        let outcome = store
            .transaction(move |connection| {
                Box::pin(async move { withdraw_one(connection, &own, kept_seconds).await })
            })
            .await;
        match outcome {
            Ok(true) => withdrawn.push(path),
            Ok(false) => {}
            Err(error) if error.sqlstate().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                tracing::debug!(service = %path, "the service is in use; it is withdrawn later");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(withdrawn)
}

async fn withdraw_one(
    connection: &mut PgConnection,
    path: &ServicePath,
    kept_seconds: u32,
) -> Result<bool, StoreError> {
    say(connection, ACTOR, None).await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
    let at = lock_service(connection, path).await?;
    let (tenant, service) = (path.tenant.as_str(), path.service.as_str());
    let still =
        sqlx::query(AssertSqlSafe(format!("{EXPIRED} and s.tenant = $2 and s.service = $3")))
            .bind(f64::from(kept_seconds))
            .bind(tenant)
            .bind(service)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(still) = still else { return Ok(false) };
    let previous: i64 = still.try_get("current_generation")?;
    let view = format!("{}.{}", quoted(&tenant_schema(&path.tenant)), quoted(service));
    sqlx::query(AssertSqlSafe(format!("drop view if exists {view}")))
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update cameo.services set current_generation = null, view_generation = null
         where tenant = $1 and service = $2",
    )
    .bind(tenant)
    .bind(service)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "insert into cameo.publications (tenant, service, action, generation, previous, actor, at)
         values ($1, $2, 'withdraw', null, $3, $4, $5)",
    )
    .bind(tenant)
    .bind(service)
    .bind(previous)
    .bind(ACTOR)
    .bind(at)
    .execute(&mut *connection)
    .await?;
    sqlx::query("select pg_notify('cameo_publications', $1)")
        .bind(path.to_string())
        .execute(connection)
        .await?;
    Ok(true)
}
