//! Due instants become runs.

use std::collections::HashSet;

use cameo_domain::{
    MissedRunPolicy, ServicePath,
    schedule::{Decision, DueOutcome},
};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    releases::policy_from,
    row::Columns,
    runs::{Instants, RunTrigger, create_beside},
};

/// Most due instants that one decision may carry, and one transaction.
pub const DECISION_INSTANTS_MAX: usize = 1_000;
/// Most services that one transaction decides: it holds their rows, and publications wait for them.
const SERVICES_PER_TRANSACTION: usize = 100;

/// A service of which an instant has come due.
#[derive(Debug, Clone)]
pub struct DueService {
    /// Tenant and name.
    pub path: ServicePath,
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
}

impl FromRow<'_, PgRow> for DueService {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            path: row.path()?,
            cron: row.try_get("cron")?,
            timezone: row.try_get("timezone")?,
            next_due_at: row.try_get("next_due_at")?,
            missed_run_policy: policy_from(row.try_get("missed_run_policy")?),
            missed_run_window_seconds: row.count("missed_run_window_seconds")?.unwrap_or_default(),
        })
    }
}

/// What one decision recorded.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Whose.
    pub path: ServicePath,
    /// Each due instant with its outcome, oldest first.
    pub due: Vec<(DateTime<Utc>, DueOutcome)>,
}

/// Decides due services until none is due or `limit` decisions were made.
///
/// Up to a hundred of them share a transaction: the outcome of every due instant, the runs, and the move
/// of `next_due_at`. Any number of schedulers may do this at once: a service that another one is deciding
/// is skipped, and the unique instants refuse what was decided before.
pub async fn advance(
    store: &Store,
    now: DateTime<Utc>,
    limit: usize,
    decide: impl Fn(&DueService) -> Decision + Clone + Send + Sync + 'static,
) -> Result<Vec<Decided>, StoreError> {
    let mut all = Vec::new();
    let mut stuck = Vec::new();
    while all.len() < limit && is_any_due(store, now, &stuck).await? {
        let most = SERVICES_PER_TRANSACTION.min(limit - all.len());
        let (decide, excluded) = (decide.clone(), stuck.clone());
        let decided = store
            .transaction(move |connection| {
                Box::pin(async move { decide_due(connection, now, most, &excluded, &decide).await })
            })
            .await?;
        if decided.is_empty() {
            break;
        }
        cameo_crashpoint::hit("schedule_committed");
        for (decided, moved) in decided {
            if !moved {
                tracing::error!(service = %decided.path, "the schedule decided nothing; skipped");
                stuck.push(decided.path.to_string());
            }
            all.push(decided);
        }
    }
    Ok(all)
}

/// Whether there is anything to decide: most looks find nothing, and need no transaction to say so.
async fn is_any_due(
    store: &Store,
    now: DateTime<Utc>,
    excluded: &[String],
) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar(
        "select exists (select from cameo.services
                        where next_due_at <= $1 and release is not null
                          and tenant || '/' || service <> all ($2))",
    )
    .bind(now)
    .bind(excluded)
    .fetch_one(store.control())
    .await?;
    Ok(any)
}

/// Decides the services that are due longest, and says of each whether its schedule moved on.
async fn decide_due<D>(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    most: usize,
    excluded: &[String],
    decide: &D,
) -> Result<Vec<(Decided, bool)>, StoreError>
where
    D: Fn(&DueService) -> Decision + Sync,
{
    let services: Vec<DueService> = sqlx::query_as(
        "select s.tenant, s.service, s.next_due_at, r.cron, r.timezone, r.missed_run_policy,
                r.missed_run_window_seconds
         from cameo.services s join cameo.releases r using (tenant, service, release)
         where s.next_due_at <= $1 and s.tenant || '/' || s.service <> all ($2)
         order by s.next_due_at, s.tenant, s.service limit $3
         for no key update of s skip locked",
    )
    .bind(now)
    .bind(excluded)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await?;
    let mut decisions = decisions(services, decide)?;
    if decisions.is_empty() {
        return Ok(Vec::new());
    }
    cameo_crashpoint::hit("schedule_locked");
    leave_out_decided(connection, &mut decisions).await?;
    record(connection, &decisions).await?;
    move_on(connection, &decisions).await?;
    cameo_crashpoint::hit("schedule_before_commit");
    let decided = decisions.into_iter().map(|(service, decision)| {
        let moved = decision.next > service.next_due_at;
        (Decided { path: service.path, due: decision.due }, moved)
    });
    Ok(decided.collect())
}

/// As many decisions as one transaction may carry; the other services stay due.
fn decisions<D>(
    services: Vec<DueService>,
    decide: &D,
) -> Result<Vec<(DueService, Decision)>, StoreError>
where
    D: Fn(&DueService) -> Decision,
{
    let mut decisions = Vec::with_capacity(services.len());
    let mut instants = 0;
    for service in services {
        let decision = decide(&service);
        if decision.due.len() > DECISION_INSTANTS_MAX {
            let found = decision.due.len();
            let (what, limit) = ("due instants in a decision", DECISION_INSTANTS_MAX);
            return Err(StoreError::TooMany { what, limit, found });
        }
        instants += decision.due.len();
        if instants > DECISION_INSTANTS_MAX {
            break;
        }
        decisions.push((service, decision));
    }
    Ok(decisions)
}

