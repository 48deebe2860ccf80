//! One tenant that asks for everything at once, beside twenty that ask for little.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cameo_client::{Client, ServiceClient};
use cameo_priority::{cores::Cores, sessions};
use cameo_runtime::{background::Background, clock::SystemClock, metrics::Metrics};
use cameo_scheduler::SchedulerMetrics;
use cameo_store::{
    limits::{self, RequestLimits},
    runs,
};
use cameo_tests::{Bundle, PATIENCE, RunningWorker, World, eventually, report, rounds};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::giant;

/// Tenants that ask for little.
const QUIET: u32 = 20;
const ROWS: u64 = 200;
/// How often each of them is due, alone and again beside the flood.
const SHORT: u32 = 1;
/// Cores that runs leave to requests, unless the environment says otherwise, where there are more.
const CORES_FOR_REQUESTS: usize = 1;
/// From one quiet tenant's due instant to the next one's.
const APART: Duration = Duration::from_millis(400);
/// From one quiet request to the API to the next, over all tenants.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// How often it is looked whether they have run.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often it is looked how many runs the flood has.
const WATCHED_EVERY: Duration = Duration::from_millis(100);

const FLOOD: &str = "flood";
/// Runs that the flood queues: in CI, and else.
const QUEUED: (u64, u64) = (300, 10_000);
/// Most runs that the flood may have at once by its own settings.
const FLOOD_RUNS_MAX: u32 = 64;
/// Clients of the flood that ask the API without a pause.
const HOT_CLIENTS: usize = 16;
/// What they may ask for per second, as `LIMITS` in the flood's tenant.yaml would say: a tenth of what this machine can do
/// unoptimised.
const HOT_RATE: u32 = 200;
/// Queries of the flood give so many rows, or never end.
const FLOOD_CUSTOMERS: u64 = 4_000;

/// A query that would take years.
const RUNAWAY: &str = "SELECT a.user_id, AVG(a.level + d.level) AS level, MAX(a.visits) AS visits
     FROM shop.customers a CROSS JOIN shop.customers b CROSS JOIN shop.customers c CROSS JOIN shop.customers d
     GROUP BY a.user_id";
/// A query that gives millions of rows.
const MANY_ROWS: &str = "SELECT a.user_id * 10000 + b.user_id AS user_id, a.level, b.visits
     FROM shop.customers a CROSS JOIN shop.customers b WHERE b.user_id <= 2500";

/// What quiet tenants got to see.
struct Seen {
    /// From due to claimed, of each run, in seconds.
    waits: Vec<f64>,
    /// Of each look-up, in seconds.
    answers: Vec<f64>,
}

impl Seen {
    fn wait(&self, percent: usize) -> f64 {
        percentile(&self.waits, percent)
    }

    fn answer(&self, percent: usize) -> f64 {
        percentile(&self.answers, percent)
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

fn name(tenant: u32) -> String {
    format!("quiet_{tenant:02}")
}

/// Lets the clock on the wall decide, as in production, and nothing be due before it is said.
async fn start_roles(world: &World, left: usize, stop: &CancellationToken) -> RunningWorker {
    world.sql("update cameo.services set next_due_at = now() + interval '1 year'").await;
    let scheduler = cameo_scheduler::Dependencies {
        store: world.place.store("cameo-scheduler").await,
        clock: Arc::new(SystemClock),
        metrics: SchedulerMetrics::register(&Metrics::new()),
    };
    let config = cameo_scheduler::Config::default();
    tokio::spawn(cameo_scheduler::run(config, scheduler, stop.clone()));
    let drain = Duration::from_millis(100);
    let usual = cameo_worker::Config::default();
    let threads = usual.threads - left;
    world.place.worker_behind(cameo_worker::Config { drain, threads, ..usual }, left)
}

fn cores_for_requests() -> usize {
    let cores = Cores::of_this_thread().expect("the cores").count();
    let wanted = std::env::var("CAMEO_CORES_FOR_REQUESTS").ok();
    let wanted = wanted.map_or(CORES_FOR_REQUESTS, |wanted| wanted.parse().expect("a number"));
    wanted.min(cores - 1)
}

/// Asks for a prediction of one quiet tenant after the other until it is aborted.
fn ask(services: Vec<ServiceClient>, answers: Arc<Mutex<Vec<f64>>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut next = tokio::time::interval(ASKED_EVERY);
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        for service in services.iter().cycle() {
            next.tick().await;
            let asked = Instant::now();
            service.prediction(7).await.expect("a prediction");
            let took = asked.elapsed().as_secs_f64();
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        }
    })
}

