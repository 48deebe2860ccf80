//! Runs: executions of a release for one due instant.

mod beside;
mod claim;
mod lease;
mod record;
mod waiting;

pub(crate) use beside::{Instants, cancel_beside, create_beside};
pub use claim::{ClaimedRun, Turn, claim, claim_in};
pub(crate) use lease::hold;
pub use lease::{expire_leases, fail, halt, hand_back, heartbeat, requeue};
pub use record::{Progress, RunCounts, RunPurpose, RunRecord, RunTrigger, StepTime};
pub use waiting::{Waiting, waiting};

use cameo_checkpoint::{Check, passes};
use cameo_domain::{RunId, RunState, ServiceName, Services, TenantName};
use chrono::{DateTime, Duration, Utc};
use sqlx::{PgConnection, types::Json};

use crate::{
    Store, StoreError,
    connect::say,
    row::{get, names},
};

/// Most runs in one page of [`list`].
pub const PAGE_ROWS_MAX: u32 = 200;
/// How many microseconds a manual run's instant may move to be unlike every other.
const INSTANT_ATTEMPTS_MAX: i64 = 100;

/// What became of a request to run now.
#[derive(Debug, Clone)]
pub enum Requested {
    /// A new run waits.
    Created(RunRecord),
    /// The same key had asked before; this is its run.
    Existing(RunRecord),
}

impl Requested {
    /// The run, new or not.
    #[must_use]
    pub fn into_run(self) -> RunRecord {
        match self {
            Self::Created(run) | Self::Existing(run) => run,
        }
    }
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of one tenant, or of all.
    pub tenant: Option<TenantName>,
    /// Of one service.
    pub service: Option<ServiceName>,
    /// Of some services.
    pub services: Services,
    /// In one state.
    pub state: Option<RunState>,
    /// Older than this run: the last one of the page before.
    pub before: Option<RunId>,
    /// At most this many, up to [`PAGE_ROWS_MAX`]; 0 stands for the most.
    pub limit: u32,
}

/// Asks for a run now, at the instant `due_at`. What runs beside production does so for this instant as
/// well. The same `idempotency_key` gives the same run.
pub async fn create_manual(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    idempotency_key: &str,
    due_at: DateTime<Utc>,
    requested_by: &str,
) -> Result<Requested, StoreError> {
    let (tenant, service) = (tenant.clone(), service.clone());
    let (key, requested_by) = (idempotency_key.to_owned(), requested_by.to_owned());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                stand_still(connection, &tenant, &service).await?;
                for later in 0..INSTANT_ATTEMPTS_MAX {
                    let due_at = due_at + Duration::microseconds(later);
                    let created =
                        insert_manual(connection, &tenant, &service, &key, due_at, &requested_by)
                            .await?;
                    if let Some(run) = created {
                        return Ok(Requested::Created(run));
                    }
                    if let Some(run) = by_key(connection, &tenant, &service, &key).await? {
                        return Ok(Requested::Existing(run));
                    }
                    match is_in_production(connection, &tenant, &service).await? {
                        None => {
                            let what = format!("service {tenant}/{service}");
                            return Err(StoreError::NotFound(what));
                        }
                        Some(false) => {
                            let what = format!("{tenant}/{service}");
                            return Err(StoreError::NothingInProduction(what));
                        }
                        // Another run has exactly this instant: take the next microsecond.
                        Some(true) => {}
                    }
                }
                let (what, limit) = ("runs of a service at one instant", INSTANT_ATTEMPTS_MAX);
                let limit = usize::try_from(limit).unwrap_or_default();
                Err(StoreError::TooMany { what, limit, found: limit + 1 })
            })
        })
        .await
}

