//! Look-ups from snapshots and from Postgres: the same answers, byte by byte.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use cameo_api::{Config, SnapshotSettings};
use cameo_batch::arrow_schema;
use cameo_domain::{
    Column, DataType, Key, MissedRunPolicy, PredictionSchema, ReleaseId, Sha256, Stage, TenantName,
};
use cameo_store::{
    By,
    generations::{self, GenerationMeta, Writer},
    releases::{self, NewRelease, ReleaseHashes},
    runs::{self, RunCounts},
    tenants::{self, TenantSettings},
};
use cameo_tests::{AnotherApi, Answer, World, eventually};
use chrono::Utc;
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use serde_json::{Value, json};

/// Random services that are compared.
const SERVICES: u32 = 24;
const TENANT: &str = "crm";
/// Days and microseconds of the years 1 and 9999.
const DAYS: (i32, i32) = (-719_162, 2_932_896);
const MICROS: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);

/// A value of a prediction column, as long as it is of the column's type.
#[derive(Debug, Clone)]
enum Cell {
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    Date(i32),
    Timestamp(i64),
}

/// A service's declared columns and its rows by key and rank.
#[derive(Debug, Clone)]
struct Generation {
    schema: PredictionSchema,
    rows: BTreeMap<(Key, i64), Vec<Option<Cell>>>,
    absent: Vec<Key>,
}

fn cell_of(kind: DataType) -> BoxedStrategy<Option<Cell>> {
    let text = "[^\\x00]{0,20}".prop_map(Cell::Text);
    let json = any::<i64>().prop_map(|number| Cell::Text(format!("[{{\"value\":  {number}}}]")));
    let cell = match kind {
        DataType::Int => any::<i64>().prop_map(Cell::Int).boxed(),
        DataType::Float64 => any::<f64>().prop_map(Cell::Float).boxed(),
        DataType::String => text.boxed(),
        DataType::Json => json.boxed(),
        DataType::Bool => any::<bool>().prop_map(Cell::Bool).boxed(),
        DataType::Date => (DAYS.0..=DAYS.1).prop_map(Cell::Date).boxed(),
        DataType::Timestamp => (MICROS.0..=MICROS.1).prop_map(Cell::Timestamp).boxed(),
    };
    option::weighted(0.75, cell).boxed()
}

fn key_of(kind: DataType) -> BoxedStrategy<Key> {
    match kind {
        DataType::Int => prop_oneof![any::<i64>(), -40..40i64].prop_map(Key::Int).boxed(),
        _ => "[^\\x00]{1,20}".prop_map(Key::String).boxed(),
    }
}

fn generation() -> impl Strategy<Value = Generation> {
    let key = prop_oneof![Just(DataType::Int), Just(DataType::String)];
    let kinds = vec(proptest::sample::select(&DataType::ALL[..]), 1..7);
    (key, kinds, any::<bool>(), any::<bool>()).prop_flat_map(|(key, kinds, ranks, explained)| {
        let explained = explained && !ranks;
        let schema = schema(key, &kinds, ranks, explained);
        let rank = if ranks { 1..=3i64 } else { 0..=0 };
        let json = explained.then_some(DataType::Json);
        let cells: Vec<_> = kinds.into_iter().chain(json).map(cell_of).collect();
        let rows = btree_map((key_of(key), rank), cells, 1..60);
        let absent = vec(key_of(key), 4);
        (rows, absent).prop_map(move |(rows, absent)| Generation {
            schema: schema.clone(),
            rows,
            absent,
        })
    })
}

fn schema(key: DataType, kinds: &[DataType], ranks: bool, explained: bool) -> PredictionSchema {
    let column =
        |name: String, data_type| Column { name: name.parse().expect("a name"), data_type };
    let rank = ranks.then(|| column("rank".to_owned(), DataType::Int));
    let others = kinds.iter().enumerate().map(|(at, kind)| column(format!("p{at}"), *kind));
    let columns = [column("id".to_owned(), key)].into_iter().chain(rank).chain(others).collect();
    let schema = PredictionSchema::new(columns).expect("a schema");
    match (ranks, explained) {
        (true, _) => schema.ranked(3).expect("a rank"),
        (false, true) => schema.with_explanation().expect("an explanation"),
        (false, false) => schema,
    }
}

impl Generation {
    fn batch(&self) -> RecordBatch {
        let keys = self.rows.keys().map(|(key, _)| {
            Some(match key {
                Key::Int(key) => Cell::Int(*key),
                Key::String(key) => Cell::Text(key.clone()),
            })
        });
        let mut columns = vec![array(self.schema.key().data_type, keys.collect())];
        let ranked = usize::from(self.schema.top_n().is_some());
        if ranked == 1 {
            let ranks = self.rows.keys().map(|(_, rank)| Some(Cell::Int(*rank)));
            columns.push(array(DataType::Int, ranks.collect()));
        }
        for (at, column) in self.schema.predictions()[ranked..].iter().enumerate() {
            let cells = self.rows.values().map(|cells| cells[at].clone());
            columns.push(array(column.data_type, cells.collect()));
        }
        RecordBatch::try_new(arrow_schema(&self.schema), columns).expect("a batch")
    }

    /// Every key once, then keys that are probably not there.
    fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.rows.keys().map(|(key, _)| key.clone()).collect();
        keys.dedup();
        keys.extend(self.absent.iter().cloned());
        keys
    }
}

