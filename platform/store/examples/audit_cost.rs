//! What the audit trail costs: claims and publications with and without its triggers, and how long
//! a verification takes. Prints a Markdown table.
//!
//! `cargo run --profile release -p cameo-store --example audit_cost [rounds]`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{
    error::Error,
    time::{Duration, Instant},
};

use cameo_batch::RowDigest;
use cameo_domain::{
    Column, DataType, MissedRunPolicy, PredictionSchema, ReleaseId, ServiceName, Sha256, Stage,
    TenantName,
};
use cameo_runtime::postgres::{EmbeddedPostgres, PostgresSettings};
use cameo_store::{
    By, ConnectOptions, Store, audit,
    generations::{self, GenerationMeta, Writer},
    releases::{self, NewRelease, ReleaseHashes},
    runs::{self, RunCounts},
    tenants::{self, TenantSettings},
};
use chrono::Utc;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const ROUNDS: u32 = 300;
/// Entries to verify, and how many of them one transaction adds: within one, the head row grows a
/// version with each.
const ENTRIES: u32 = 50_000;
const ENTRIES_AT_ONCE: u32 = 1_000;
const TRIGGERS: [(&str, &str); 3] = [
    ("runs", "new_runs_are_audited"),
    ("runs", "runs_are_audited"),
    ("publications", "publications_are_audited"),
];

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let folder = tempfile::tempdir()?;
    let postgres = EmbeddedPostgres::start(folder.path(), &PostgresSettings::default())?;
    let store = Store::connect(&ConnectOptions::from_url(&postgres.url())?).await?;
    store.migrate().await?;
    let store = store.acting(By::new("worker", "worker"));
    let tenant: TenantName = "crm".parse()?;
    tenants::ensure(&store, &tenant, &TenantSettings { max_concurrent_runs: 1000 }).await?;
    let mut owner = PgConnection::connect(&postgres.url()).await?;

    println!("| | audited | not audited |\n|---|---|---|");
    let mut columns = Vec::new();
    for audited in [true, false, true, false] {
        let switch = if audited { "enable" } else { "disable" };
        for (table, trigger) in TRIGGERS {
            let sql = format!("alter table cameo.{table} {switch} trigger {trigger}");
            owner.execute(AssertSqlSafe(sql)).await?;
        }
        let service = register(&store, &tenant, &format!("s{}", columns.len())).await?;
        columns.push(one_after_the_other(&store, &tenant, &service, rounds).await?);
    }
    for (row, name) in
        ["claim, median", "claim, p95", "publish, median", "publish, p95"].into_iter().enumerate()
    {
        // The first pair warms up.
        println!("| {name} | {:.2?} | {:.2?} |", columns[2][row], columns[3][row]);
    }

    let started = Instant::now();
    for _ in 0..ENTRIES / ENTRIES_AT_ONCE {
        let sql = format!(
            "insert into cameo.audit (actor, origin, action, subject, detail)
             select 'a', 'b', 'c', n::text, '{{}}' from generate_series(1, {ENTRIES_AT_ONCE}) n"
        );
        owner.execute(AssertSqlSafe(sql)).await?;
    }
    println!("\n{ENTRIES} entries appended in {:.2?}", started.elapsed());
    let started = Instant::now();
    let verified = audit::verify(&store, Vec::new()).await?;
    println!("{} entries verified in {:.2?}", verified.entries, started.elapsed());
    assert_eq!(verified.broken, None);
    store.close().await;
    Ok(())
}

/// Median and 95th percentile of claims and of publications, one run after the other.
async fn one_after_the_other(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    rounds: u32,
) -> Result<[Duration; 4], Failure> {
    let (mut claims, mut publications) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let key = format!("round {round}");
        runs::create_manual(store, tenant, service, &key, Utc::now(), "bench").await?;
        let started = Instant::now();
        let run = runs::claim(store, "worker", 60).await?.ok_or("nothing to claim")?;
        claims.push(started.elapsed());
        let meta = GenerationMeta {
            release: run.release,
            hashes: run.hashes,
            watermark: None,
            data_fingerprint: None,
            predicted_at: Utc::now(),
            schema: run.schema.clone(),
        };
        let generation = generations::begin(store, &run, &meta).await?;
        Writer::open(store, &generation).await?.finish().await?;
        let digest: RowDigest = generations::seal(store, &generation).await?;
        let counts = RunCounts::default();
        let started = Instant::now();
        generations::publish(store, run.run, run.epoch, &generation, digest, &counts).await?;
        publications.push(started.elapsed());
    }
    claims.sort_unstable();
    publications.sort_unstable();
    let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
    Ok([at(&claims, 50), at(&claims, 95), at(&publications, 50), at(&publications, 95)])
}

async fn register(store: &Store, tenant: &TenantName, name: &str) -> Result<ServiceName, Failure> {
    let columns = [("user_id", DataType::Int), ("score", DataType::Float64)];
    let columns = columns.map(|(name, data_type)| Ok(Column { name: name.parse()?, data_type }));
    let columns = columns.into_iter().collect::<Result<_, Failure>>()?;
    let hash = Sha256::of(format!("{tenant}/{name}"));
    let new = NewRelease {
        manifest: serde_json::json!({}),
        release: ReleaseId(hash),
        service: name.parse()?,
        version: "0.0.1".to_owned(),
        hashes: ReleaseHashes { config: hash, sql: hash, model: hash },
        schema: PredictionSchema::new(columns)?,
        cron: "0 18 * * *".to_owned(),
        timezone: "UTC".to_owned(),
        next_due_at: Utc::now() + chrono::Duration::days(1),
        missed_run_policy: MissedRunPolicy::Latest,
        missed_run_window_seconds: 3600,
        generations_kept: 2,
        stale_after_seconds: 3600,
        attempts_max: 3,
        git_commit: None,
        stage: Stage::Production,
        protected: false,
        shadow_runs_min: 0,
        reason: None,
        by: By::new("bench", "bench"),
    };
    releases::apply(store, tenant, &new).await?;
    Ok(new.service)
}