/// After a change of schedule an instant may come up again; its first outcome stands.
async fn leave_out_decided(
    connection: &mut PgConnection,
    decisions: &mut [(DueService, Decision)],
) -> Result<(), StoreError> {
    let instants = instants(decisions, |_| true);
    let rows = sqlx::query(
        "select i.tenant, i.service, i.due_at
         from unnest($1::text[], $2::text[], $3::timestamptz[]) as d (tenant, service, due_at)
         join cameo.due_instants i using (tenant, service, due_at)",
    )
    .bind(&instants.tenants)
    .bind(&instants.services)
    .bind(&instants.due_at)
    .fetch_all(connection)
    .await?;
    let mut decided = HashSet::new();
    for row in &rows {
        decided.insert((row.path()?, row.try_get::<DateTime<Utc>, _>("due_at")?));
    }
    if !decided.is_empty() {
        for (service, decision) in decisions {
            decision.due.retain(|(due_at, _)| !decided.contains(&(service.path.clone(), *due_at)));
        }
    }
    Ok(())
}

fn instants(
    decisions: &[(DueService, Decision)],
    wanted: impl Fn(&DueOutcome) -> bool,
) -> Instants<'_> {
    let mut instants = Instants::default();
    for (service, decision) in decisions {
        for (due_at, _) in decision.due.iter().filter(|(_, outcome)| wanted(outcome)) {
            instants.push(&service.path.tenant, &service.path.service, *due_at);
        }
    }
    instants
}

/// Records what becomes of each instant, and creates the runs.
async fn record(
    connection: &mut PgConnection,
    decisions: &[(DueService, Decision)],
) -> Result<(), StoreError> {
    let to_run = instants(decisions, |outcome| *outcome == DueOutcome::Run);
    if !to_run.due_at.is_empty() {
        insert_runs(connection, &to_run).await?;
        cameo_crashpoint::hit("schedule_run_inserted");
        create_beside(connection, &to_run, RunTrigger::Schedule).await?;
        sqlx::query("select pg_notify('cameo_runs', '')").execute(&mut *connection).await?;
    }
    let all = instants(decisions, |_| true);
    let outcomes = decisions.iter().flat_map(|(_, decision)| &decision.due);
    let (mut names, mut into, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (_, outcome) in outcomes {
        let (name, coalesced_into, reason) = match outcome {
            DueOutcome::Run => ("run", None, None),
            DueOutcome::Coalesced { into } => ("coalesced", Some(*into), None),
            DueOutcome::Missed { reason } => ("missed", None, Some(reason.as_str())),
        };
        names.push(name);
        into.push(coalesced_into);
        reasons.push(reason);
    }
    // The run of an instant may be a manual one that was asked for at exactly that time.
    sqlx::query(
        "insert into cameo.due_instants
             (tenant, service, due_at, outcome, run, coalesced_into, reason)
         select d.tenant, d.service, d.due_at, d.outcome, r.run, d.coalesced_into, d.reason
         from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[],
                     $6::text[])
             as d (tenant, service, due_at, outcome, coalesced_into, reason)
         left join cameo.runs r
             on (r.tenant, r.service, r.due_at) = (d.tenant, d.service, d.due_at)
                and r.purpose = 'publish' and d.outcome = 'run'",
    )
    .bind(&all.tenants)
    .bind(&all.services)
    .bind(&all.due_at)
    .bind(&names)
    .bind(&into)
    .bind(&reasons)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_runs(
    connection: &mut PgConnection,
    instants: &Instants<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.runs (tenant, service, release, due_at, trigger, attempts_max)
         select d.tenant, d.service, s.release, d.due_at, 'schedule', r.attempts_max
         from unnest($1::text[], $2::text[], $3::timestamptz[])
             with ordinality as d (tenant, service, due_at, place)
         join cameo.services s using (tenant, service)
         join cameo.releases r using (tenant, service, release)
         order by d.place
         on conflict (tenant, service, due_at) where purpose = 'publish' do nothing",
    )
    .bind(&instants.tenants)
    .bind(&instants.services)
    .bind(&instants.due_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves each service to its next due instant.
async fn move_on(
    connection: &mut PgConnection,
    decisions: &[(DueService, Decision)],
) -> Result<(), StoreError> {
    let mut next = Instants::default();
    for (service, decision) in decisions {
        next.push(&service.path.tenant, &service.path.service, decision.next);
    }
    sqlx::query(
        "update cameo.services s set next_due_at = d.due_at
         from unnest($1::text[], $2::text[], $3::timestamptz[]) as d (tenant, service, due_at)
         where (s.tenant, s.service) = (d.tenant, d.service)",
    )
    .bind(&next.tenants)
    .bind(&next.services)
    .bind(&next.due_at)
    .execute(connection)
    .await?;
    Ok(())
}
