//! Look-ups over HTTP, from snapshots and from Postgres, beside a constant answer from the same server and beside
//! `pgbench -S` in the same Postgres, all in one run.

mod generation;
mod load;
mod peer;

use std::{collections::BTreeMap, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use cameo_api::{Config, SnapshotSettings};
use cameo_domain::{Scope, Scopes, ServicePath};
use cameo_runtime::{
    background::Background,
    clock::SystemClock,
    metrics::Metrics,
    telemetry::{self, TelemetryConfig},
};
use cameo_store::{
    By,
    generations::{self, Releases},
};
use cameo_worker::WorkerMetrics;
use fastrand::Rng;
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::load::{Control, Load, Observed, Requests};
use super::{median, serving::mapped, setting::Setting};
use crate::{
    cli::BenchLookup,
    commands::{apply, demo_data, keys},
    deployment::Deployment,
    output::{Output, grouped, table},
};

/// Keys of one batch look-up.
const BATCH_KEYS: u64 = 1_000;
/// Connections that ask for batches; each answer has 100 KB.
const BATCH_CONNECTIONS: usize = 8;
/// Batches that are rendered before the clock runs.
const BATCHES: u64 = 512;
/// Seconds of load before a publication.
const BEFORE_SECONDS: u64 = 5;
/// Seconds of load that count as around it, from its beginning.
const AROUND_SECONDS: u64 = 5;
/// Moves of the pointer under load, a second apart.
const FLIPS: u32 = 5;
/// The share of the most requests per second at which a whole publication is measured: it loads, sorts and hashes
/// on the same machine, and one that has nothing to spare shows its queue, not the server.
const PUBLICATION_LOAD: f64 = 0.25;
/// What the server answers that reads nothing: of the size of a prediction.
const CONSTANT: &[u8] = br#"{"tenant":"marketing","service":"gender","key":2500000,"predictions":{"male_percentile":0.3141592653589793,"female_percentile":0.6858407346410207},"generation":1,"release":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","version":"0.0.1","predicted_at":"2026-03-01T18:00:00.123456Z","watermark":null,"age_seconds":5040,"stale":false}"#;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Constant,
    Snapshot,
    Pgbench,
    PgbenchOurRows,
    Postgres,
    BatchKeys,
    BeforeFlips,
    DuringFlips,
    BeforePublication,
    BeforeItIsReady,
    DuringPublication,
}

