//! One service of a world.

use cameo_domain::{GenerationId, RunId, RunState, ServicePath};
use cameo_store::{
    generations::{self, GenerationRecord},
    lookup,
    runs::{self, RunFilter, RunRecord},
};
use sqlx::{AssertSqlSafe, Row};

use crate::{World, at, eventually};

/// A service that was applied.
pub struct Service<'w> {
    pub(crate) world: &'w World,
    /// Tenant and name.
    pub path: ServicePath,
}

/// What the readers of a service see: the rows of the generation that its pointer names.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The generation.
    pub generation: GenerationId,
    /// Its rows.
    pub rows: u64,
    /// Its different keys.
    pub keys: u64,
    level_min: Option<f64>,
    level_max: Option<f64>,
    odd_ones: u64,
}

impl Served {
    /// The level of the customers that all rows were predicted from; `None` where rows differ.
    #[must_use]
    pub fn level(&self) -> Option<f64> {
        (self.level_min == self.level_max && self.odd_ones == 0).then_some(self.level_min).flatten()
    }

    /// Whether these are `rows` predictions for as many customers, all at `level`.
    #[must_use]
    pub fn is_whole(&self, rows: u64, level: f64) -> bool {
        self.rows == rows && self.keys == rows && self.level() == Some(level)
    }
}

impl<'w> Service<'w> {
    pub(crate) fn new(world: &'w World, path: ServicePath) -> Self {
        Self { world, path }
    }

    /// The path of its predictions in the API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("/v1/tenants/{}/services/{}", self.path.tenant, self.path.service)
    }

    /// Asks for a run of an instant.
    pub async fn request(&self, due_at: &str) -> RunId {
        let (tenant, service) = (&self.path.tenant, &self.path.service);
        runs::create_manual(&self.world.store, tenant, service, due_at, at(due_at), "scenario")
            .await
            .expect("a run")
            .into_run()
            .run
    }

    /// Asks for a run of an instant and lets a worker execute it.
    pub async fn execute(&self, due_at: &str) -> RunRecord {
        let run = self.request(due_at).await;
        self.world.work().await;
        self.run(run).await
    }

    /// Executes a run of an instant, which publishes.
    pub async fn publish(&self, due_at: &str) -> GenerationId {
        let run = self.execute(due_at).await;
        assert_eq!(run.state, RunState::Published, "{run:#?}");
        run.generation.expect("a published run has a generation")
    }

    /// A run.
    pub async fn run(&self, run: RunId) -> RunRecord {
        runs::find(&self.world.store, &self.path.tenant, run)
            .await
            .expect("the database answers")
            .expect("the run exists")
    }

    /// Waits until a run is as wanted. The database may be away in the meantime.
    pub async fn run_when(
        &self,
        what: &str,
        run: RunId,
        wanted: impl Fn(&RunRecord) -> bool,
    ) -> RunRecord {
        let (store, tenant) = (&self.world.store, &self.path.tenant);
        eventually(&format!("run {run} of {} is {what}", self.path), async || {
            runs::find(store, tenant, run).await.ok().flatten().filter(&wanted)
        })
        .await
    }

    /// Its runs, oldest first.
    pub async fn runs(&self) -> Vec<RunRecord> {
        let filter = RunFilter {
            tenant: Some(self.path.tenant.clone()),
            service: Some(self.path.service.clone()),
            ..RunFilter::default()
        };
        let mut runs = runs::list(&self.world.store, &filter).await.expect("the database answers");
        runs.reverse();
        runs
    }

    /// Its generations, newest first.
    pub async fn generations(&self) -> Vec<GenerationRecord> {
        generations::list(&self.world.store, &self.path.tenant, &self.path.service)
            .await
            .expect("the database answers")
    }

    /// What its readers see at this moment.
    pub async fn served(&self) -> Option<Served> {
        let served = lookup::current(&self.world.store, Some(&self.path.tenant))
            .await
            .expect("the database answers")
            .into_iter()
            .find(|served| served.path == self.path)?;
        // visits = user_id % 7, so that what is left of the score is the level.
        let sql = format!(
            "select count(*) as rows, count(distinct user_id) as keys,
                 min(score - user_id % 7) as level_min, max(score - user_id % 7) as level_max,
                 count(*) filter (where twin is distinct from 2 * score) as odd_ones
             from {:?}.{:?}",
            served.table.schema, served.table.name
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.world.connection().await)
            .await
            .expect("the table is there");
        let count = |name| row.get::<i64, _>(name).unsigned_abs();
        Some(Served {
            generation: served.generation,
            rows: count("rows"),
            keys: count("keys"),
            level_min: row.get("level_min"),
            level_max: row.get("level_max"),
            odd_ones: count("odd_ones"),
        })
    }
}
