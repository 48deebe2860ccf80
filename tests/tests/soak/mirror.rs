//! Two mirrors before a warehouse that loses, repeats and delays a fifth of its replies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use async_trait::async_trait;
use cameo_batch::RowDigest;
use cameo_domain::{ColumnName, GenerationId, Key, ServiceName, ServicePath, TenantName};
use cameo_mirror::MirrorMetrics;
use cameo_runtime::metrics::Metrics;
use cameo_store::outbox;
use cameo_tests::{Bundle, Draw, Place, Service, World, eventually, report, rounds, seed};
use cameo_warehouse::{
    BatchStream, Erased, LoadId, LoadOutcome, Parameters, Query, QueryDescription, ReadOptions,
    ReadOutcome, Warehouse, WarehouseError,
};
use chrono::{DateTime, Days, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio_util::sync::CancellationToken;

const TENANTS: [&str; 3] = ["crm", "marketing", "search"];
const SERVICES: [&str; 4] = ["churn", "clv", "gender", "reach"];
const ROWS: u64 = 60;
/// Replies that do not come as they should, in a hundred.
const SPOILT_PERCENT: u64 = 20;
/// How long a late reply waits for another mirror to have done the work.
const LATE: Duration = Duration::from_secs(1);
/// Generations in CI.
const SHORT: u32 = 48;
/// Generations that may wait for a mirror before more are made.
const BEHIND_MAX: u64 = 24;

/// What becomes of a request or of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// It is done, and nobody hears of it.
    ReplyLost,
    /// It is done twice, at the same time.
    Repeated,
    /// It is done, and the reply comes when the lease is over and another mirror has the task.
    ReplyLate,
    /// It is done only after that.
    RequestLate,
}

const FAULTS: [Fault; 4] =
    [Fault::ReplyLost, Fault::Repeated, Fault::ReplyLate, Fault::RequestLate];

/// The Lake behind a connection that nobody can rely on.
struct Unreliable {
    lake: Arc<dyn Warehouse>,
    place: Place,
    state: Mutex<State>,
}

struct State {
    draw: Draw,
    requests: u64,
    faults: BTreeMap<Fault, u64>,
    /// Generations in the order in which they were written.
    written: BTreeMap<ServicePath, Vec<GenerationId>>,
}

