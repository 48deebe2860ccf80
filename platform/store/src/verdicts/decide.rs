//! Deciding: a shadow run and production's run of the same instant have both ended.

use cameo_domain::{
    GenerationId, PredictionSchema, Reason, ReleaseId, RunId, RunState, ServicePath,
};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::{
    Check, DURATION_NOISE_SECONDS, Limits, MEMORY_NOISE_BYTES, Verdict,
    compare::{Side, compare},
};
use crate::{Store, StoreError, connect::spawned, generations::Table, row::Columns};

/// One of the two runs.
struct Half {
    run: RunId,
    state: RunState,
    reason: Option<Reason>,
    /// How long its last attempt took.
    seconds: Option<f64>,
    memory_bytes: Option<u64>,
    made: Option<(GenerationId, Side)>,
}

/// A shadow run that has ended without a verdict.
struct Pending {
    path: ServicePath,
    release: ReleaseId,
    manifest: serde_json::Value,
    due_at: DateTime<Utc>,
    shadow: Half,
    production: Option<Half>,
}

/// The columns of a half, under a prefix.
fn half(row: &PgRow, prefix: &str) -> Result<Option<Half>, sqlx::Error> {
    let column = |name: &str| format!("{prefix}_{name}");
    let run: Option<i64> = row.try_get(column("run").as_str())?;
    let Some(run) = run else { return Ok(None) };
    let generation: Option<i64> = row.try_get(column("generation").as_str())?;
    let schema: Option<Json<PredictionSchema>> = row.try_get(column("schema").as_str())?;
    let made = match (generation, schema) {
        (Some(generation), Some(schema)) => {
            let table = Table {
                schema: row.try_get(column("table_schema").as_str())?,
                name: row.try_get(column("table_name").as_str())?,
            };
            Some((GenerationId(generation), Side { table, schema: schema.0 }))
        }
        _ => None,
    };
    Ok(Some(Half {
        run: RunId(run),
        state: row.parsed(&column("state"))?,
        reason: row.json(&column("reason"))?,
        seconds: row.try_get(column("seconds").as_str())?,
        memory_bytes: row.count(&column("memory"))?,
        made,
    }))
}

impl FromRow<'_, PgRow> for Pending {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let shadow = half(row, "s")?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Self {
            path: row.path()?,
            release: row.parsed("release")?,
            manifest: row.try_get("manifest")?,
            due_at: row.try_get("due_at")?,
            shadow,
            production: half(row, "p")?,
        })
    }
}

/// Those that have ended, with production's. A table that was dropped is as if it had never been.
const PENDING: &str = "
    select s.tenant, s.service, s.release, s.due_at, r.manifest,
           s.run as s_run, s.state as s_state, s.reason as s_reason,
           s.memory_peak_bytes as s_memory,
           extract(epoch from s.finished_at - s.attempt_started_at)::float8 as s_seconds,
           sg.generation as s_generation, sg.schema as s_schema, sg.table_schema as s_table_schema,
           sg.table_name as s_table_name,
           p.run as p_run, p.state as p_state, p.reason as p_reason,
           p.memory_peak_bytes as p_memory,
           extract(epoch from p.finished_at - p.attempt_started_at)::float8 as p_seconds,
           pg.generation as p_generation, pg.schema as p_schema, pg.table_schema as p_table_schema,
           pg.table_name as p_table_name
    from cameo.runs s
    join cameo.releases r using (tenant, service, release)
    left join cameo.runs p
        on (p.tenant, p.service, p.due_at) = (s.tenant, s.service, s.due_at)
       and p.purpose = 'publish'
    left join cameo.generations sg on sg.generation = s.generation and sg.dropped_at is null
    left join cameo.generations pg on pg.generation = p.generation and pg.dropped_at is null
    where s.purpose = 'shadow' and s.state in ('shadowed', 'halted', 'failed')
      and (p.run is null or p.state not in ('queued', 'running'))
      and not exists (select from cameo.verdicts v where v.run = s.run)";
/// The oldest that nobody else is deciding.
const NEXT: &str = "order by s.run limit 1 for no key update of s skip locked";

