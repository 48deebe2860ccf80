//! Measures reading, post-processing and mirroring on a folder with `orders.parquet`:
//! `cargo run --release -p cameo-warehouse --example measure -- FOLDER [stream|materialise|parts]`.

#![allow(clippy::print_stdout)] // An example talks to its terminal.

use std::{path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{Float64Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use cameo_domain::{GenerationId, ServiceName, TenantName};
use cameo_warehouse::{
    BatchStream, Lake, LakeLimits, LoadId, Parameters, PostProcess, Query, ReadOptions, Warehouse,
};
use futures_util::StreamExt;

const FEATURES: &str = "SELECT customer_id,
  TIMESTAMP_DIFF(@run_time, MAX(ordered_at), DAY) AS recency_days, COUNT(*) AS frequency, SUM(amount) AS monetary, AVG(amount) AS avg_order,
  TIMESTAMP_DIFF(@run_time, MIN(ordered_at), DAY) AS tenure_days,
  COUNTIF(ordered_at >= TIMESTAMP_SUB(@run_time, INTERVAL 30 DAY)) AS orders_30d,
  COUNTIF(ordered_at >= TIMESTAMP_SUB(@run_time, INTERVAL 90 DAY)) AS orders_90d,
  COUNTIF(ordered_at >= TIMESTAMP_SUB(@run_time, INTERVAL 365 DAY)) AS orders_365d,
  SUM(IF(ordered_at >= TIMESTAMP_SUB(@run_time, INTERVAL 30 DAY), amount, 0)) AS spend_30d,
  SUM(IF(ordered_at >= TIMESTAMP_SUB(@run_time, INTERVAL 90 DAY), amount, 0)) AS spend_90d,
  SUM(IF(ordered_at >= TIMESTAMP_SUB(@run_time, INTERVAL 365 DAY), amount, 0)) AS spend_365d,
  AVG(items) AS avg_items, MAX(amount) AS max_order, MIN(amount) AS min_order, STDDEV_SAMP(amount) AS sd_amount
FROM retail.orders GROUP BY customer_id";

fn options(partitions: usize) -> ReadOptions {
    ReadOptions { memory_limit_bytes: 2 << 30, threads: 2, partitions, batch_rows: 16_384 }
}

fn peak_mb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

async fn drain(streams: Vec<BatchStream>) -> usize {
    let tasks = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                rows += batch.expect("a batch").num_rows();
            }
            rows
        })
    });
    let mut rows = 0;
    for task in tasks.collect::<Vec<_>>() {
        rows += task.await.expect("a task that ends");
    }
    rows
}

fn materialised(folder: &str, sql: &str) -> usize {
    let connection = duckdb::Connection::open_in_memory().expect("DuckDB");
    connection
        .execute_batch(&format!(
            "SET threads = 2; SET memory_limit = '2GB'; CREATE VIEW orders AS FROM '{folder}/orders.parquet'"
        ))
        .expect("a view");
    let mut statement = connection.prepare(sql).expect("a query");
    statement.query_arrow([]).expect("rows").map(|batch| batch.num_rows()).sum()
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (folder, what) = (&arguments[1], arguments.get(2).map_or("stream", String::as_str));
    let base = std::env::temp_dir().join("cameo-measure");
    let tenant: TenantName = "bench".parse().expect("a name");
    std::fs::create_dir_all(base.join("lake/bench/retail")).expect("a folder");
    let link = base.join("lake/bench/retail/orders.parquet");
    if !link.exists() {
        std::fs::hard_link(Path::new(folder).join("orders.parquet"), &link).expect("a link");
    }
    let limits = LakeLimits::with_scratch(base.join("scratch"));
    let lake = Lake::open(&base.join("lake"), limits).expect("a lake");
    let parameters = Parameters::utc("2026-10-01T00:00:00Z".parse().expect("an instant"));
    let query = Query { sql: FEATURES.to_owned(), parameters };
    for _ in 0..3 {
        let start = Instant::now();
        let rows = match what {
            "materialise" => {
                let peer = std::fs::read_to_string(&arguments[3]).expect("the peer's SQL");
                materialised(folder, &peer)
            }
            "stream" | "parts" => {
                let parts = if what == "parts" { 2 } else { 1 };
                let read = lake.read(&tenant, &query, &options(parts)).await.expect("a result");
                drain(read.partitions).await
            }
            "post" => post(&parameters).await,
            _ => mirror(&lake, &tenant).await,
        };
        println!("{what}: {rows} rows in {:?}, peak {} kB", start.elapsed(), peak_mb());
    }
}

fn outputs() -> (Arc<Schema>, BatchStream) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("customer_id", DataType::Int64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("other", DataType::Float64, true),
    ]));
    let of = Arc::clone(&schema);
    let batches = (0..100_i64).map(move |part| {
        let keys = (part * 10_000..(part + 1) * 10_000).collect::<Vec<_>>();
        let scores = keys.iter().map(|key| (key * 7919 % 1_000_003) as f64).collect::<Vec<_>>();
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int64Array::from(keys)),
            Arc::new(Float64Array::from(scores.clone())),
            Arc::new(Float64Array::from(scores)),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&of), columns).expect("a batch"))
    });
    (schema, Box::pin(futures_util::stream::iter(batches)))
}

async fn post(parameters: &Parameters) -> usize {
    let (schema, rows) = outputs();
    let sql = "SELECT customer_id, score + other AS total FROM model_outputs";
    let stream = PostProcess::run(sql, rows, schema, parameters, &options(1)).await;
    drain(vec![stream.expect("a result")]).await
}

async fn mirror(lake: &Lake, tenant: &TenantName) -> usize {
    let (schema, rows) = outputs();
    let service: ServiceName = "clv".parse().expect("a name");
    let load: LoadId = format!("load-{:?}", Instant::now())
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        .parse()
        .expect("an id");
    let loaded = lake.load(tenant, &service, &load, GenerationId(1), schema, rows).await;
    let digest = lake.digest(tenant, &service, GenerationId(1)).await.expect("a digest");
    assert_eq!(loaded.expect("a load").rows, digest.rows);
    usize::try_from(digest.rows).expect("few rows")
}
