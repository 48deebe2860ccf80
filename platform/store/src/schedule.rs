//! Due instants become runs.

use cameo_domain::{
    MissedRunPolicy, ReleaseId, RunId, ServicePath,
    schedule::{Decision, DueOutcome},
};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    releases::policy_from,
    row::{Columns, get},
    runs::{RunTrigger, create_beside},
};

/// Most due instants that one decision may carry: it is one transaction.
pub const DECISION_INSTANTS_MAX: usize = 1_000;

/// A service of which an instant has come due.
#[derive(Debug, Clone)]
pub struct DueService {
    /// Tenant and name.
    pub path: ServicePath,
    /// What the runs will execute.
    pub release: ReleaseId,
    /// Five-field pattern.
    pub cron: String,
    /// IANA zone of the pattern.
    pub timezone: String,
    /// The first due instant that is not decided yet.
    pub next_due_at: DateTime<Utc>,
    /// What happens to instants that passed while nothing could run.
    pub missed_run_policy: MissedRunPolicy,
    /// How far back a missed instant is still worth running.
    pub missed_run_window_seconds: u64,
    attempts_max: i32,
}

impl FromRow<'_, PgRow> for DueService {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            path: row.path()?,
            release: row.parsed("release")?,
            cron: row.try_get("cron")?,
            timezone: row.try_get("timezone")?,
            next_due_at: row.try_get("next_due_at")?,
            missed_run_policy: policy_from(row.try_get("missed_run_policy")?),
            missed_run_window_seconds: row.count("missed_run_window_seconds")?.unwrap_or_default(),
            attempts_max: row.try_get("attempts_max")?,
        })
    }
}

/// A run that the schedule created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledRun {
    /// The run.
    pub run: RunId,
    /// Whose.
    pub path: ServicePath,
    /// For which instant.
    pub due_at: DateTime<Utc>,
}

/// What one decision recorded.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Whose.
    pub path: ServicePath,
    /// Each due instant with its outcome, oldest first.
    pub due: Vec<(DateTime<Utc>, DueOutcome)>,
    /// The runs that were created.
    pub runs: Vec<ScheduledRun>,
}

enum Step {
    Nothing,
    Decided { decided: Decided, moved: bool },
}

/// Decides due services one after the other until none is due or `limit` decisions were made.
///
/// Each decision is one transaction: the outcome of every due instant, the runs, and the move of
/// `next_due_at`. Any number of schedulers may do this at once: a service that another one is
/// deciding is skipped, and the unique instants refuse what was decided before.
pub async fn advance(
    store: &Store,
    now: DateTime<Utc>,
    limit: usize,
    decide: impl Fn(&DueService) -> Decision + Clone + Send + Sync + 'static,
) -> Result<Vec<Decided>, StoreError> {
    let mut all = Vec::new();
    let mut stuck = Vec::new();
    for _ in 0..limit {
        let (decide, excluded) = (decide.clone(), stuck.clone());
        let step = store
            .transaction(move |connection| {
                Box::pin(async move { decide_next(connection, now, &excluded, &decide).await })
            })
            .await?;
        match step {
            Step::Nothing => break,
            Step::Decided { decided, moved } => {
                if !moved {
                    tracing::error!(service = %decided.path, "the schedule decided nothing; skipped");
                    stuck.push(decided.path.to_string());
                }
                cameo_crashpoint::hit("schedule_committed");
                all.push(decided);
            }
        }
    }
    Ok(all)
}