/// Compares the next shadow run that has ended with production's run of the same instant, and writes the
/// verdict; none where no comparison is due. `limits` reads them from the release's manifest.
///
/// Any number of workers may do so at once: whoever has locked the run decides. The comparison has a
/// connection of its own, without a time limit.
pub async fn decide_next(
    store: &Store,
    limits: fn(&serde_json::Value) -> Limits,
) -> Result<Option<Verdict>, StoreError> {
    let is_due: bool = sqlx::query_scalar(AssertSqlSafe(format!("select exists ({PENDING})")))
        .fetch_one(store.control())
        .await?;
    if !is_due {
        return Ok(None);
    }
    let mut connection = store.dedicated().await?;
    spawned(async move {
        let mut transaction = connection.begin().await?;
        let pending: Option<Pending> = sqlx::query_as(AssertSqlSafe(format!("{PENDING} {NEXT}")))
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(pending) = pending else { return Ok(None) };
        let checks = checks(&mut transaction, &pending, &limits(&pending.manifest)).await?;
        let verdict = insert(&mut transaction, &pending, checks).await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(Some(verdict))
    })
    .await
}

async fn checks(
    connection: &mut PgConnection,
    pending: &Pending,
    limits: &Limits,
) -> Result<Vec<Check>, StoreError> {
    let shadow = &pending.shadow;
    let Some((_, shadow_side)) = &shadow.made else {
        return Ok(vec![Check::new("completed", None, false).saying(ended(shadow))]);
    };
    let mut checks = vec![Check::new("completed", None, true)];
    let Some(production) = &pending.production else {
        let missing = "production has no run of this instant";
        checks.push(Check::new("production", None, false).saying(missing));
        return Ok(checks);
    };
    let Some((_, production_side)) = &production.made else {
        checks.push(Check::new("production", None, false).saying(ended(production)));
        return Ok(checks);
    };
    checks.push(Check::new("production", None, true));
    checks.extend(cost(
        "duration",
        (production.seconds, shadow.seconds),
        limits.duration_ratio_max,
        DURATION_NOISE_SECONDS,
    ));
    let bytes = |half: &Half| half.memory_bytes.map(|bytes| bytes as f64);
    checks.extend(cost(
        "memory",
        (bytes(production), bytes(shadow)),
        limits.memory_ratio_max,
        MEMORY_NOISE_BYTES,
    ));
    // In a savepoint, so that what cannot be computed is a verdict and not the end of all verdicts.
    let mut inner = connection.begin().await?;
    match compare(&mut inner, production_side, shadow_side, limits).await {
        Ok(compared) => {
            inner.commit().await?;
            checks.extend(compared);
        }
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            inner.rollback().await?;
            let detail = format!("the generations could not be compared: {}", in_words(&error));
            checks.push(Check::new("comparison", None, false).saying(detail));
        }
    }
    Ok(checks)
}

/// What a run cost, against production's; nothing where either was not measured.
fn cost(
    check: &str,
    (production, shadow): (Option<f64>, Option<f64>),
    ratio_max: f64,
    noise: f64,
) -> Option<Check> {
    let (production, shadow) = (production?, shadow?);
    let ratio = shadow / production.max(f64::MIN_POSITIVE);
    let mut cost = Check::at_most(check, None, ratio, ratio_max);
    cost.passed |= shadow - production <= noise;
    Some(cost)
}

fn ended(half: &Half) -> String {
    let reason = half.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    match half.state {
        RunState::Shadowed | RunState::Published | RunState::Superseded => {
            format!("the table of run {} was dropped before it was compared", half.run)
        }
        state => format!("run {} {state}{reason}", half.run),
    }
}

fn in_words(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

async fn insert(
    connection: &mut PgConnection,
    pending: &Pending,
    checks: Vec<Check>,
) -> Result<Verdict, StoreError> {
    let passed = checks.iter().all(|check| check.passed);
    let made = |half: &Half| half.made.as_ref().map(|(generation, _)| generation.0);
    let row = sqlx::query(
        "insert into cameo.verdicts (run, tenant, service, release, due_at, generation,
             production_run, production_generation, passed, checks)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning *",
    )
    .bind(pending.shadow.run.0)
    .bind(pending.path.tenant.as_str())
    .bind(pending.path.service.as_str())
    .bind(pending.release.to_string())
    .bind(pending.due_at)
    .bind(made(&pending.shadow))
    .bind(pending.production.as_ref().map(|half| half.run.0))
    .bind(pending.production.as_ref().and_then(made))
    .bind(passed)
    .bind(Json(checks))
    .fetch_one(connection)
    .await?;
    Ok(Verdict::from_row(&row)?)
}
