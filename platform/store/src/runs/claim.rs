//! Taking a run from the queue.

use cameo_domain::{Epoch, PredictionSchema, ReleaseId, RunId, ServicePath, TenantName};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::{RunPurpose, RunTrigger, waiting::waiting_since_sql};
use crate::{
    Store, StoreError,
    releases::ReleaseHashes,
    row::{Columns, get},
};

/// A run that this worker holds until its lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedRun {
    /// The run.
    pub run: RunId,
    /// The number of this claim; every later write states it.
    pub epoch: Epoch,
    /// Whose run.
    pub path: ServicePath,
    /// What to execute.
    pub release: ReleaseId,
    /// The release's manifest.
    pub manifest: serde_json::Value,
    /// The declared predictions.
    pub schema: PredictionSchema,
    /// The hashes of the release's parts.
    pub hashes: ReleaseHashes,
    /// What it is for.
    pub purpose: RunPurpose,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// What asked for it.
    pub trigger: RunTrigger,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many attempts it has.
    pub attempts_max: u32,
    /// When the lease ends unless it is renewed.
    pub lease_expires_at: DateTime<Utc>,
    /// How long it waited to be claimed: since it was due, was asked for, or could be tried again.
    pub waited_seconds: f64,
}

impl FromRow<'_, PgRow> for ClaimedRun {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        let trigger: &str = row.try_get("trigger")?;
        Ok(Self {
            run: get(row, "run", RunId)?,
            epoch: get(row, "epoch", Epoch)?,
            path: row.path()?,
            release: row.parsed("release")?,
            manifest: row.try_get("manifest")?,
            schema: schema.0,
            hashes: ReleaseHashes {
                config: row.parsed("config_hash")?,
                sql: row.parsed("sql_hash")?,
                model: row.parsed("model_hash")?,
            },
            purpose: RunPurpose::of(row)?,
            due_at: row.try_get("due_at")?,
            trigger: match trigger {
                "manual" => RunTrigger::Manual,
                _ => RunTrigger::Schedule,
            },
            attempt: get(row, "attempt", i32::unsigned_abs)?,
            attempts_max: get(row, "attempts_max", i32::unsigned_abs)?,
            lease_expires_at: row.try_get("lease_expires_at")?,
            waited_seconds: row.try_get("waited_seconds")?,
        })
    }
}

/// Which runs a free place of a worker is for; by default any.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Production's runs only.
    pub to_publish: bool,
    /// Not of these tenants: they have their share of the worker.
    pub except: Vec<TenantName>,
}

/// Takes the next run: of the tenant that claimed least recently and has quota left, the oldest due
/// one whose service has no running run; what runs beside production only where nothing else waits.
///
/// A shadow run waits until production's run of its instant has ended, and takes only quota that nothing
/// uses; production's runs do not count shadow runs. So none of them ever waits for one.
pub async fn claim(
    store: &Store,
    worker: &str,
    lease_seconds: u32,
) -> Result<Option<ClaimedRun>, StoreError> {
    claim_in(store, worker, lease_seconds, &Turn::default()).await
}

/// [`claim`] among the runs that it is the turn of.
pub async fn claim_in(
    store: &Store,
    worker: &str,
    lease_seconds: u32,
    turn: &Turn,
) -> Result<Option<ClaimedRun>, StoreError> {
    let (worker, beside) = (worker.to_owned(), !turn.to_publish);
    let mut tried: Vec<String> = turn.except.iter().map(ToString::to_string).collect();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                while let Some(tenant) = lock_tenant(connection, &tried, beside).await? {
                    if let Some(run) =
                        take(connection, &tenant, &worker, lease_seconds, beside).await?
                    {
                        return Ok(Some(run));
                    }
                    tried.push(tenant);
                }
                Ok(None)
            })
        })
        .await
}

