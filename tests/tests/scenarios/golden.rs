//! The demo services against an independent pipeline: see `tests/golden/README.md`.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use arrow::{array::RecordBatch, util::display::array_value_to_string};
use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_store::generations;
use cameo_tests::{Service, World, eventually};
use cameo_warehouse::{Parameters, Query, ReadOptions};
use flate2::read::GzDecoder;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-5;
const BATCH_KEYS_MAX: usize = 10_000;
const CUSTOMERS_GENDER: u64 = 5_000;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// What a service must predict.
struct Golden {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Rows by key, each value as text or number by the name of its column.
type Found = HashMap<i64, HashMap<String, Value>>;

impl Golden {
    fn read(name: &str) -> Self {
        let path = repository().join("tests/golden").join(format!("{name}.csv.gz"));
        let mut text = String::new();
        GzDecoder::new(File::open(path).expect("the golden file"))
            .read_to_string(&mut text)
            .expect("the golden file is text");
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect());
        let columns = lines.next().expect("a header");
        Self { columns, rows: lines.collect() }
    }

    fn keys(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().map(|row| row[0].parse().expect("an integer key"))
    }

    fn assert_equals(&self, place: &str, found: &Found) {
        assert_eq!(found.len(), self.rows.len(), "{place}: rows");
        let mut differences = Vec::new();
        for (row, key) in self.rows.iter().zip(self.keys()) {
            let Some(values) = found.get(&key) else {
                differences.push(format!("key {key} is missing"));
                continue;
            };
            for (column, expected) in self.columns.iter().zip(row).skip(1) {
                let given = values.get(column).unwrap_or(&Value::Null);
                if !is_equal(expected, given) {
                    differences.push(format!("{column} of {key}: expected {expected}, {given}"));
                }
            }
        }
        let shown = &differences[..differences.len().min(10)];
        assert!(differences.is_empty(), "{place}: {} differences: {shown:#?}", differences.len());
    }
}

fn is_equal(expected: &str, found: &Value) -> bool {
    match found {
        Value::String(found) => found == expected,
        Value::Number(number) if number.is_i64() => number.to_string() == expected,
        Value::Number(number) => {
            let (found, expected) = (number.as_f64(), expected.parse::<f64>());
            found.zip(expected.ok()).is_some_and(|(found, expected)| {
                (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
            })
        }
        _ => false,
    }
}

/// What SQL users of Postgres see.
async fn in_postgres(world: &World, service: &Service<'_>, key: &str) -> Found {
    generations::refresh_views(&world.store).await.expect("the views follow");
    let (tenant, name) = (&service.path.tenant, &service.path.service);
    let sql = format!("select row_to_json(seen)::text from tenant_{tenant}.{name} seen");
    let rows = world.texts(&sql).await;
    let row = |row: &String| -> (i64, HashMap<String, Value>) {
        let values: HashMap<String, Value> = serde_json::from_str(row).expect("JSON");
        (values[key].as_i64().expect("an integer key"), values)
    };
    rows.iter().map(row).collect()
}

/// What tenants see in the mirror, through the warehouse.
async fn in_the_mirror(world: &World, service: &Service<'_>, key: &str) -> Found {
    let query = Query {
        sql: format!("SELECT * FROM predictions.{}", service.path.service),
        parameters: Parameters::utc(cameo_tests::at("2024-03-01T00:00:00Z")),
    };
    let options = ReadOptions {
        memory_limit_bytes: 512 << 20,
        threads: 2,
        partitions: 1,
        batch_rows: 10_000,
    };
    let read = world.warehouse.read(&service.path.tenant, &query, &options).await.expect("a read");
    let mut found = Found::new();
    for partition in read.partitions {
        let batches: Vec<RecordBatch> = partition.try_collect().await.expect("the rows");
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let values: HashMap<String, Value> = batch
                    .schema_ref()
                    .fields()
                    .iter()
                    .zip(batch.columns())
                    .map(|(field, column)| {
                        let text = array_value_to_string(column, row).expect("a value");
                        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                        (field.name().clone(), value)
                    })
                    .collect();
                found.insert(values[key].as_i64().expect("an integer key"), values);
            }
        }
    }
    found
}

/// What callers of the API see.
async fn from_the_api(world: &World, service: &Service<'_>, keys: &[i64]) -> Found {
    let secret = world.key(Some(service.path.tenant.as_str())).await;
    let url = format!("{}/predictions:batchGet", service.url());
    let mut found = Found::new();
    for keys in keys.chunks(BATCH_KEYS_MAX) {
        let answer = eventually("the API has the news", async || {
            let answer = world.post(&secret, &url, &json!({"keys": keys})).await;
            Some(answer).filter(|answer| answer.status == StatusCode::OK)
        })
        .await;
        for result in answer.json()["results"].as_array().expect("results") {
            let values = result["predictions"].as_object().cloned().unwrap_or_default();
            let key = result["key"].as_i64().expect("an integer key");
            found.insert(key, values.into_iter().collect());
        }
    }
    found
}

async fn assert_golden(world: &World, tenant: &str, name: &str) {
    let golden = Golden::read(name);
    let service = world.apply_folder(&repository().join("tenants").join(tenant).join(name)).await;
    let run = service.execute("2024-03-01T00:00:00Z").await;
    assert_eq!(run.state, RunState::Published, "{run:#?}");
    assert_eq!(world.mirror().await, 1);
    let key = &golden.columns[0];
    golden.assert_equals("Postgres", &in_postgres(world, &service, key).await);
    golden.assert_equals("the mirror", &in_the_mirror(world, &service, key).await);
    let keys: Vec<i64> = golden.keys().collect();
    golden.assert_equals("the API", &from_the_api(world, &service, &keys).await);
    world.assert_sound().await;
}

async fn cdnow() -> World {
    let world = World::start().await;
    let orders = repository().join("deploy/demo/lake/crm/cdnow/orders.parquet");
    let select = format!("SELECT * FROM read_parquet('{}')", orders.display());
    world.table("crm", "cdnow", "orders", &select).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_of_every_cdnow_customer_is_what_an_independent_pipeline_finds() {
    assert_golden(&cdnow().await, "crm", "clv").await;
}

/// V2: the probabilistic model beside the champion, against the formulas of its papers.
#[tokio::test(flavor = "multi_thread")]
async fn the_buy_till_you_die_value_of_every_cdnow_customer_is_that_of_the_closed_form() {
    assert_golden(&cdnow().await, "crm", "clv_bgnbd").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gender_of_the_first_customers_is_what_an_independent_pipeline_finds() {
    let world = World::start().await;
    let folder = world.place.folder.join("lake/marketing/demo");
    std::fs::create_dir_all(&folder).expect("a folder");
    let script = std::fs::read_to_string(repository().join("deploy/demo/customers.sql"))
        .expect("the script")
        .replace("{customers}", &CUSTOMERS_GENDER.to_string())
        .replace("{file}", &folder.join("customers.parquet").display().to_string());
    cameo_warehouse::run_unconfined(&script).expect("the customers");
    assert_golden(&world, "marketing", "gender").await;
}
