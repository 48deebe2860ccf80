//! Taking a run from the queue.

use cameo_domain::{Epoch, PredictionSchema, ReleaseId, RunId, ServicePath};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::{RunPurpose, RunTrigger};
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
        })
    }
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
    claim_for(store, worker, lease_seconds, true).await
}

/// [`claim`] that takes production's runs only: for the last free place of a worker.
pub async fn claim_to_publish(
    store: &Store,
    worker: &str,
    lease_seconds: u32,
) -> Result<Option<ClaimedRun>, StoreError> {
    claim_for(store, worker, lease_seconds, false).await
}

async fn claim_for(
    store: &Store,
    worker: &str,
    lease_seconds: u32,
    beside: bool,
) -> Result<Option<ClaimedRun>, StoreError> {
    let worker = worker.to_owned();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let mut tried = Vec::new();
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

/// The condition on a queued run `q` of a tenant `t`; `$2`: whether runs beside production may be taken.
macro_rules! claimable_sql {
    () => {
        "q.tenant = t.tenant and q.state = 'queued' and q.not_before <= now()
         and ($2 or q.purpose = 'publish')
         and not exists (
             select from cameo.runs o
             where o.tenant = q.tenant and o.service = q.service and o.state = 'running'
               and o.purpose = q.purpose)
         and (q.purpose = 'publish' or not exists (
             select from cameo.runs p
             where p.tenant = q.tenant and p.service = q.service and p.purpose = 'publish'
               and p.state in ('queued', 'running') and p.due_at <= q.due_at))
         and t.max_concurrent_runs > (
             select count(*) from cameo.runs o
             where o.tenant = t.tenant and o.state = 'running'
               and (q.purpose = 'shadow' or o.purpose = 'publish'))"
    };
}

macro_rules! lock_tenant_sql {
    () => {
        concat!(
            "select t.tenant from cameo.tenants t
             where t.tenant <> all ($1) and exists (select from cameo.runs q where ",
            claimable_sql!(),
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
/// which the statement that waited for the lock may not.
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
               select q.run from cameo.runs q join cameo.tenants t on t.tenant = $1
               where ",
        claimable_sql!(),
        "      order by q.purpose, q.due_at, q.run limit 1
               for update of q skip locked)
         returning r.*, l.manifest, l.schema, l.config_hash, l.sql_hash, l.model_hash"
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
