//! A private Postgres with one tenant and its services.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use cameo_batch::{RowDigest, conform};
use cameo_domain::{
    Column, DataType, MissedRunPolicy, PredictionSchema, ReleaseId, RunId, ServiceName, Sha256,
    Stage, TenantName,
};
use cameo_runtime::postgres::{EmbeddedPostgres, PostgresSettings};
use cameo_store::{
    By, ConnectOptions, Store,
    generations::{self, Generation, GenerationMeta, Outcome, Writer},
    invariants,
    releases::{self, NewRelease, ReleaseHashes},
    runs::{self, ClaimedRun, RunCounts},
    tenants::{self, TenantSettings},
};
use chrono::{DateTime, Utc};

pub(crate) const LEASE_SECONDS: u32 = 60;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) options: ConnectOptions,
    pub(crate) postgres: EmbeddedPostgres,
    _folder: tempfile::TempDir,
}

impl World {
    /// A database with the tenant `crm` and no service.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cameo-store-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        let settings = PostgresSettings { shared_buffers_mb: 64, ..PostgresSettings::default() };
        let data = folder.path().join("pg");
        let postgres = EmbeddedPostgres::start(&data, &settings).expect("a private Postgres");
        let options = owned(&postgres).await;
        let store = Store::connect(&options).await.expect("a connection");
        store.migrate().await.expect("the migrations");
        let world = Self { store, options, postgres, _folder: folder };
        world.tenant("crm", 100).await;
        world
    }

    pub(crate) async fn tenant(&self, name: &str, max_concurrent_runs: u32) -> TenantName {
        let name = tenant(name);
        tenants::ensure(&self.store, &name, &TenantSettings { max_concurrent_runs })
            .await
            .expect("a tenant");
        name
    }

    /// Applies a service of tenant and name that is due daily at 18:00 UTC from 1 March 2026.
    pub(crate) async fn service(&self, tenant_name: &str, name: &str) -> ServiceName {
        let new = release(name, &scores());
        releases::apply(&self.store, &tenant(tenant_name), &new).await.expect("a release");
        new.service
    }

    /// A run for the instant, asked for by hand.
    pub(crate) async fn request(&self, tenant_name: &str, name: &str, due_at: &str) -> RunId {
        let service = name.parse().expect("a service name");
        let key = format!("{name} {due_at}");
        runs::create_manual(&self.store, &tenant(tenant_name), &service, &key, at(due_at), "test")
            .await
            .expect("a run")
            .into_run()
            .run
    }

    pub(crate) async fn claim(&self) -> Option<ClaimedRun> {
        runs::claim(&self.store, "worker", LEASE_SECONDS).await.expect("a claim")
    }

    /// Requests, claims, loads and publishes a generation of `crm` with `rows` rows.
    pub(crate) async fn published(&self, name: &str, due_at: &str, rows: i64) -> Generation {
        self.published_by("crm", name, due_at, rows).await
    }

    /// [`World::published`] by another tenant.
    pub(crate) async fn published_by(
        &self,
        tenant_name: &str,
        name: &str,
        due_at: &str,
        rows: i64,
    ) -> Generation {
        self.request(tenant_name, name, due_at).await;
        let run = self.claim().await.expect("the requested run");
        let (generation, digest) = self.sealed(&run, &scores(), &[batch(0..rows)]).await;
        let outcome = self.publish(&run, &generation, digest).await.expect("a publication");
        assert_eq!(outcome, Outcome::Published);
        generation
    }

    pub(crate) async fn begun(&self, run: &ClaimedRun, schema: &PredictionSchema) -> Generation {
        generations::begin(&self.store, run, &meta(run, schema)).await.expect("a generation")
    }

    pub(crate) async fn sealed(
        &self,
        run: &ClaimedRun,
        schema: &PredictionSchema,
        batches: &[RecordBatch],
    ) -> (Generation, RowDigest) {
        let generation = self.begun(run, schema).await;
        let mut writer = Writer::open(&self.store, &generation).await.expect("a writer");
        for batch in batches {
            let batch = conform(batch, schema).expect("a conformed batch");
            writer.send(&batch).await.expect("rows sent");
        }
        let sent = writer.finish().await.expect("all rows sent");
        let sealed = generations::seal(&self.store, &generation).await.expect("a sealed table");
        assert_eq!(sent, sealed, "what arrived is what was sent");
        (generation, sealed)
    }

    /// A sealed generation of `crm/gender` with 10 rows, which shows an older one.
    pub(crate) async fn about_to_be_published(&self) -> (ClaimedRun, Generation, RowDigest) {
        self.service("crm", "gender").await;
        self.published("gender", "2026-03-01T00:00:00Z", 10).await;
        self.request("crm", "gender", "2026-03-02T00:00:00Z").await;
        let run = self.claim().await.expect("the requested run");
        let (generation, digest) = self.sealed(&run, &scores(), &[batch(0..10)]).await;
        (run, generation, digest)
    }

    pub(crate) async fn publish(
        &self,
        run: &ClaimedRun,
        generation: &Generation,
        digest: RowDigest,
    ) -> Result<Outcome, cameo_store::StoreError> {
        let counts =
            RunCounts { rows_read: digest.rows, rows_scored: digest.rows, ..RunCounts::default() };
        generations::publish(&self.store, run.run, run.epoch, generation, digest, &counts).await
    }

    pub(crate) async fn sql(&self, sql: &'static str) -> Result<u64, sqlx::Error> {
        use sqlx::{Connection, Executor};
        let url = self.postgres.url();
        let mut connection = sqlx::PgConnection::connect(&url).await?;
        Ok(connection.execute(sql).await?.rows_affected())
    }

    /// [`World::sql`] with a text that was put together.
    pub(crate) async fn any_sql(&self, sql: &str) -> Result<u64, sqlx::Error> {
        use sqlx::{Connection, Executor};
        let mut connection = sqlx::PgConnection::connect(&self.postgres.url()).await?;
        Ok(connection.execute(sqlx::AssertSqlSafe(sql.to_owned())).await?.rows_affected())
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        use sqlx::Connection;
        let mut connection =
            sqlx::PgConnection::connect(&self.postgres.url()).await.expect("a connection");
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a number")
    }

    pub(crate) async fn assert_sound(&self) {
        let breaches = invariants::check(&self.store).await.expect("the check");
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}