impl What {
    fn text(self) -> &'static str {
        match self {
            Self::Constant => "(a) a constant, same server and middleware",
            Self::Snapshot => "GET by key, snapshot",
            Self::Pgbench => "(b) pgbench -S, as many accounts, prepared",
            Self::PgbenchOurRows => "the same on our rows",
            Self::Postgres => "(c) GET by key, Postgres",
            Self::BatchKeys => "batchGet of 1,000 keys, snapshot: keys",
            Self::BeforeFlips => "GET by key, before the pointer moves",
            Self::DuringFlips => "the same while it moves every second",
            Self::BeforePublication => "GET at a quarter of that, before a run begins",
            Self::BeforeItIsReady => "the same while it loads all rows and makes their snapshot",
            Self::DuringPublication => "the same in the 5 s from its publication on",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Measured {
    what: What,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// How many were answered with what other than 200.
    failed: BTreeMap<String, u64>,
}

impl Measured {
    fn new(what: What, observed: &Observed, per_second: f64) -> Self {
        let (p50_ms, p99_ms) = (observed.ms(0.5), observed.ms(0.99));
        Self { what, per_second, p50_ms, p99_ms, failed: observed.failed.clone() }
    }
}

pub(super) async fn run(wanted: BenchLookup, output: Output) -> anyhow::Result<ExitCode> {
    // Spans are made as in a server; what is said of the work itself would only disturb.
    let filter = "warn,cameo_api=info".to_owned();
    let _telemetry = telemetry::init(
        "cameo",
        TelemetryConfig { filter, ..TelemetryConfig::from_environment() },
    )?;
    let setting = Setting::new().await?;
    let bench = Bench::prepare(setting, &wanted, output).await?;
    let mut measured = Vec::new();
    let pgbench = peer::find();
    match &pgbench {
        Some(pgbench) => peer::prepare(&bench.setting, pgbench, &wanted)?,
        None => output.line("pgbench was not found; install Debian's package postgresql"),
    }
    for round in 1..=wanted.rounds.max(1) {
        output.line(output.dim(&format!("round {round} of {}", wanted.rounds)));
        measured.push(bench.gets(What::Constant).await?);
        measured.push(bench.gets(What::Snapshot).await?);
        if let Some(pgbench) = &pgbench {
            for what in [What::Pgbench, What::PgbenchOurRows] {
                measured.push(peer::run(&bench.setting, pgbench, &bench.path, &wanted, what)?);
            }
        }
        measured.push(bench.gets(What::Postgres).await?);
        measured.push(bench.batches().await?);
    }
    output.line(output.dim("a publication under load"));
    let most = middle(&measured, What::Snapshot, |one| one.per_second);
    measured.extend(bench.publication(most * PUBLICATION_LOAD).await?);
    measured.extend(bench.flips().await?);
    bench.close().await?;
    output.show(&measured, |measured| report(measured))?;
    Ok(ExitCode::SUCCESS)
}

/// Two servers over the same database: one answers from a snapshot, one from Postgres.
struct Bench<'a> {
    setting: Setting,
    wanted: &'a BenchLookup,
    path: ServicePath,
    key: String,
    from_snapshot: SocketAddr,
    from_postgres: SocketAddr,
    servers: JoinSet<()>,
    shutdown: CancellationToken,
}

impl<'a> Bench<'a> {
    async fn prepare(
        setting: Setting,
        wanted: &'a BenchLookup,
        output: Output,
    ) -> anyhow::Result<Self> {
        let deployment = &setting.deployment;
        // What the bundle's query reads must be there; nothing is made from it.
        demo_data::generate(deployment.places.lake(), 1_000).await?;
        let applied = apply::apply(deployment, &wanted.bundle, output)
            .await?
            .context("the bundle has problems")?;
        let path = applied.services.first().context("no bundle was found")?.path.clone();
        let scopes = Scopes::only(&[Scope::Read]);
        let store = &deployment.store;
        let key = keys::create(store, Some(&path.tenant), "bench", scopes, None).await?;
        output.line(output.dim(&format!("publishing {} predictions", grouped(wanted.rows))));
        let first = generation::load(store, &path, wanted.rows.cast_signed(), 1).await?;
        generation::publish(store, &first).await?;
        let (config, dependencies) = worker(&setting.deployment);
        while cameo_worker::make_next_snapshot(&config, &dependencies).await? {}

        let shutdown = CancellationToken::new();
        let mut servers = JoinSet::new();
        let snapshots = SnapshotSettings {
            folder: deployment.places.data().join("snapshots"),
            in_place: true,
            bytes_max: u64::MAX,
        };
        let with = Config {
            snapshots: Some(snapshots),
            constant_answer: Some(CONSTANT.into()),
            ..deployment.api.clone()
        };
        let mut addresses = Vec::new();
        for config in [with, deployment.api.clone()] {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            let dependencies = cameo_api::Dependencies {
                store: store.clone(),
                metrics: Metrics::new(),
                warehouse: Arc::clone(&deployment.warehouse),
                artifacts: Arc::clone(&deployment.artifacts),
                trusted_keys: None,
                tenant_keys: Arc::clone(&deployment.tenant_keys),
            };
            servers.spawn(cameo_api::serve(listener, config, dependencies, shutdown.clone()));
        }
        let [from_snapshot, from_postgres] = addresses[..] else { bail!("expected two servers") };
        let key = key.reveal().to_owned();
        let bench =
            Self { setting, wanted, path, key, from_snapshot, from_postgres, servers, shutdown };
        mapped(bench.from_snapshot).await?;
        Ok(bench)
    }