/// Keeps the releases of a service where they are until the end of the transaction: one that leaves takes its
/// waiting runs with it, so none may be added to them at that moment.
async fn stand_still(
    connection: &mut PgConnection,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<(), StoreError> {
    sqlx::query("select from cameo.services where tenant = $1 and service = $2 for share")
        .bind(tenant.as_str())
        .bind(service.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(())
}

async fn insert_manual(
    connection: &mut PgConnection,
    tenant: &TenantName,
    service: &ServiceName,
    key: &str,
    due_at: DateTime<Utc>,
    requested_by: &str,
) -> Result<Option<RunRecord>, StoreError> {
    let record: Option<RunRecord> = sqlx::query_as(
        "insert into cameo.runs (tenant, service, release, due_at, trigger, requested_by,
             idempotency_key, attempts_max)
         select s.tenant, s.service, s.release, $4, 'manual', $5, $3, r.attempts_max
         from cameo.services s join cameo.releases r using (tenant, service, release)
         where s.tenant = $1 and s.service = $2
         on conflict do nothing returning *",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(key)
    .bind(due_at)
    .bind(requested_by)
    .fetch_optional(&mut *connection)
    .await?;
    if record.is_some() {
        let mut instants = Instants::default();
        instants.push(tenant, service, due_at);
        create_beside(connection, &instants, RunTrigger::Manual).await?;
        sqlx::query("select pg_notify('cameo_runs', '')").execute(connection).await?;
    }
    Ok(record)
}

async fn by_key(
    connection: &mut PgConnection,
    tenant: &TenantName,
    service: &ServiceName,
    key: &str,
) -> Result<Option<RunRecord>, StoreError> {
    let record = sqlx::query_as(
        "select * from cameo.runs where tenant = $1 and service = $2 and idempotency_key = $3",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(key)
    .fetch_optional(connection)
    .await?;
    Ok(record)
}

/// Whether a release of the service is in production; none where there is no such service.
async fn is_in_production(
    connection: &mut PgConnection,
    tenant: &TenantName,
    service: &ServiceName,
) -> Result<Option<bool>, StoreError> {
    let found = sqlx::query_scalar(
        "select release is not null from cameo.services where tenant = $1 and service = $2",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(found)
}

/// One run of the tenant.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    run: RunId,
) -> Result<Option<RunRecord>, StoreError> {
    let record: Option<RunRecord> = sqlx::query_as("select * from cameo.runs where run = $1")
        .bind(run.0)
        .fetch_optional(store.control())
        .await?;
    let is_own = |record: &RunRecord| passes(Check::TenantOfRun, record.path.tenant == *tenant);
    Ok(record.filter(is_own))
}

/// A page of runs, newest first.
pub async fn list(store: &Store, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreError> {
    let limit = if filter.limit == 0 { PAGE_ROWS_MAX } else { filter.limit.min(PAGE_ROWS_MAX) };
    let records = sqlx::query_as(
        "select * from cameo.runs
         where ($1::text is null or tenant = $1) and ($2::text is null or service = $2)
           and ($3::text is null or state = $3) and ($4::bigint is null or run < $4)
           and ($6::text[] is null or service = any($6))
         order by run desc limit $5",
    )
    .bind(filter.tenant.as_ref().map(TenantName::as_str))
    .bind(filter.service.as_ref().map(ServiceName::as_str))
    .bind(filter.state.map(RunState::as_str))
    .bind(filter.before.map(|run| run.0))
    .bind(i64::from(limit))
    .bind(names(&filter.services))
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// Withdraws a run that no worker has taken.
pub async fn cancel(
    store: &Store,
    tenant: &TenantName,
    run: RunId,
    actor: &str,
) -> Result<RunRecord, StoreError> {
    let reason = cameo_domain::Reason::new("cancelled", format!("withdrawn by {actor}"));
    let (owner, actor) = (tenant.clone(), actor.to_owned());
    let cancelled: Option<RunRecord> = store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &actor, None).await?;
                let cancelled = sqlx::query_as(
                    "update cameo.runs set state = 'cancelled', finished_at = now(), reason = $3
                     where tenant = $1 and run = $2 and state = 'queued' returning *",
                )
                .bind(owner.as_str())
                .bind(run.0)
                .bind(Json(reason))
                .fetch_optional(connection)
                .await?;
                Ok(cancelled)
            })
        })
        .await?;
    if let Some(run) = cancelled {
        return Ok(run);
    }
    match find(store, tenant, run).await? {
        None => Err(StoreError::NotFound(format!("run {run}"))),
        Some(found) => Err(StoreError::RunState { run, found: found.state, expected: "queued" }),
    }
}

/// How many runs are queued and running, per tenant: `(tenant, state, runs)`.
pub async fn counts(store: &Store) -> Result<Vec<(TenantName, RunState, u64)>, StoreError> {
    use crate::row::Columns;
    let rows = sqlx::query(
        "select tenant, state, count(*) as runs from cameo.runs
         where state in ('queued', 'running') group by tenant, state order by tenant, state",
    )
    .fetch_all(store.control())
    .await?;
    let read = |row| -> Result<_, sqlx::Error> {
        let runs = get(row, "runs", i64::unsigned_abs)?;
        Ok((row.parsed("tenant")?, row.parsed("state")?, runs))
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
