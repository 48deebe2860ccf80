//! A platform with two tenants over a real Postgres, and a caller of its API.

use std::{path::Path, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use cameo_access::ApiKey;
use cameo_api::{Config, Dependencies};
use cameo_bundle::ArtifactStore;
use cameo_domain::{
    Column, DataType, MissedRunPolicy, PredictionSchema, ReleaseId, Scopes, ServiceName, Services,
    Sha256, Stage, TenantName,
};
use cameo_runtime::{
    metrics::Metrics,
    postgres::{EmbeddedPostgres, PostgresSettings},
};
use cameo_sealing::TenantKeys;
use cameo_store::{
    By, ConnectOptions, Store,
    explanations::{self, Cohort, Explanation, FeatureImportance, Importance, Unit},
    generations::{self, GenerationMeta, Writer},
    keys::{self, NewKey},
    releases::{self, NewRelease, ReleaseHashes},
    runs::{self, RunCounts},
    tenants::{self, TenantSettings},
};
use cameo_warehouse::{Lake, LakeLimits};
use chrono::{DateTime, Duration, Utc};
use http_body_util::BodyExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

pub(crate) const STALE_AFTER_SECONDS: i64 = 172_800;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) api: Router,
    pub(crate) admin: String,
    pub(crate) marketing: String,
    pub(crate) crm: String,
    _stop: DropGuard,
    _postgres: EmbeddedPostgres,
    _folder: tempfile::TempDir,
    pub(crate) lake: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert!(!self.header("x-request-id").is_empty());
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["request_id"], self.header("x-request-id"));
        body["code"].as_str().expect("a code").to_owned()
    }
}