fn array(kind: DataType, cells: Vec<Option<Cell>>) -> ArrayRef {
    macro_rules! of {
        ($array:ty, $kind:ident) => {
            cells
                .into_iter()
                .map(|cell| match cell {
                    Some(Cell::$kind(value)) => Some(value),
                    _ => None,
                })
                .collect::<$array>()
        };
    }
    match kind {
        DataType::Int => Arc::new(of!(Int64Array, Int)),
        DataType::Float64 => Arc::new(of!(Float64Array, Float)),
        DataType::String | DataType::Json => Arc::new(of!(StringArray, Text)),
        DataType::Bool => Arc::new(of!(BooleanArray, Bool)),
        DataType::Date => Arc::new(of!(Date32Array, Date)),
        DataType::Timestamp => {
            Arc::new(of!(TimestampMicrosecondArray, Timestamp).with_timezone("UTC"))
        }
    }
}

/// Applies a service of these columns and publishes the rows.
async fn publish(world: &World, service: &str, generation: &Generation) {
    let tenant: TenantName = TENANT.parse().expect("a name");
    let part = |part: &str| Sha256::of(part);
    let new = NewRelease {
        manifest: json!({}),
        release: ReleaseId(Sha256::of(service)),
        service: service.parse().expect("a name"),
        version: "0.0.1".to_owned(),
        hashes: ReleaseHashes { config: part("config"), sql: part("sql"), model: part("model") },
        schema: generation.schema.clone(),
        cron: "00 18 * * *".to_owned(),
        timezone: "UTC".to_owned(),
        next_due_at: Utc::now() + chrono::Duration::days(1),
        missed_run_policy: MissedRunPolicy::Latest,
        missed_run_window_seconds: 86_400,
        generations_kept: 3,
        stale_after_seconds: 86_400,
        attempts_max: 3,
        git_commit: None,
        stage: Stage::Production,
        protected: false,
        shadow_runs_min: 0,
        by: By::new("test", "test"),
        reason: None,
    };
    let store = &world.store;
    releases::apply(store, &tenant, &new).await.expect("a release");
    runs::create_manual(store, &tenant, &new.service, service, Utc::now(), "test")
        .await
        .expect("a run");
    let run = runs::claim(store, "test", 60).await.expect("a claim").expect("the queued run");
    let meta = GenerationMeta {
        release: run.release,
        hashes: run.hashes,
        watermark: None,
        data_fingerprint: None,
        predicted_at: Utc::now(),
        schema: run.schema.clone(),
    };
    let begun = generations::begin(store, &run, &meta).await.expect("a generation");
    let mut writer = Writer::open(store, &begun).await.expect("a writer");
    writer.send(&generation.batch()).await.expect("the rows are sent");
    let digest = writer.finish().await.expect("the rows arrive");
    generations::seal(store, &begun).await.expect("a sealed generation");
    let rows = digest.rows;
    let counts = RunCounts { rows_read: rows, rows_scored: rows, ..RunCounts::default() };
    generations::publish(store, run.run, run.epoch, &begun, digest, &counts)
        .await
        .expect("a publication");
}

fn percent_encoded(key: &Key) -> String {
    key.to_string().bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

/// What must be the same: status, body and what names the answer. The age may have gone on by a second.
fn told(answer: &Answer) -> (u16, String, String) {
    let tag = answer.header("etag").to_owned();
    let mut body = answer.body.clone();
    for member in ["\"age_seconds\":", "\"request_id\":\"", "urn:cameo:request:"] {
        if let Some(at) = body.find(member) {
            let value = at + member.len();
            let length = body[value..].find([',', '}', '"']).unwrap_or(0);
            body.replace_range(value..value + length, "");
        }
    }
    (answer.status.as_u16(), tag, body)
}

async fn compare(
    service: &str,
    generation: &Generation,
    postgres: &World,
    files: &AnotherApi,
    key: &str,
) {
    let url = format!("/v1/tenants/{TENANT}/services/{service}/predictions");
    for asked in generation.keys() {
        let path = format!("{url}/{}", percent_encoded(&asked));
        let (one, other) = (postgres.get(key, &path).await, files.get(key, &path).await);
        assert_eq!(told(&one), told(&other), "{asked:?} of {:?}", generation.schema);
    }
    let keys: Vec<Value> = generation
        .keys()
        .into_iter()
        .map(|key| serde_json::to_value(key).expect("JSON"))
        .chain([json!(1.5), json!(""), json!(17), json!("17")])
        .collect();
    let (path, body) = (format!("{url}:batchGet"), json!({ "keys": keys }));
    let (one, other) =
        (postgres.post(key, &path, &body).await, files.post(key, &path, &body).await);
    assert_eq!(one.status, 200, "{one:?}");
    assert_eq!(told(&one), told(&other), "{:?}", generation.schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_postgres_give_the_same_answers_for_any_columns_keys_and_nulls() {
    let world = World::start().await;
    let tenant = TENANT.parse().expect("a name");
    let settings = TenantSettings { max_concurrent_runs: 2 };
    tenants::ensure(&world.store, &tenant, &settings).await.expect("a tenant");
    let key = world.key(Some(TENANT)).await;
    let mut runner = TestRunner::deterministic();
    let mut generations = Vec::new();
    for number in 0..SERVICES {
        let drawn = generation().new_tree(&mut runner).expect("a generation").current();
        let service = format!("service_{number}");
        publish(&world, &service, &drawn).await;
        generations.push((service, drawn));
    }
    world.make_snapshots().await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_owned();
    let snapshots = SnapshotSettings { folder, in_place: true, bytes_max: 1 << 30 };
    let files = world.another_api(Config { snapshots: Some(snapshots), ..Config::default() });
    eventually("every service has its snapshot", async || {
        let mapped = files.metric("cameo_api_services_with_snapshot").await;
        (mapped == u64::from(SERVICES)).then_some(())
    })
    .await;
    for (service, generation) in &generations {
        compare(service, generation, &world, &files, &key).await;
    }
    assert_eq!(files.metric("cameo_api_snapshot_failures").await, 0);
}