/// Where the platform connects to as in production: as the owner of its database and no superuser, so that
/// row security binds it. The superuser is left to [`World::sql`], which tampers.
async fn owned(postgres: &EmbeddedPostgres) -> ConnectOptions {
    use sqlx::{Connection, Executor};
    let mut superuser =
        sqlx::PgConnection::connect(&postgres.url()).await.expect("a connection as superuser");
    superuser
        .execute("create role platform login createrole; alter database cameo owner to platform")
        .await
        .expect("an owner");
    let rules: String =
        sqlx::query_scalar("show hba_file").fetch_one(&mut superuser).await.expect("a path");
    std::fs::write(rules, "local all all trust\n").expect("everybody may log in");
    superuser.execute("select pg_reload_conf()").await.expect("the rules are read again");
    let info = postgres.connection();
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .socket(&info.socket_dir)
        .port(info.port)
        .username("platform")
        .database(&info.database);
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while let Err(error) = sqlx::PgConnection::connect_with(&options).await {
        assert!(std::time::Instant::now() < patience, "the owner cannot log in: {error}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    ConnectOptions::from_socket(&info.socket_dir, info.port, "platform", &info.database)
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an RFC 3339 instant")
}

pub(crate) fn tenant(name: &str) -> TenantName {
    name.parse().expect("a tenant name")
}

pub(crate) fn by(actor: &str) -> By {
    By::new(actor, "test")
}

pub(crate) fn crm() -> TenantName {
    tenant("crm")
}

pub(crate) fn schema(columns: &[(&str, DataType)]) -> PredictionSchema {
    let columns = columns.iter().map(|(name, data_type)| Column {
        name: name.parse().expect("a column name"),
        data_type: *data_type,
    });
    PredictionSchema::new(columns.collect()).expect("a schema")
}

/// `user_id INT, score FLOAT64`.
pub(crate) fn scores() -> PredictionSchema {
    schema(&[("user_id", DataType::Int), ("score", DataType::Float64)])
}

pub(crate) fn batch(keys: std::ops::Range<i64>) -> RecordBatch {
    let scores: Float64Array = keys.clone().map(|key| key as f64 / 8.0).collect();
    RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef),
        ("score", Arc::new(scores) as ArrayRef),
    ])
    .expect("a batch")
}

pub(crate) fn hashes(seed: &str) -> ReleaseHashes {
    let hash = |part: &str| Sha256::of(format!("{part} {seed}"));
    ReleaseHashes { config: hash("config"), sql: hash("sql"), model: hash("model") }
}

pub(crate) fn release(service: &str, schema: &PredictionSchema) -> NewRelease {
    NewRelease {
        manifest: serde_json::json!({ "service": service }),
        release: ReleaseId(Sha256::of(service)),
        service: service.parse().expect("a service name"),
        version: "0.0.1".to_owned(),
        hashes: hashes(service),
        schema: schema.clone(),
        cron: "0 18 * * *".to_owned(),
        timezone: "UTC".to_owned(),
        next_due_at: at("2026-03-01T18:00:00Z"),
        missed_run_policy: MissedRunPolicy::Latest,
        missed_run_window_seconds: 24 * 3600,
        generations_kept: 2,
        stale_after_seconds: 48 * 3600,
        attempts_max: 3,
        git_commit: None,
        stage: Stage::Production,
        protected: false,
        shadow_runs_min: 0,
        by: by("test"),
        reason: None,
    }
}

pub(crate) fn meta(run: &ClaimedRun, schema: &PredictionSchema) -> GenerationMeta {
    GenerationMeta {
        release: run.release,
        hashes: run.hashes,
        watermark: Some(at("2026-03-01T00:00:00Z")),
        data_fingerprint: Some(Sha256::of("data")),
        predicted_at: at("2026-03-01T18:01:00Z"),
        schema: schema.clone(),
    }
}