async fn decide_next<D>(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    excluded: &[String],
    decide: &D,
) -> Result<Step, StoreError>
where
    D: Fn(&DueService) -> Decision + Sync,
{
    let service: Option<DueService> = sqlx::query_as(
        "select s.tenant, s.service, s.release, s.next_due_at, r.cron, r.timezone,
                r.missed_run_policy, r.missed_run_window_seconds, r.attempts_max
         from cameo.services s join cameo.releases r using (tenant, service, release)
         where s.next_due_at <= $1 and s.tenant || '/' || s.service <> all ($2)
         order by s.next_due_at, s.tenant, s.service limit 1
         for no key update of s skip locked",
    )
    .bind(now)
    .bind(excluded)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(service) = service else { return Ok(Step::Nothing) };
    cameo_crashpoint::hit("schedule_locked");
    let decision = decide(&service);
    if decision.due.len() > DECISION_INSTANTS_MAX {
        let found = decision.due.len();
        let (what, limit) = ("due instants in a decision", DECISION_INSTANTS_MAX);
        return Err(StoreError::TooMany { what, limit, found });
    }
    let mut runs = Vec::new();
    for (due_at, outcome) in &decision.due {
        if let Some(run) = record(connection, &service, *due_at, outcome).await? {
            runs.push(ScheduledRun { run, path: service.path.clone(), due_at: *due_at });
            cameo_crashpoint::hit("schedule_run_inserted");
        }
    }
    sqlx::query("update cameo.services set next_due_at = $3 where tenant = $1 and service = $2")
        .bind(service.path.tenant.as_str())
        .bind(service.path.service.as_str())
        .bind(decision.next)
        .execute(&mut *connection)
        .await?;
    if !runs.is_empty() {
        sqlx::query("select pg_notify('cameo_runs', '')").execute(&mut *connection).await?;
    }
    cameo_crashpoint::hit("schedule_before_commit");
    let moved = decision.next > service.next_due_at;
    let decided = Decided { path: service.path, due: decision.due, runs };
    Ok(Step::Decided { decided, moved })
}

/// Records what becomes of an instant; gives the run that was created for it, if one was.
async fn record(
    connection: &mut PgConnection,
    service: &DueService,
    due_at: DateTime<Utc>,
    outcome: &DueOutcome,
) -> Result<Option<RunId>, StoreError> {
    // After a change of schedule an instant may come up again; its first outcome stands.
    let (tenant, name) = (service.path.tenant.as_str(), service.path.service.as_str());
    let decided: bool = sqlx::query_scalar(
        "select exists (select from cameo.due_instants
                        where tenant = $1 and service = $2 and due_at = $3)",
    )
    .bind(tenant)
    .bind(name)
    .bind(due_at)
    .fetch_one(&mut *connection)
    .await?;
    if decided {
        return Ok(None);
    }
    let run = match outcome {
        DueOutcome::Run => {
            let run = insert_run(connection, service, due_at).await?;
            let (tenant, name) = (&service.path.tenant, &service.path.service);
            create_beside(connection, tenant, name, due_at, RunTrigger::Schedule).await?;
            Some(run)
        }
        _ => None,
    };
    let (name_of_outcome, into, reason) = match outcome {
        DueOutcome::Run => ("run", None, None),
        DueOutcome::Coalesced { into } => ("coalesced", Some(*into), None),
        DueOutcome::Missed { reason } => ("missed", None, Some(reason.as_str())),
    };
    sqlx::query(
        "insert into cameo.due_instants
             (tenant, service, due_at, outcome, run, coalesced_into, reason)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant)
    .bind(name)
    .bind(due_at)
    .bind(name_of_outcome)
    .bind(run.map(|run| run.0))
    .bind(into)
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(run)
}

async fn insert_run(
    connection: &mut PgConnection,
    service: &DueService,
    due_at: DateTime<Utc>,
) -> Result<RunId, StoreError> {
    let (tenant, name) = (service.path.tenant.as_str(), service.path.service.as_str());
    let created = sqlx::query(
        "insert into cameo.runs (tenant, service, release, due_at, trigger, attempts_max)
         values ($1, $2, $3, $4, 'schedule', $5)
         on conflict (tenant, service, due_at) where purpose = 'publish' do nothing returning run",
    )
    .bind(tenant)
    .bind(name)
    .bind(service.release.to_string())
    .bind(due_at)
    .bind(service.attempts_max)
    .fetch_optional(&mut *connection)
    .await?;
    let row = match created {
        Some(row) => row,
        // A manual run was asked for at exactly this instant: it serves as the scheduled one.
        None => {
            sqlx::query(
                "select run from cameo.runs
                 where tenant = $1 and service = $2 and due_at = $3 and purpose = 'publish'",
            )
            .bind(tenant)
            .bind(name)
            .bind(due_at)
            .fetch_one(connection)
            .await?
        }
    };
    Ok(get(&row, "run", RunId)?)
}