/// The next run of each service of a tenant `t` that may be claimed; `$2`: whether runs beside production
/// may be taken.
///
/// One look into an index per service: what a claim costs does not depend on how many runs a tenant has
/// queued, so that nobody waits because of another tenant's queue. The time is that of the look, not that of the
/// transaction: one that waited for its turn would pass over a run that came back meanwhile, and take a later instant
/// of its service.
macro_rules! next_runs_sql {
    () => {
        "select q.run, q.due_at, 'publish' as purpose
         from cameo.services s cross join lateral (
             select q.run, q.due_at from cameo.runs q
             where q.tenant = s.tenant and q.service = s.service and q.purpose = 'publish'
               and q.state = 'queued' and q.not_before <= clock_timestamp()
             order by q.due_at, q.run limit 1) q
         where s.tenant = t.tenant
           and t.max_concurrent_runs > (
               select count(*) from cameo.runs o
               where o.tenant = t.tenant and o.state = 'running' and o.purpose = 'publish')
           and not exists (
               select from cameo.runs o
               where o.tenant = s.tenant and o.service = s.service and o.state = 'running'
                 and o.purpose = 'publish')
         union all
         select q.run, q.due_at, 'shadow'
         from cameo.services s cross join lateral (
             select q.run, q.due_at from cameo.runs q
             where q.tenant = s.tenant and q.service = s.service and q.purpose = 'shadow'
               and q.state = 'queued' and q.not_before <= clock_timestamp()
             order by q.due_at, q.run limit 1) q
         where $2 and s.tenant = t.tenant
           and t.max_concurrent_runs > (
               select count(*) from cameo.runs o
               where o.tenant = t.tenant and o.state = 'running')
           and not exists (
               select from cameo.runs o
               where o.tenant = s.tenant and o.service = s.service and o.state = 'running'
                 and o.purpose = 'shadow')
           and not exists (
               select from cameo.runs p
               where p.tenant = s.tenant and p.service = s.service and p.purpose = 'publish'
                 and p.state in ('queued', 'running') and p.due_at <= q.due_at)"
    };
}

macro_rules! lock_tenant_sql {
    () => {
        concat!(
            "select t.tenant from cameo.tenants t
             where t.tenant <> all ($1) and exists (",
            next_runs_sql!(),
            ") order by t.last_claim_at nulls first, t.tenant limit 1"
        )
    };
}

/// Locks the row of the tenant whose turn it is. All claims of a tenant hold this lock, so its
/// quota is counted by one claimer at a time.
async fn lock_tenant(
    connection: &mut PgConnection,
    tried: &[String],
    beside: bool,
) -> Result<Option<String>, StoreError> {
    // Skip locked rows first: a claimer never waits while another tenant has work. Only when all
    // that is left is being claimed by others, wait for them, which takes milliseconds.
    for locking in [
        concat!(lock_tenant_sql!(), " for no key update of t skip locked"),
        concat!(lock_tenant_sql!(), " for no key update of t"),
    ] {
        let tenant: Option<String> = sqlx::query_scalar(locking)
            .bind(tried)
            .bind(beside)
            .fetch_optional(&mut *connection)
            .await?;
        if tenant.is_some() {
            return Ok(tenant);
        }
    }
    Ok(None)
}

/// Takes a run of the locked tenant. This statement sees what earlier holders of the lock did,
/// which the statement that waited for the lock may not. A run that is cancelled at this moment is not
/// taken, and the tenant's others come with the next claim.
async fn take(
    connection: &mut PgConnection,
    tenant: &str,
    worker: &str,
    lease_seconds: u32,
    beside: bool,
) -> Result<Option<ClaimedRun>, StoreError> {
    let claimed = sqlx::query_as(concat!(
        "update cameo.runs r
         set state = 'running', epoch = r.epoch + 1, attempt = r.attempt + 1, worker = $3,
             lease_expires_at = clock_timestamp() + make_interval(secs => $4),
             started_at = coalesce(r.started_at, clock_timestamp()),
             attempt_started_at = clock_timestamp(), progress = null, memory_peak_bytes = null
         from cameo.releases l
         where (l.tenant, l.service, l.release) = (r.tenant, r.service, r.release)
           and r.run = (
               select n.run from cameo.tenants t cross join lateral (",
        next_runs_sql!(),
        "      ) n where t.tenant = $1 order by n.purpose, n.due_at, n.run limit 1)
           and r.state = 'queued'
         returning r.*, l.manifest, l.schema, l.config_hash, l.sql_hash, l.model_hash,
             extract(epoch from clock_timestamp() - ",
        waiting_since_sql!("1"),
        ")::float8 as waited_seconds"
    ))
    .bind(tenant)
    .bind(beside)
    .bind(worker)
    .bind(f64::from(lease_seconds))
    .fetch_optional(&mut *connection)
    .await?;
    if claimed.is_some() {
        sqlx::query("update cameo.tenants set last_claim_at = clock_timestamp() where tenant = $1")
            .bind(tenant)
            .execute(connection)
            .await?;
    }
    Ok(claimed)
}