/// What an API stands on, with a Lake and models below `folder`.
pub(crate) fn dependencies(store: Store, metrics: Metrics, folder: &Path) -> Dependencies {
    let limits = LakeLimits::with_scratch(folder.join("scratch"));
    let artifacts = folder.join("artifacts");
    std::fs::create_dir_all(&artifacts).expect("a folder for models");
    Dependencies {
        tenant_keys: Arc::new(TenantKeys::new(store.clone(), None)),
        store,
        metrics,
        warehouse: Arc::new(Lake::open(folder, limits).expect("the Lake opens")),
        artifacts: Arc::new(
            ArtifactStore::open(&artifacts.display().to_string()).expect("the folder opens"),
        ),
        trusted_keys: None,
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let path = folder.path().to_owned();
        let started = tokio::task::spawn_blocking(move || {
            EmbeddedPostgres::start(&path, &PostgresSettings::default())
        });
        let postgres = started.await.expect("no panic").expect("Postgres starts");
        let options = ConnectOptions::from_url(&postgres.url()).expect("a URL");
        let store = Store::connect(&options).await.expect("Postgres answers");
        store.migrate().await.expect("the migrations apply");
        for tenant in ["marketing", "crm"] {
            let settings = TenantSettings { max_concurrent_runs: 2 };
            tenants::ensure(&store, &name(tenant), &settings).await.expect("a tenant");
        }
        let stop = CancellationToken::new();
        let metrics = Metrics::new();
        let lake = tempfile::tempdir().expect("a folder for the Lake");
        let dependencies = dependencies(store.clone(), metrics.clone(), lake.path());
        Self {
            api: cameo_api::router(config, dependencies, stop.clone()),
            admin: key(&store, None).await,
            marketing: key(&store, Some("marketing")).await,
            crm: key(&store, Some("crm")).await,
            store,
            metrics,
            _stop: stop.drop_guard(),
            _postgres: postgres,
            _folder: folder,
            lake,
        }
    }

    /// Applies a service whose key is of type `key`.
    pub(crate) async fn apply(&self, tenant: &str, service: &str, key: DataType) {
        self.apply_schema(tenant, service, schema(key)).await;
    }

    /// Applies a service that stores explanations.
    pub(crate) async fn apply_explained(&self, tenant: &str, service: &str) {
        let schema = schema(DataType::Int).with_explanation().expect("a schema");
        self.apply_schema(tenant, service, schema).await;
    }

    async fn apply_schema(&self, tenant: &str, service: &str, schema: PredictionSchema) {
        self.apply_release(tenant, service, schema, |_| {}).await;
    }

    /// Applies a version of a service; gives its hash.
    pub(crate) async fn apply_version(
        &self,
        tenant: &str,
        service: &str,
        version: &str,
        edit: impl FnOnce(&mut NewRelease),
    ) -> String {
        let release = ReleaseId(Sha256::of(format!("{tenant}/{service} {version}")));
        self.apply_release(tenant, service, schema(DataType::Int), |new| {
            new.release = release;
            version.clone_into(&mut new.version);
            edit(new);
        })
        .await;
        release.to_string()
    }

    async fn apply_release(
        &self,
        tenant: &str,
        service: &str,
        schema: PredictionSchema,
        edit: impl FnOnce(&mut NewRelease),
    ) {
        let release = ReleaseId(Sha256::of(format!("{tenant}/{service}")));
        let part = |part: &str| Sha256::of(part);
        let mut new = NewRelease {
            manifest: serde_json::json!({}),
            release,
            service: service.parse().expect("a service name"),
            version: "0.0.1".to_owned(),
            hashes: ReleaseHashes {
                config: part("config"),
                sql: part("sql"),
                model: part("model"),
            },
            schema,
            cron: "00 18 * * *".to_owned(),
            timezone: "Asia/Tokyo".to_owned(),
            next_due_at: Utc::now() + Duration::days(1),
            missed_run_policy: MissedRunPolicy::Latest,
            missed_run_window_seconds: 86_400,
            generations_kept: 3,
            stale_after_seconds: STALE_AFTER_SECONDS.unsigned_abs(),
            attempts_max: 3,
            git_commit: None,
            stage: Stage::Production,
            protected: false,
            shadow_runs_min: 0,
            by: By::new("test", "test"),
            reason: None,
        };
        edit(&mut new);
        releases::apply(&self.store, &name(tenant), &new).await.expect("a release");
    }

    /// A key of a tenant with some scopes only.
    pub(crate) async fn scoped_key(&self, tenant: &str, scopes: &[&str]) -> String {
        let scopes = Scopes::from_words(scopes).expect("scopes");
        key_with(&self.store, Some(tenant), scopes).await
    }

    /// Runs the service and publishes `rows` keys from 1, whose scores are `first + key`.
    pub(crate) async fn publish(
        &self,
        tenant: &str,
        service: &str,
        predicted_at: DateTime<Utc>,
        rows: i64,
        first: f64,
    ) -> i64 {
        let store = &self.store;
        let service: ServiceName = service.parse().expect("a service name");
        let idempotency = uuid::Uuid::now_v7().to_string();
        runs::create_manual(store, &name(tenant), &service, &idempotency, Utc::now(), "test")
            .await
            .expect("a run");
        let run = runs::claim(store, "test", 60).await.expect("a claim").expect("the queued run");
        assert_eq!(run.path.service, service, "another run was queued before");
        let meta = GenerationMeta {
            release: run.release,
            hashes: run.hashes,
            watermark: Some(predicted_at - Duration::hours(1)),
            data_fingerprint: None,
            predicted_at,
            schema: run.schema.clone(),
        };
        let generation = generations::begin(store, &run, &meta).await.expect("a generation");
        let mut writer = Writer::open(store, &generation).await.expect("a writer");
        writer.send(&batch(&run.schema, rows, first)).await.expect("the rows are sent");
        let digest = writer.finish().await.expect("the rows arrive");
        if run.schema.is_explained() {
            let importance = importance(rows.unsigned_abs());
            explanations::record(store, &generation, &importance).await.expect("recorded");
        }
        generations::seal(store, &generation).await.expect("a sealed generation");
        let rows = rows.unsigned_abs();
        let counts = RunCounts { rows_read: rows, rows_scored: rows, ..RunCounts::default() };
        generations::publish(store, run.run, run.epoch, &generation, digest, &counts)
            .await
            .expect("a publication");
        generation.id.0
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.api.clone().oneshot(request).await.expect("the router never fails");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Answer {
        self.send(request(Method::GET, path, Some(key), None)).await
    }

    pub(crate) async fn post(&self, key: &str, path: &str, body: &str) -> Answer {
        self.send(request(Method::POST, path, Some(key), Some(body))).await
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    key: Option<&str>,
    body: Option<&str>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_owned()));
    request.body(body).expect("a valid request")
}