    fn head(&self, method: &str, rest: &str) -> String {
        format!("{method} /v1/tenants/{}/services/{}/{rest}", self.path.tenant, self.path.service)
    }

    fn tail(&self) -> String {
        format!(" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n", self.key)
    }

    fn gets_of(&self, what: What) -> Load {
        let rest = if what == What::Constant { "constant/" } else { "predictions/" };
        Load {
            address: if what == What::Postgres { self.from_postgres } else { self.from_snapshot },
            requests: Requests::OneKey {
                head: self.head("GET", rest),
                tail: format!("{}\r\n", self.tail()),
                keys: self.wanted.rows,
            },
            connections: self.wanted.connections,
            rate: None,
        }
    }

    async fn gets(&self, what: What) -> anyhow::Result<Measured> {
        let (observed, rate) = load::run_for(&self.gets_of(what), self.wanted.seconds).await?;
        Ok(Measured::new(what, &observed, rate))
    }

    async fn batches(&self) -> anyhow::Result<Measured> {
        let head = format!("{}{}", self.head("POST", "predictions:batchGet"), self.tail());
        let rendered = (0..BATCHES).map(|batch| {
            let mut draw = Rng::with_seed(batch);
            let keys = (0..BATCH_KEYS).map(|_| draw.u64(1..=self.wanted.rows).to_string());
            let body = format!("{{\"keys\":[{}]}}", keys.collect::<Vec<_>>().join(","));
            let length = body.len();
            format!(
                "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        });
        let load = Load {
            address: self.from_snapshot,
            requests: Requests::Rendered(Arc::new(rendered.collect())),
            connections: BATCH_CONNECTIONS,
            rate: None,
        };
        let (observed, rate) = load::run_for(&load, self.wanted.seconds).await?;
        Ok(Measured::new(What::BatchKeys, &observed, rate * BATCH_KEYS as f64))
    }

    /// Publishes another generation under load.
    async fn publication(&self, rate: f64) -> anyhow::Result<[Measured; 3]> {
        let control = Control::default();
        let load = Load { rate: Some(rate), ..self.gets_of(What::Snapshot) };
        let running = load::start(&load, &control);
        tokio::time::sleep(Duration::from_secs(BEFORE_SECONDS)).await;
        control.next_phase();
        self.publish_behind(&control).await?;
        tokio::time::sleep(Duration::from_secs(AROUND_SECONDS)).await;
        mapped(self.from_snapshot).await?;
        control.stop();
        let [before, making, during] = running.await??;
        Ok([
            Measured::new(What::BeforePublication, &before, rate),
            Measured::new(What::BeforeItIsReady, &making, rate),
            Measured::new(What::DuringPublication, &during, rate),
        ])
    }

    /// Publishes as a worker does in a server: on threads that give way, over connections of their own.
    async fn publish_behind(&self, control: &Control) -> anyhow::Result<()> {
        let background = Background::start("bench-worker", self.wanted.cores_for_requests)?;
        let (deployment, path) = (self.setting.deployment.clone(), self.path.clone());
        let (rows, control) = (self.wanted.rows.cast_signed(), control.clone());
        let published = background.handle().spawn(async move {
            let store = deployment.store.apart().await?;
            let (config, dependencies) = worker(&Deployment { store, ..deployment });
            let store = &dependencies.store;
            let sealed = generation::load(store, &path, rows, 2).await?;
            if config.makes_snapshot_first(sealed.digest.rows) {
                let made = &sealed.generation;
                cameo_worker::make_before_publication(&config, &dependencies, made).await;
            }
            control.next_phase();
            generation::publish(store, &sealed).await?;
            // What was not made before its time.
            while cameo_worker::make_next_snapshot(&config, &dependencies).await? {}
            anyhow::Ok(())
        });
        published.await.context("a task panicked")?
    }

    /// Moves the pointer between the two generations under full load.
    async fn flips(&self) -> anyhow::Result<[Measured; 2]> {
        let control = Control::default();
        let running = load::start(&self.gets_of(What::Snapshot), &control);
        tokio::time::sleep(Duration::from_secs(BEFORE_SECONDS)).await;
        control.next_phase();
        let (store, by) = (&self.setting.deployment.store, By::new("bench", "bench"));
        let (tenant, service) = (&self.path.tenant, &self.path.service);
        let mut to = None;
        for _ in 0..FLIPS {
            let moved =
                generations::rollback(store, tenant, service, to, Releases::Keep, &by).await?;
            to = Some(moved.from);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        control.stop();
        let [before, during, _] = running.await??;
        let per_second =
            |observed: &Observed, seconds: u64| observed.latencies.len() as f64 / seconds as f64;
        Ok([
            Measured::new(What::BeforeFlips, &before, per_second(&before, BEFORE_SECONDS)),
            Measured::new(What::DuringFlips, &during, per_second(&during, u64::from(FLIPS))),
        ])
    }

    async fn close(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        while let Some(server) = self.servers.join_next().await {
            server.context("a server panicked")?;
        }
        self.setting.close().await
    }
}

/// What a worker works with, and on.
fn worker(deployment: &Deployment) -> (cameo_worker::Config, cameo_worker::Dependencies) {
    let config = cameo_worker::Config {
        scratch: deployment.places.scratch(),
        ..cameo_worker::Config::default()
    };
    let dependencies = cameo_worker::Dependencies {
        store: deployment.store.clone(),
        warehouse: Arc::clone(&deployment.warehouse),
        artifacts: Arc::clone(&deployment.artifacts),
        tenant_keys: Arc::clone(&deployment.tenant_keys),
        clock: Arc::new(SystemClock),
        metrics: WorkerMetrics::register(&Metrics::new()),
    };
    (config, dependencies)
}

fn middle(measured: &[Measured], what: What, figure: fn(&Measured) -> f64) -> f64 {
    median(measured.iter().filter(|one| one.what == what).map(figure).collect())
}

/// Medians over the rounds, and of the ratios within each: the machine's speed changes from round to round.
fn report(measured: &[Measured]) -> String {
    let mut whats: Vec<What> = Vec::new();
    for one in measured {
        if !whats.contains(&one.what) {
            whats.push(one.what);
        }
    }
    let rate = |what| middle(measured, what, |one| one.per_second);
    let rows = whats.into_iter().map(|what| {
        let is_get = matches!(
            what,
            What::Constant | What::Snapshot | What::Pgbench | What::PgbenchOurRows | What::Postgres
        );
        let times = |peer: What| {
            let rates = |what| measured.iter().filter(move |one| one.what == what);
            let ratios =
                rates(what).zip(rates(peer)).map(|(one, peer)| one.per_second / peer.per_second);
            let ratio = median(ratios.collect());
            if is_get && ratio.is_finite() { format!("{ratio:.2}") } else { "–".to_owned() }
        };
        let own = measured.iter().filter(|one| one.what == what);
        let failed: u64 = own.flat_map(|one| one.failed.values()).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let per_second = rate(what) as u64;
        vec![
            what.text().to_owned(),
            grouped(per_second),
            times(What::Constant),
            times(What::Pgbench),
            format!("{:.2}", middle(measured, what, |one| one.p50_ms)),
            format!("{:.2}", middle(measured, what, |one| one.p99_ms)),
            failed.to_string(),
        ]
    });
    table(
        &["median of the rounds", "per second", "× (a)", "× (b)", "p50 ms", "p99 ms", "failed"],
        rows,
    )
}
