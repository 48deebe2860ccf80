//! The world of a scenario.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, http::Method};
use cameo_access::ApiKey;
use cameo_bundle::{ArtifactStore, Discovery, ReleaseManifest, artifact, discover};
use cameo_domain::{Scopes, Services, TenantName};
use cameo_mirror::MirrorMetrics;
use cameo_registry::release::new_release;
use cameo_runtime::{
    clock::{Clock, ManualClock},
    metrics::Metrics,
};
use cameo_scheduler::SchedulerMetrics;
use cameo_store::{
    By, Store, invariants,
    keys::{self, NewKey},
    releases, runs,
    tenants::{self, TenantSettings},
    verdicts::Verdict,
};
use cameo_warehouse::{Warehouse, run_unconfined};
use cameo_worker::Reach;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Answer, Bundle, Cluster, PATIENCE, Place, RunningWorker, Service, eventually, isolation, reader,
};

/// The clock's first reading. It is long past, so that "in five seconds" by this clock is at once
/// for the database, whose clock is the machine's: no scenario waits for a backoff.
pub(crate) const BEGINNING: &str = "2024-03-01T00:00:00Z";
/// A mirror that has more to do than this goes round in circles.
const MIRROR_STEPS_MAX: usize = 10_000;
/// The same of a worker that makes snapshots.
const SNAPSHOT_STEPS_MAX: usize = 100;

/// A whole Cameo.
pub struct World {
    /// The control plane and the generations.
    pub store: Store,
    /// What time it is for scheduler, worker and mirror.
    pub clock: Arc<ManualClock>,
    /// The Lake, as the worker sees it.
    pub warehouse: Arc<dyn Warehouse>,
    /// Where everything is.
    pub place: Place,
    /// The Postgres.
    pub cluster: Arc<Cluster>,
    artifacts: Arc<ArtifactStore>,
    api: Router,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

/// An instant from its text.
#[must_use]
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text} is no RFC 3339 instant: {error}"))
}

impl World {
    /// An empty world: nobody has applied anything.
    pub async fn start() -> Self {
        Self::on(Cluster::shared().await).await
    }

    /// An empty world on a cluster of its own choice.
    pub async fn on(cluster: Arc<Cluster>) -> Self {
        let database_url = cluster.create_database().await;
        let world = Self::over(cluster, database_url).await;
        world.store.migrate().await.expect("the migrations apply");
        world
    }

    /// A world over a database that is there already, or that somebody has still to fill. The rest is empty.
    pub async fn over(cluster: Arc<Cluster>, database_url: String) -> Self {
        let folder = tempfile::Builder::new().prefix("cameo-world-").tempdir().expect("a folder");
        let place = Place { database_url, folder: folder.path().to_owned() };
        let store = place.store("cameo-tests").await;
        let stop = CancellationToken::new();
        let api = cameo_api::router(
            cameo_api::Config { isolation: isolation(), ..cameo_api::Config::default() },
            cameo_api::Dependencies {
                store: store.clone(),
                tenant_keys: Arc::new(place.tenant_keys(store.clone())),
                metrics: Metrics::new(),
                warehouse: place.warehouse(),
                artifacts: place.artifacts(),
                trusted_keys: None,
            },
            stop.clone(),
        );
        Self {
            clock: Arc::new(ManualClock::new(at(BEGINNING))),
            warehouse: place.warehouse(),
            artifacts: place.artifacts(),
            store,
            api,
            place,
            cluster,
            _stop: stop.drop_guard(),
            _folder: folder,
        }
    }

    /// Writes a table of a tenant into the Lake; `select` is a query of the engine. Readers see the old
    /// table or the new one.
    pub async fn table(&self, tenant: &str, dataset: &str, table: &str, select: &str) {
        let folder = self.place.lake_folder().join(tenant).join(dataset);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{table}.parquet"));
        let part = folder.join(format!(".{table}.part"));
        let sql = format!("COPY ({select}) TO '{}' (FORMAT parquet)", part.display());
        tokio::task::spawn_blocking(move || run_unconfined(&sql))
            .await
            .expect("DuckDB ends")
            .expect("the table is written");
        std::fs::rename(&part, &file).expect("the table is in place");
    }