/// How many runs that were due since then quiet tenants have published.
async fn published(connection: &mut PgConnection, since: DateTime<Utc>) -> i64 {
    let published = format!(
        "select count(*) from cameo.services s cross join lateral (
             select from cameo.runs r where (r.tenant, r.service) = (s.tenant, s.service)
                 and r.state = 'published' and r.due_at > '{since}' offset 0) published
         where s.tenant like 'quiet%'"
    );
    connection.fetch_one(AssertSqlSafe(published)).await.expect("a count").get(0)
}

/// Lets each quiet tenant be due `times`, and sees how they fare.
async fn quiet_ones(world: &World, services: &[ServiceClient], times: u32) -> Seen {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let asking = ask(services.to_vec(), Arc::clone(&answers));
    let since = Utc::now();
    // On one connection and not often: what is measured shares the machine.
    let mut looking = world.connection().await;
    for time in 1..=times {
        let due = format!(
            "update cameo.services s set next_due_at = now() + o.position * interval '{} milliseconds'
             from (select tenant, row_number() over (order by tenant) as position
                   from cameo.services where tenant like 'quiet%') o
             where s.tenant = o.tenant",
            APART.as_millis()
        );
        world.sql(&due).await;
        let (expected, deadline) = (i64::from(time * QUIET), Instant::now() + PATIENCE);
        while published(&mut looking, since).await < expected {
            assert!(Instant::now() < deadline, "the quiet tenants' runs are not published");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    asking.abort();
    let asked = asking.await.expect_err("it asks until it is aborted");
    assert!(asked.is_cancelled(), "a look-up failed: {asked}");
    let waits = format!(
        "select extract(epoch from started_at - due_at)::text from cameo.runs
         where tenant like 'quiet%' and due_at > '{since}'"
    );
    let waits = world.texts(&waits).await;
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Seen { waits: waits.iter().map(|wait| wait.parse().expect("a number")).collect(), answers }
}

/// What the flood does while the quiet tenants go on.
struct Flood {
    /// The threads of its clients, who would be on other machines: here they give way.
    clients: Background,
    watching: JoinHandle<()>,
    running_max: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Flood {
    async fn start(world: &World, url: &str, queued: u64) -> Self {
        for (service, sql) in [("runaway", RUNAWAY), ("many_rows", MANY_ROWS)] {
            let bundle = Bundle::new(FLOOD, service).features(sql).runs_max(FLOOD_RUNS_MAX);
            world
                .apply(&bundle.schedule("0 0 1 1 *", "UTC").setting("TIME_LIMIT_MINUTES", 1))
                .await;
        }
        let giant = Bundle::new(FLOOD, "giant").model(giant::model()).runs_max(FLOOD_RUNS_MAX);
        world.apply(&giant.schedule("0 0 1 1 *", "UTC").setting("TIME_LIMIT_MINUTES", 1)).await;
        let next_year = "update cameo.services set next_due_at = now() + interval '1 year'";
        world.sql(&format!("{next_year} where tenant = '{FLOOD}'")).await;
        queue(world, queued).await;

        let limits = RequestLimits {
            requests_per_second: Some(HOT_RATE),
            burst: Some(HOT_RATE),
            concurrent_requests: None,
        };
        let tenant = FLOOD.parse().expect("a tenant name");
        limits::grant(&world.store, &tenant, limits).await.expect("the grant");
        let asked = Arc::new(AtomicU64::new(0));
        let key = world.key(Some(FLOOD)).await;
        let clients = Background::start("clients", cores_for_requests()).expect("threads");
        for _ in 0..HOT_CLIENTS {
            let client = Client::builder(url, &key).attempts(1).build().expect("a client");
            let (service, asked) = (client.tenant(FLOOD).service("steady"), Arc::clone(&asked));
            clients.handle().spawn(async move {
                loop {
                    // Whether it is answered or refused, the next one follows.
                    let _ = service.prediction(7).await;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let running_max = Arc::new(AtomicU64::new(0));
        let watching = watch(world, Arc::clone(&running_max)).await;
        eventually("the flood runs", async || {
            (running_max.load(Ordering::Relaxed) > 0).then_some(())
        })
        .await;
        Self { clients, watching, running_max, asked }
    }

    /// Gives how many runs it had at once, and what it asked the API for.
    fn stop(self) -> (u64, u64) {
        self.watching.abort();
        drop(self.clients);
        (self.running_max.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed))
    }
}

/// Asks for so many runs of the flood's services, in turn.
async fn queue(world: &World, runs: u64) {
    let services = ["runaway", "many_rows", "giant"];
    let (tenant, due_at) = (FLOOD.parse().expect("a tenant name"), Utc::now());
    for run in 0..runs {
        let service = services[usize::try_from(run % 3).expect("under three")];
        let service = service.parse().expect("a service name");
        let instant = due_at + chrono::Duration::milliseconds(run.cast_signed());
        runs::create_manual(&world.store, &tenant, &service, &run.to_string(), instant, FLOOD)
            .await
            .expect("a run");
    }
}

/// Notes how many runs the flood has at the same time, at most.
async fn watch(world: &World, running_max: Arc<AtomicU64>) -> JoinHandle<()> {
    // There are ten thousand others, and an index on those that are running.
    let running =
        format!("select count(*) from cameo.runs where tenant = '{FLOOD}' and state = 'running'");
    let mut connection = world.connection().await;
    tokio::spawn(async move {
        loop {
            let running = connection.fetch_one(AssertSqlSafe(running.as_str())).await;
            let running: i64 = running.expect("a count").get(0);
            running_max.fetch_max(running.unsigned_abs(), Ordering::Relaxed);
            tokio::time::sleep(WATCHED_EVERY).await;
        }
    })
}

#[test]
fn twenty_quiet_tenants_hardly_notice_one_that_floods() {
    // The API is on such threads in production. So are the quiet clients, who would be on other machines.
    let requests = cameo_runtime::requests::runtime().expect("threads");
    requests.block_on(flooded());
}

async fn flooded() {
    let times = rounds(SHORT);
    let world = World::start().await;
    let api = world.serve().await;
    world.customers(FLOOD, FLOOD_CUSTOMERS, 1.0).await;
    let yearly = |tenant: &str, service: &str| {
        Bundle::new(tenant, service).schedule("0 0 1 1 *", "UTC").runs_max(2)
    };
    let mut first = vec![world.apply(&yearly(FLOOD, "steady").runs_max(FLOOD_RUNS_MAX)).await];
    let mut quiet = Vec::new();
    for tenant in (0..QUIET).map(name) {
        world.customers(&tenant, ROWS, 1.0).await;
        first.push(world.apply(&yearly(&tenant, "clv")).await);
        let key = world.key(Some(&tenant)).await;
        let client = Client::new(&api.url, &key).expect("a client");
        quiet.push(client.tenant(&tenant).service("clv"));
    }
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let left = cores_for_requests();
    let worker = start_roles(&world, left, &stop).await;
    for service in &first {
        service.request("2024-03-01T00:00:00Z").await;
    }
    world.idle().await;
    for service in &quiet {
        eventually("the API shows it", async || service.prediction(7).await.ok()).await;
    }

    let alone = quiet_ones(&world, &quiet, times).await;
    let queued = if times > SHORT { QUEUED.1 } else { QUEUED.0 };
    let flood = Flood::start(&world, &api.url, queued).await;
    let beside = quiet_ones(&world, &quiet, times).await;
    let (at_once, asked) = flood.stop();
    worker.stop().await;
    api.stop().await;

    // Of the four places that a worker has, the flood got no more than its half, whatever its quota.
    assert!((1..=2).contains(&at_once), "the flood had {at_once} of 4 places");
    let published: BTreeSet<String> = world
        .texts("select distinct tenant from cameo.runs where state = 'published'")
        .await
        .into_iter()
        .collect();
    assert!((0..QUIET).map(name).all(|tenant| published.contains(&tenant)), "{published:?}");
    let scratch = world.place.folder.join("scratch");
    eventually("queries without an end have ended with their runs", async || {
        fs::read_dir(&scratch).expect("the scratch folder").next().is_none().then_some(())
    })
    .await;
    world.assert_sound().await;

    let ratio = |alone: f64, beside: f64| beside / alone;
    let (wait, answer) =
        (ratio(alone.wait(50), beside.wait(50)), ratio(alone.answer(99), beside.answer(99)));
    let slow_wait = ratio(alone.wait(95), beside.wait(95));
    let seconds = |value: f64| format!("{value:.2}");
    let milliseconds = |value: f64| format!("{:.1}", value * 1_000.0);
    report(
        "one tenant against twenty",
        &[
            ("runs of quiet tenants, each time", &alone.waits.len()),
            ("runs that the flood queued", &queued),
            ("requests of the flood", &asked),
            ("places of four that the flood had, at most", &at_once),
            ("cores that runs leave to requests", &left),
            ("each session has a share of its own", &sessions::are_grouped()),
            ("wait alone, median and 95th percentile, s", &seconds(alone.wait(50))),
            ("", &seconds(alone.wait(95))),
            ("wait beside the flood, s", &seconds(beside.wait(50))),
            ("", &seconds(beside.wait(95))),
            ("ratio of the waits, median", &seconds(wait)),
            ("ratio of the waits, 95th percentile", &seconds(slow_wait)),
            ("API alone, median and 99th percentile, ms", &milliseconds(alone.answer(50))),
            ("", &milliseconds(alone.answer(99))),
            ("API beside the flood, ms", &milliseconds(beside.answer(50))),
            ("", &milliseconds(beside.answer(99))),
            ("ratio of the API's 99th percentiles", &seconds(answer)),
        ],
    );
    if times > SHORT {
        assert!(wait <= 2.0 && answer <= 2.0, "ratios of {wait:.2} and {answer:.2}: at most 2");
    }
}
