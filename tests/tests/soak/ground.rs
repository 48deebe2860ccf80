//! A world whose workers are played by the test: it claims, writes and publishes by the store's own functions.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use cameo_batch::{RowDigest, conform};
use cameo_domain::{RunId, ServiceName, ServicePath, Sha256, TenantName};
use cameo_store::{
    Store, StoreError,
    generations::{self, Generation, GenerationMeta, Outcome, Writer},
    releases::{self, NewRelease},
    runs::{self, ClaimedRun, RunCounts},
    tenants::{self, TenantSettings},
};
use cameo_tests::{World, at};
use chrono::{DateTime, Duration, Utc};

use crate::releases::{release, scores};

/// Claims last as long as a test.
pub(crate) const LEASE_SECONDS: u32 = 3_600;
/// The most that a release may ask for.
const ATTEMPTS_MAX: u32 = 100;

pub(crate) struct Ground {
    pub(crate) world: World,
    hours: AtomicI64,
}

impl Ground {
    pub(crate) async fn start() -> Self {
        Self { world: World::start().await, hours: AtomicI64::new(0) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.world.store
    }

    pub(crate) async fn tenant(&self, name: &str, max_concurrent_runs: u32) -> TenantName {
        let tenant = name.parse().expect("a tenant name");
        let settings = TenantSettings { max_concurrent_runs };
        tenants::ensure(self.store(), &tenant, &settings).await.expect("a tenant");
        tenant
    }

    /// Applies the first version of a service.
    pub(crate) async fn service(&self, path: &str) -> ServicePath {
        let path: ServicePath = path.parse().expect("a path");
        self.apply(&path, &lasting(&path.service, 1)).await;
        path
    }

    pub(crate) async fn apply(&self, path: &ServicePath, new: &NewRelease) {
        releases::apply(self.store(), &path.tenant, new).await.expect("a release");
    }

    /// An instant later than all before.
    pub(crate) fn later(&self) -> DateTime<Utc> {
        at("2026-03-01T00:00:00Z") + Duration::hours(self.hours.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn request(&self, path: &ServicePath) -> RunId {
        let due_at = self.later();
        let key = due_at.to_rfc3339();
        let (tenant, service) = (&path.tenant, &path.service);
        runs::create_manual(self.store(), tenant, service, &key, due_at, "soak")
            .await
            .expect("a run")
            .into_run()
            .run
    }

    /// Asks for a run and claims it; nothing else may wait.
    pub(crate) async fn claimed(&self, path: &ServicePath) -> ClaimedRun {
        let wanted = self.request(path).await;
        let run = runs::claim(self.store(), "soak", LEASE_SECONDS).await.expect("a claim");
        run.filter(|run| run.run == wanted).expect("the requested run")
    }

    /// Ends every claim of the tenant, and claims a run anew under a higher epoch; nothing else may wait.
    pub(crate) async fn reclaimed(&self, run: &ClaimedRun) -> ClaimedRun {
        self.release(&run.path.tenant).await;
        let again = runs::claim(self.store(), "soak", LEASE_SECONDS).await.expect("a claim");
        again.filter(|again| again.run == run.run).expect("the same run")
    }

    /// Puts every running run of the tenant back into the queue, with all its attempts.
    pub(crate) async fn release(&self, tenant: &TenantName) {
        let expired = format!(
            "update cameo.runs set lease_expires_at = now() - interval '1 s'
             where state = 'running' and tenant = '{tenant}'"
        );
        self.world.sql(&expired).await;
        runs::expire_leases(self.store()).await.expect("an answer");
        let anew = format!(
            "update cameo.runs set attempt = 0 where state = 'queued' and tenant = '{tenant}'"
        );
        self.world.sql(&anew).await;
    }

    pub(crate) async fn begun(&self, run: &ClaimedRun) -> Generation {
        generations::begin(self.store(), run, &meta(run)).await.expect("a generation")
    }

    /// Begins, writes and seals a generation of this many rows.
    pub(crate) async fn sealed(&self, run: &ClaimedRun, rows: i64) -> (Generation, RowDigest) {
        let generation = self.begun(run).await;
        let mut writer = Writer::open(self.store(), &generation).await.expect("a writer");
        writer.send(&batch(0..rows)).await.expect("rows sent");
        let sent = writer.finish().await.expect("all rows sent");
        let sealed = generations::seal(self.store(), &generation).await.expect("a sealed table");
        assert_eq!(sent, sealed, "what arrived is what was sent");
        (generation, sealed)
    }

    pub(crate) async fn publish(
        &self,
        run: &ClaimedRun,
        generation: &Generation,
        digest: RowDigest,
    ) -> Result<Outcome, StoreError> {
        let counts = counts(digest);
        generations::publish(self.store(), run.run, run.epoch, generation, digest, &counts).await
    }

    /// Requests, claims, writes and publishes a generation of this many rows.
    pub(crate) async fn published(&self, path: &ServicePath, rows: i64) -> Generation {
        let run = self.claimed(path).await;
        let (generation, digest) = self.sealed(&run, rows).await;
        let outcome = self.publish(&run, &generation, digest).await.expect("a publication");
        assert_eq!(outcome, Outcome::Published);
        generation
    }
}

/// A release whose runs may be tried as often as a test likes.
pub(crate) fn lasting(service: &ServiceName, version: u32) -> NewRelease {
    NewRelease { attempts_max: ATTEMPTS_MAX, ..release(service.as_str(), version) }
}

/// All rows were scored.
pub(crate) fn counts(digest: RowDigest) -> RunCounts {
    RunCounts { rows_read: digest.rows, rows_scored: digest.rows, ..RunCounts::default() }
}

pub(crate) fn meta(run: &ClaimedRun) -> GenerationMeta {
    GenerationMeta {
        release: run.release,
        hashes: run.hashes,
        watermark: Some(run.due_at),
        data_fingerprint: Some(Sha256::of("data")),
        predicted_at: run.due_at,
        schema: scores(),
    }
}

/// Customers with an eighth of their number as score.
pub(crate) fn batch(keys: Range<i64>) -> RecordBatch {
    let scores_of: Float64Array = keys.clone().map(score).collect();
    let batch = RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef),
        ("score", Arc::new(scores_of) as ArrayRef),
    ])
    .expect("a batch");
    conform(&batch, &scores()).expect("a batch of the schema")
}

pub(crate) fn score(key: i64) -> f64 {
    key as f64 / 8.0
}