    /// Customers 1 to `rows` of a tenant, all at `level`; customer n has made `n % 7` visits.
    pub async fn customers(&self, tenant: &str, rows: u64, level: f64) {
        let select = format!(
            "SELECT range AS user_id, {level}::FLOAT AS level, range % 7 AS visits
             FROM range(1, {rows} + 1)"
        );
        self.table(tenant, "shop", "customers", &select).await;
    }

    /// Writes a bundle and applies it.
    pub async fn apply(&self, bundle: &Bundle) -> Service<'_> {
        let root = self.place.bundle_folder();
        bundle.write(&root);
        self.apply_from(&root.join(&bundle.tenant).join(&bundle.service), bundle.edit).await
    }

    /// Applies a bundle from its folder.
    pub async fn apply_folder(&self, folder: &Path) -> Service<'_> {
        self.apply_from(folder, None).await
    }

    async fn apply_from(
        &self,
        folder: &Path,
        edit: Option<fn(&mut ReleaseManifest)>,
    ) -> Service<'_> {
        let Discovery { tenants, bundles, diagnostics } = discover(folder);
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
        let [bundle] = bundles.as_slice() else {
            panic!("expected one bundle in {}", folder.display())
        };
        for tenant in &tenants {
            let max_concurrent_runs = tenant.config.max_concurrent_runs;
            let settings = TenantSettings { max_concurrent_runs };
            tenants::ensure(&self.store, &tenant.name, &settings).await.expect("the tenant");
        }
        let location = &bundle.config.model.model_path.value;
        let model = artifact::fetch(location, &bundle.folder).await.expect("the model");
        let model = self.artifacts.put(model).await.expect("the model is stored");
        let mut manifest = ReleaseManifest::new(bundle, model, None, None);
        if let Some(edit) = edit {
            edit(&mut manifest);
        }
        let first = bundle.config.prediction.schedule.next_after(self.clock.now());
        let by = By::new("scenario", "test");
        let new = new_release(&manifest, first.expect("a due instant"), &by);
        let path = manifest.path;
        releases::apply(&self.store, &path.tenant, &new).await.expect("the release is applied");
        Service::new(self, path)
    }

    /// One look of a scheduler at the schedules.
    pub async fn tick(&self) {
        cameo_scheduler::tick(&self.scheduler()).await.expect("the database answers");
    }

    /// What a scheduler works with, for scenarios with several.
    #[must_use]
    pub fn scheduler(&self) -> cameo_scheduler::Dependencies {
        cameo_scheduler::Dependencies {
            store: self.store.clone(),
            clock: self.clock.clone(),
            metrics: SchedulerMetrics::register(&Metrics::new()),
        }
    }

    /// What time it is here.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Moves the clock and lets the scheduler look.
    pub async fn advance_to(&self, instant: &str) {
        self.clock.set(at(instant));
        self.tick().await;
    }

    /// How workers behave here: they ask often, because scenarios do not like to wait.
    #[must_use]
    pub fn worker_config(&self) -> cameo_worker::Config {
        cameo_worker::Config {
            name: "scenario".to_owned(),
            threads: 2,
            writers: 2,
            poll: Duration::from_millis(20),
            isolation: isolation(),
            // Who is told here is on this machine.
            webhook_reach: Reach::Anywhere,
            ..cameo_worker::Config::default()
        }
    }

    /// Starts a worker in this process.
    pub async fn worker(&self, config: cameo_worker::Config) -> RunningWorker {
        let dependencies = self.place.worker("cameo-worker", self.clock.clone()).await;
        RunningWorker::start(config, dependencies)
    }

    /// Lets a worker work until no run waits or runs.
    pub async fn work(&self) {
        let worker = self.worker(self.worker_config()).await;
        self.idle().await;
        worker.stop().await;
    }

    /// Makes and deletes snapshots until there is nothing left to do; gives how many tasks it took.
    pub async fn make_snapshots(&self) -> usize {
        let config = self.worker_config();
        let dependencies = self.place.worker("cameo-worker", self.clock.clone()).await;
        for steps in 0..SNAPSHOT_STEPS_MAX {
            let worked = cameo_worker::make_next_snapshot(&config, &dependencies).await;
            if !worked.expect("the queue answers") {
                return steps;
            }
        }
        panic!("there were snapshots to make after {SNAPSHOT_STEPS_MAX} steps");
    }

    /// Makes the members of segments until none is due; gives how many were made.
    pub async fn make_members(&self) -> usize {
        let config = self.worker_config();
        let dependencies = self.place.worker("cameo-worker", self.clock.clone()).await;
        for steps in 0..SNAPSHOT_STEPS_MAX {
            let worked = cameo_worker::make_next_members(&config, &dependencies).await;
            if !worked.expect("the queue answers") {
                return steps;
            }
        }
        panic!("there were members to make after {SNAPSHOT_STEPS_MAX} steps");
    }

    /// Another API over the same database and artifacts.
    #[must_use]
    pub fn another_api(&self, config: cameo_api::Config) -> AnotherApi {
        let stop = CancellationToken::new();
        let dependencies = cameo_api::Dependencies {
            store: self.store.clone(),
            metrics: Metrics::new(),
            warehouse: self.place.warehouse(),
            artifacts: self.place.artifacts(),
            trusted_keys: None,
            tenant_keys: Arc::new(self.place.tenant_keys(self.store.clone())),
        };
        let router = cameo_api::router(config, dependencies, stop.clone());
        AnotherApi { router, _stop: stop.drop_guard() }
    }

    /// Compares what has run beside production until nothing is left to compare.
    pub async fn compare(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while let Some(verdict) = cameo_worker::compare_next(&self.store).await.expect("an answer")
        {
            verdicts.push(verdict);
        }
        verdicts
    }

    /// Waits until no run waits or runs.
    pub async fn idle(&self) {
        eventually("every run has ended", async || {
            runs::counts(&self.store).await.ok().filter(Vec::is_empty)
        })
        .await;
    }

    /// Lets a mirror work until it has nothing to do; gives how many tasks it took.
    pub async fn mirror(&self) -> usize {
        let config = cameo_mirror::Config::default();
        let dependencies = cameo_mirror::Dependencies {
            store: self.store.clone(),
            warehouse: Arc::clone(&self.warehouse),
            clock: self.clock.clone(),
            metrics: MirrorMetrics::register(&Metrics::new()),
        };
        for steps in 0..MIRROR_STEPS_MAX {
            let worked = cameo_mirror::step(&config, &dependencies).await;
            if !worked.expect("the outbox answers") {
                return steps;
            }
        }
        panic!("the mirror had nothing left to do after no {MIRROR_STEPS_MAX} steps");
    }

    /// Lets a worker erase until nobody is left to erase.
    ///
    /// # Panics
    /// When for [`PATIENCE`] nothing comes of it.
    pub async fn erase(&self) {
        let dependencies = self.place.worker("cameo-eraser", self.clock.clone()).await;
        let (mut before, mut deadline) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            let lease_seconds = self.worker_config().lease_seconds;
            cameo_worker::erase_next(&dependencies, lease_seconds).await.expect("an answer");
            self.make_snapshots().await;
            self.make_members().await;
            let open = "select format('erasure %s: %s of %s at %s, %s', s.erasure, count(*), s.place, s.state,
                            array_agg(s.subject order by s.subject))
                        from cameo.erasure_steps s join cameo.erasures using (erasure)
                        where erasures.state = 'erasing' group by s.erasure, s.place, s.state
                        union all select format('the keys of %s are to be forgotten', tenant)
                        from cameo.erasure_turns where keys_to_forget
                        union all select format('a turn of %s, not before %s, until %s: %s', t.tenant,
                            t.not_before, t.lease_expires_at, t.reason)
                        from cameo.erasure_turns t join cameo.erasures using (tenant)
                        where erasures.state = 'erasing'
                        union all select format('erasure %s', erasure)
                        from cameo.erasures where state = 'erasing' order by 1";
            let open = self.texts(open).await;
            if open.is_empty() {
                return;
            }
            if open != before {
                (before, deadline) = (open, Instant::now() + PATIENCE);
            }
            assert!(Instant::now() < deadline, "not erased within {PATIENCE:?}: {before:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Creates an API key; without a tenant it sees all.
    pub async fn key(&self, tenant: Option<&str>) -> String {
        self.key_for(tenant, Scopes::all()).await
    }

    /// Creates an API key that may do less, or more.
    pub async fn key_for(&self, tenant: Option<&str>, scopes: Scopes) -> String {
        let key = ApiKey::generate().expect("random numbers");
        let new = NewKey {
            prefix: key.prefix().to_owned(),
            hash: key.hash(),
            tenant: tenant.map(|tenant| tenant.parse::<TenantName>().expect("a tenant name")),
            name: "scenario".to_owned(),
            scopes,
            services: Services::All,
            created_by: "scenario".to_owned(),
            expires_at: None,
        };
        keys::insert(&self.store, &new).await.expect("the key is kept");
        key.reveal().to_owned()
    }

    /// Asks the API.
    pub async fn get(&self, key: &str, path: &str) -> Answer {
        self.get_with(key, path, &[]).await
    }

    /// Asks the API, with further headers.
    pub async fn get_with(&self, key: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        reader::ask(self.api.clone(), Method::GET, key, path, headers, None).await
    }

    /// Posts JSON to the API.
    pub async fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        reader::ask(self.api.clone(), Method::POST, key, path, &[], Some(body)).await
    }

    /// A connection of the scenario's own, to look behind the scenes.
    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.place.database_url).await.expect("a connection")
    }

    /// Runs SQL behind the scenes.
    pub async fn sql(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        self.connection().await.execute(sql).await.expect("the SQL is right");
    }

    /// The rows of a query of one text column.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.connection().await)
            .await
            .expect("the SQL is right")
    }

    /// Takes the folder of the models away, as an object store that does not answer.
    pub fn take_artifacts_away(&self) {
        let folder = self.place.artifact_folder();
        std::fs::rename(&folder, folder.with_extension("away")).expect("the folder is moved");
    }

    /// Brings the folder of the models back.
    pub fn bring_artifacts_back(&self) {
        let folder = self.place.artifact_folder();
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(folder.with_extension("away"), &folder).expect("the folder is moved");
    }

    /// Holds the pointers of all services: runs come as far as their publication, and wait there. They can be asked for.
    pub async fn hold_publications(&self) -> Hold {
        let mut connection = self.connection().await;
        connection.execute("begin; select from cameo.services for share").await.expect("the locks");
        Hold { connection }
    }

    /// Checks everything that must hold at any time.
    pub async fn assert_sound(&self) {
        let breaches = invariants::check(&self.store).await.expect("the check");
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}

/// An API beside the world's own.
pub struct AnotherApi {
    router: Router,
    _stop: DropGuard,
}

impl AnotherApi {
    /// Asks it.
    pub async fn get(&self, key: &str, path: &str) -> Answer {
        reader::ask(self.router.clone(), Method::GET, key, path, &[], None).await
    }

    /// Posts JSON to it.
    pub async fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        reader::ask(self.router.clone(), Method::POST, key, path, &[], Some(body)).await
    }

    /// What a metric says: with these labels, or where none are named with all of them together.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.get("none", "/metrics").await.body;
        let values = text.lines().filter_map(|line| {
            let (found, value) = line.rsplit_once(' ')?;
            let is_meant = found == name || found.split('{').next() == Some(name);
            is_meant.then(|| value.parse::<u64>().ok())?
        });
        values.sum()
    }
}

/// Keeps publications from going on.
pub struct Hold {
    connection: PgConnection,
}

impl Hold {
    /// Lets them go on.
    pub async fn release(self) {
        self.connection.close().await.expect("the connection ends");
    }
}