fn name(tenant: &str) -> TenantName {
    tenant.parse().expect("a tenant name")
}

async fn key(store: &Store, tenant: Option<&str>) -> String {
    key_with(store, tenant, Scopes::all()).await
}

async fn key_with(store: &Store, tenant: Option<&str>, scopes: Scopes) -> String {
    let key = ApiKey::generate().expect("random numbers");
    let new = NewKey {
        prefix: key.prefix().to_owned(),
        hash: key.hash(),
        tenant: tenant.map(name),
        name: "test".to_owned(),
        scopes,
        services: Services::All,
        created_by: "test".to_owned(),
        expires_at: None,
    };
    keys::insert(store, &new).await.expect("a key");
    key.reveal().to_owned()
}

fn schema(key: DataType) -> PredictionSchema {
    let columns = [
        ("customer", key),
        ("score", DataType::Float64),
        ("tier", DataType::String),
        ("active", DataType::Bool),
        ("visits", DataType::Int),
        ("last_day", DataType::Date),
        ("last_at", DataType::Timestamp),
    ];
    let columns = columns
        .map(|(name, data_type)| Column { name: name.parse().expect("a column name"), data_type });
    PredictionSchema::new(columns.to_vec()).expect("a schema")
}

/// Row `k` of `rows`, from 1: everything is told for odd keys, nothing but the score for even ones.
fn batch(schema: &PredictionSchema, rows: i64, score: f64) -> RecordBatch {
    let keys = 1..=rows;
    let odd = |key: i64| key % 2 == 1;
    let key: ArrayRef = match schema.key().data_type {
        DataType::Int => Arc::new(keys.clone().collect::<Int64Array>()),
        _ => Arc::new(keys.clone().map(|key| Some(format!("c/{key}"))).collect::<StringArray>()),
    };
    let at = keys
        .clone()
        .map(|key| odd(key).then_some(1_700_000_000_000_000 + key))
        .collect::<TimestampMicrosecondArray>();
    let mut columns: Vec<ArrayRef> = vec![
        key,
        Arc::new(keys.clone().map(|key| Some(score + key as f64)).collect::<Float64Array>()),
        Arc::new(keys.clone().map(|key| odd(key).then_some("High \"1\"")).collect::<StringArray>()),
        Arc::new(keys.clone().map(|key| odd(key).then_some(true)).collect::<BooleanArray>()),
        Arc::new(keys.clone().map(|key| odd(key).then_some(key)).collect::<Int64Array>()),
        Arc::new(keys.clone().map(|key| odd(key).then_some(19_000)).collect::<Date32Array>()),
        Arc::new(at.with_timezone("UTC")),
    ];
    if schema.is_explained() {
        let text = |key| format!(r#"[{{"feature":"visits","value":{key},"contribution":0.5}}]"#);
        let texts = keys.map(|key| odd(key).then(|| text(key)));
        columns.push(Arc::new(texts.collect::<StringArray>()));
    }
    RecordBatch::try_new(cameo_batch::arrow_schema(schema), columns).expect("the declared columns")
}

fn importance(rows: u64) -> Importance {
    let feature = |feature: &str, mean_absolute: f64, mean: f64| FeatureImportance {
        feature: feature.to_owned(),
        mean_absolute,
        mean,
    };
    let features = vec![feature("visits", 0.75, -0.5), feature("tenure", 0.25, 0.25)];
    Importance {
        explanation: Explanation {
            method: "TREE_PATH".to_owned(),
            description: "exact, path-dependent".to_owned(),
            output: "score".to_owned(),
            unit: Unit::Margin,
            base_value: 0.125,
            stored: true,
            rows,
            standard_error: None,
        },
        cohorts: vec![Cohort {
            column: "country".to_owned(),
            value: "JP".to_owned(),
            rows,
            features: features.clone(),
        }],
        features,
    }
}