impl Unreliable {
    fn new(lake: Arc<dyn Warehouse>, place: Place) -> Self {
        let draw = Draw::new(seed());
        let (faults, written) = (BTreeMap::new(), BTreeMap::new());
        Self { lake, place, state: Mutex::new(State { draw, requests: 0, faults, written }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fate of the next request: the same sequence for the same seed.
    fn draw(&self) -> Option<Fault> {
        let mut state = self.state();
        state.requests += 1;
        if state.draw.below(100) >= SPOILT_PERCENT {
            return None;
        }
        let fault = state.draw.one_of(&FAULTS);
        *state.faults.entry(fault).or_default() += 1;
        Some(fault)
    }

    /// Lets the lease of whoever holds the task end, as a mirror's that was frozen, and another one finish it.
    async fn until_late(&self, generation: GenerationId) {
        let mut connection =
            PgConnection::connect(&self.place.database_url).await.expect("a connection");
        let expire = format!(
            "update cameo.outbox set lease_expires_at = now() - interval '1 second'
             where generation = {generation} and state = 'pending'"
        );
        connection.execute(AssertSqlSafe(expire)).await.expect("the lease is over");
        let pending = format!(
            "select count(*) from cameo.outbox where generation = {generation} and state = 'pending'"
        );
        let late = Instant::now() + LATE;
        while Instant::now() < late {
            let row = connection.fetch_one(AssertSqlSafe(pending.clone())).await.expect("a count");
            if row.get::<i64, _>(0) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn lost() -> WarehouseError {
    WarehouseError::Transient("the connection was lost while the reply was awaited".to_owned())
}

#[async_trait]
impl Warehouse for Unreliable {
    async fn describe(
        &self,
        tenant: &TenantName,
        query: &Query,
    ) -> Result<QueryDescription, WarehouseError> {
        self.lake.describe(tenant, query).await
    }

    async fn read(
        &self,
        tenant: &TenantName,
        query: &Query,
        options: &ReadOptions,
    ) -> Result<ReadOutcome, WarehouseError> {
        self.lake.read(tenant, query, options).await
    }

    async fn load(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        load: &LoadId,
        generation: GenerationId,
        schema: SchemaRef,
        rows: BatchStream,
    ) -> Result<LoadOutcome, WarehouseError> {
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        let execute = async || -> Result<LoadOutcome, WarehouseError> {
            let rows = Box::pin(stream::iter(batches.clone()).map(Ok));
            let schema = Arc::clone(&schema);
            let done = self.lake.load(tenant, service, load, generation, schema, rows).await?;
            if !done.already_loaded {
                let path = ServicePath { tenant: tenant.clone(), service: service.clone() };
                self.state().written.entry(path).or_default().push(generation);
            }
            Ok(done)
        };
        match self.draw() {
            None => execute().await,
            Some(Fault::ReplyLost) => execute().await.and(Err(lost())),
            Some(Fault::Repeated) => {
                let (first, second) = tokio::join!(execute(), execute());
                first.and(second)
            }
            Some(Fault::ReplyLate) => {
                let reply = execute().await;
                self.until_late(generation).await;
                reply
            }
            Some(Fault::RequestLate) => {
                self.until_late(generation).await;
                execute().await
            }
        }
    }

    async fn erase(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        generation: GenerationId,
        key_column: &ColumnName,
        keys: &[Key],
    ) -> Result<Erased, WarehouseError> {
        self.lake.erase(tenant, service, generation, key_column, keys).await
    }

    async fn remove_orphans(&self) -> Result<(), WarehouseError> {
        self.lake.remove_orphans().await
    }

    async fn digest(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        generation: GenerationId,
    ) -> Result<RowDigest, WarehouseError> {
        let execute = async || self.lake.digest(tenant, service, generation).await;
        match self.draw() {
            None => execute().await,
            Some(Fault::ReplyLost) => execute().await.and(Err(lost())),
            Some(Fault::Repeated) => execute().await.and(execute().await),
            Some(Fault::ReplyLate) => {
                let reply = execute().await;
                self.until_late(generation).await;
                reply
            }
            Some(Fault::RequestLate) => {
                self.until_late(generation).await;
                execute().await
            }
        }
    }
}

/// Mirrors until `stop`, as the role does, but for asking more often.
async fn mirror(world: &World, name: &str, warehouse: &Arc<Unreliable>, stop: &CancellationToken) {
    let dependencies = cameo_mirror::Dependencies {
        store: world.place.store(name).await,
        warehouse: Arc::clone(warehouse) as Arc<dyn Warehouse>,
        clock: world.clock.clone(),
        metrics: MirrorMetrics::register(&Metrics::new()),
    };
    let poll = Duration::from_millis(20);
    let config = cameo_mirror::Config { poll, ..cameo_mirror::Config::default() };
    tokio::spawn(cameo_mirror::run(config, dependencies, stop.clone()));
}

async fn behind(world: &World) -> u64 {
    outbox::lag(&world.store).await.expect("the outbox answers").pending
}

fn day(number: u32) -> String {
    let first: DateTime<Utc> = cameo_tests::at("2024-03-01T18:00:00Z");
    (first + Days::new(number.into())).to_rfc3339()
}

/// Rows and different customers of each generation, as the tenant reads its mirror.
async fn as_read(world: &World, service: &Service<'_>) -> BTreeMap<i64, (i64, i64)> {
    let query = Query {
        sql: format!(
            "SELECT generation, COUNT(*) AS predictions, COUNT(DISTINCT user_id) AS customers
             FROM predictions.{} GROUP BY generation",
            service.path.service
        ),
        parameters: Parameters::utc(world.now()),
    };
    let options =
        ReadOptions { memory_limit_bytes: 256 << 20, threads: 1, partitions: 1, batch_rows: 1_000 };
    let read = world.warehouse.read(&service.path.tenant, &query, &options).await.expect("a query");
    let mut found = BTreeMap::new();
    for partition in read.partitions {
        let batches: Vec<RecordBatch> = partition.try_collect().await.expect("rows");
        for batch in batches {
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().clone();
            let (generations, predictions, customers) = (column(0), column(1), column(2));
            for row in 0..batch.num_rows() {
                found.insert(generations[row], (predictions[row], customers[row]));
            }
        }
    }
    found
}

/// Each generation of the service lies in the warehouse once, equal, and in its order.
async fn assert_equal(world: &World, service: &Service<'_>, warehouse: &Unreliable) -> u64 {
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    let read = as_read(world, service).await;
    let mut published: Vec<_> = service.generations().await;
    published.retain(|kept| kept.published_at.is_some());
    published.sort_by_key(|kept| kept.generation);
    for kept in &published {
        let stored = world.warehouse.digest(tenant, name, kept.generation).await.expect("a digest");
        assert_eq!(Some(stored), kept.digest, "{} {}", service.path, kept.generation);
        let rows = i64::try_from(ROWS).expect("few rows");
        assert_eq!(read.get(&kept.generation.0), Some(&(rows, rows)), "as the tenant reads it");
    }
    assert_eq!(read.len(), published.len(), "{}: generations in the mirror", service.path);
    let folder = world.place.folder.join("lake").join(tenant.as_str());
    let folder = folder.join("predictions").join(name.as_str());
    let files = fs::read_dir(folder).expect("the mirror").count();
    assert_eq!(files, published.len(), "{}: files, and nothing half loaded", service.path);
    // The same request may be executed twice at the same time, and one of them end late: the first counts.
    let mut seen = BTreeSet::new();
    let mut written = warehouse.state().written.get(&service.path).cloned().expect("loads");
    written.retain(|generation| seen.insert(*generation));
    let in_order: Vec<_> = published.iter().map(|kept| kept.generation).collect();
    assert_eq!(written, in_order, "{}: in the order of publication", service.path);
    published.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generation_is_mirrored_once_and_equal_whatever_becomes_of_the_replies() {
    let began = Instant::now();
    let world = World::start().await;
    let mut services = Vec::new();
    for tenant in TENANTS {
        world.customers(tenant, ROWS, 1.0).await;
        for service in SERVICES {
            // No two generations of a service are alike, so that none can stand for another.
            let bundle = Bundle::new(tenant, service).features(
                "SELECT user_id, level + DATE_DIFF(@run_date, DATE '2024-01-01', DAY) AS level, visits
                 FROM shop.customers",
            );
            services.push(world.apply(&bundle).await);
        }
    }
    let warehouse = Arc::new(Unreliable::new(Arc::clone(&world.warehouse), world.place.clone()));
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    for name in ["cameo-mirror-one", "cameo-mirror-two"] {
        mirror(&world, name, &warehouse, &stop).await;
    }
    let worker = world.worker(world.worker_config()).await;
    let days = rounds(SHORT).div_ceil(u32::try_from(services.len()).expect("few"));
    for number in 0..days {
        for service in &services {
            service.request(&day(number)).await;
        }
        world.idle().await;
        eventually("the mirrors keep up", async || {
            (behind(&world).await <= BEHIND_MAX).then_some(())
        })
        .await;
    }
    eventually("everything is mirrored", async || (behind(&world).await == 0).then_some(())).await;
    worker.stop().await;
    stop.cancel();

    let mut generations = 0;
    for service in &services {
        generations += assert_equal(&world, service, &warehouse).await;
    }
    assert_eq!(generations, u64::from(days) * services.len() as u64, "every run published");
    let disorder = "select count(*)::text from cameo.outbox one join cameo.outbox next
                    on (one.tenant, one.service) = (next.tenant, next.service)
                        and one.generation < next.generation and one.completed_at > next.completed_at";
    assert_eq!(world.texts(disorder).await, ["0"], "completed in the order of publication");
    world.assert_sound().await;

    let attempts = world.texts("select sum(attempts)::text from cameo.outbox").await.concat();
    let (requests, faults) = {
        let state = warehouse.state();
        (state.requests, state.faults.clone())
    };
    for fault in FAULTS {
        assert!(faults.contains_key(&fault), "{fault:?} was not tried");
    }
    let of = |fault| faults.get(&fault).copied().unwrap_or_default();
    report(
        "a warehouse that loses, repeats and delays",
        &[
            ("generations, all equal", &generations),
            ("requests", &requests),
            ("replies lost", &of(Fault::ReplyLost)),
            ("requests executed twice", &of(Fault::Repeated)),
            ("replies after the lease", &of(Fault::ReplyLate)),
            ("requests executed after the lease", &of(Fault::RequestLate)),
            ("attempts of the mirrors", &attempts),
            ("seconds", &began.elapsed().as_secs()),
        ],
    );
}
