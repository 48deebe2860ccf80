//! The lake: meanings, tenants, limits, the mirror and post-processing.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType},
    util::display::{ArrayFormatter, FormatOptions},
};
use cameo_batch::RowDigest;
use cameo_domain::{GenerationId, Key, ServiceName, TenantName};
use cameo_warehouse::{
    BatchStream, Lake, LakeLimits, LoadId, Parameters, PostProcess, Query, ReadOptions, Warehouse,
    WarehouseError,
};
use futures_util::StreamExt;

const OPTIONS: ReadOptions =
    ReadOptions { memory_limit_bytes: 512 << 20, threads: 2, partitions: 1, batch_rows: 1_000 };

struct World {
    home: tempfile::TempDir,
    lake: Lake,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let limits = LakeLimits::with_scratch(home.path().join("scratch"));
        let lake = Lake::open(&home.path().join("lake"), limits).expect("a lake");
        let world = Self { home, lake };
        world.table("acme/crm/numbers", "SELECT range::INTEGER AS n FROM range(100000)");
        world.table("rival/crm/secrets", "SELECT 42 AS secret");
        world
    }

    fn table(&self, name: &str, sql: &str) {
        let file = self.home.path().join(format!("lake/{name}.parquet"));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let connection = duckdb::Connection::open_in_memory().expect("DuckDB");
        connection
            .execute_batch(&format!("COPY ({sql}) TO '{}' (FORMAT parquet)", file.display()))
            .expect("a table");
    }

    async fn read(
        &self,
        sql: &str,
        options: ReadOptions,
    ) -> Result<Vec<RecordBatch>, WarehouseError> {
        let read = self.lake.read(&acme(), &query(sql), &options).await?;
        let mut batches = Vec::new();
        for mut partition in read.partitions {
            while let Some(batch) = partition.next().await {
                batches.push(batch?);
            }
        }
        Ok(batches)
    }

    /// The one value of a query's one row.
    async fn value(&self, expression: &str) -> String {
        let sql = format!("SELECT {expression} AS x");
        match self.read(&sql, OPTIONS).await {
            Ok(batches) => {
                let options = FormatOptions::default().with_null("NULL");
                let mut column = Arc::clone(batches[0].column(0));
                if let DataType::Timestamp(..) = column.data_type() {
                    // Without Arrow's zone database only an offset can be printed.
                    let micros = column.as_primitive::<TimestampMicrosecondType>().clone();
                    column = Arc::new(micros.with_timezone("+00:00"));
                }
                ArrayFormatter::try_new(column.as_ref(), &options)
                    .expect("text")
                    .value(0)
                    .to_string()
            }
            Err(error) => format!("error: {error}"),
        }
    }
}

fn acme() -> TenantName {
    "acme".parse().expect("a name")
}

fn parameters() -> Parameters {
    Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"))
}

fn query(sql: &str) -> Query {
    Query { sql: sql.to_owned(), parameters: parameters() }
}

#[tokio::test]
async fn every_trap_between_the_dialects_means_what_bigquery_means() {
    let world = World::new();
    for (expression, expected) in [
        (
            "TIMESTAMP_DIFF(TIMESTAMP '2024-01-02 01:00:00', TIMESTAMP '2024-01-01 23:00:00', DAY)",
            "0",
        ),
        (
            "TIMESTAMP_DIFF(TIMESTAMP '2024-01-01 00:00:00', TIMESTAMP '2024-01-01 01:30:00', HOUR)",
            "-1",
        ),
        ("DATE_DIFF(DATE '2024-01-01', DATE '2023-12-31', YEAR)", "1"),
        ("DATE_DIFF(DATE '2024-01-07', DATE '2024-01-06', WEEK)", "1"),
        ("DATE_DIFF(DATE '2024-01-08', DATE '2024-01-07', WEEK)", "0"),
        ("DATE_DIFF(DATE '2024-01-08', DATE '2024-01-07', ISOWEEK)", "1"),
        ("DATE_TRUNC(DATE '2024-01-10', WEEK)", "2024-01-07"),
        ("DATE_TRUNC(DATE '2024-01-10', WEEK(MONDAY))", "2024-01-08"),
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-01-07')", "1"),
        ("EXTRACT(DAYOFYEAR FROM DATE '2024-12-31')", "366"),
        ("EXTRACT(WEEK FROM DATE '2024-01-06')", "0"),
        ("EXTRACT(WEEK FROM DATE '2024-01-07')", "1"),
        ("EXTRACT(HOUR FROM TIMESTAMP '2024-01-01 20:00:00' AT TIME ZONE 'Asia/Tokyo')", "5"),
        ("DATE(TIMESTAMP '2024-01-01 20:00:00+00', 'Asia/Tokyo')", "2024-01-02"),
        ("TIMESTAMP '2024-01-01 00:00:00+09'", "2023-12-31T15:00:00Z"),
        ("CAST('2024-01-01 00:00:00+09' AS TIMESTAMP)", "2023-12-31T15:00:00Z"),
        ("DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", "2024-02-29"),
        ("TIMESTAMP_SUB(@run_time, INTERVAL 30 DAY)", "2024-11-01T00:00:00Z"),
        ("UNIX_SECONDS(TIMESTAMP '1969-12-31 23:59:59.5')", "-1"),
        (
            "FORMAT_TIMESTAMP('%F %T', TIMESTAMP '2024-01-01 20:00:00', 'Asia/Tokyo')",
            "2024-01-02 05:00:00",
        ),
        ("ARRAY_TO_STRING(ARRAY_REVERSE(SPLIT('a,b')), '-')", "b-a"),
        ("7 / 2", "3.5"),
        ("1 / 0", "error: Invalid Input Error: division by zero; use SAFE_DIVIDE for NULL instead"),
        ("SAFE_DIVIDE(1, 0)", "NULL"),
        ("0.1 + 0.2 = 0.3", "false"),
        ("2147483647 + 1", "2147483648"),
        ("30000 * 100000", "3000000000"),
        ("CAST(2.5 AS INT64)", "3"),
        ("CAST(-2.5 AS INT64)", "-3"),
        ("SAFE_CAST('2.5' AS INT64)", "NULL"),
        ("SAFE_CAST('12' AS INT64)", "12"),
        ("ROUND(-2.5)", "-3.0"),
        ("MOD(-7, 3)", "-1"),
        ("DIV(-7, 2)", "-3"),
        ("LOG(8, 2)", "3.0"),
        ("LOG(1)", "0.0"),
        ("CONCAT('a', NULL)", "NULL"),
        ("GREATEST(1, NULL)", "NULL"),
        ("SUBSTR('abc', 0, 2)", "ab"),
        ("SUBSTR('abc', -5, 2)", "ab"),
        ("SUBSTR('abc', -2)", "bc"),
        ("TRIM('\\t a \\n')", "a"),
        ("LENGTH('é')", "1"),
        ("'a%b' LIKE 'a\\\\%b'", "true"),
        ("'axb' LIKE 'a\\\\%b'", "false"),
        ("REGEXP_EXTRACT('abc', r'x(.)')", "NULL"),
        ("REGEXP_EXTRACT('a@b.c', r'@(.+)$')", "b.c"),
        ("REGEXP_REPLACE('aab', 'a', 'x')", "xxb"),
        ("JSON_VALUE('{\"a\":{\"b\":1}}', '$.a')", "NULL"),
        ("JSON_VALUE('{\"a\":{\"b\":\"x\"}}', '$.a.b')", "x"),
        ("JSON_VALUE('nonsense', '$.a')", "NULL"),
        ("SPLIT('a,b')[OFFSET(1)]", "b"),
        ("SPLIT('a,b')[SAFE_OFFSET(5)]", "NULL"),
        ("SPLIT('a,b')[ORDINAL(1)]", "a"),
        (
            "ARRAY_LENGTH(GENERATE_DATE_ARRAY(DATE '2024-01-31', DATE '2024-03-31', INTERVAL 1 MONTH))",
            "3",
        ),
        (
            "(SELECT ARRAY_AGG(x ORDER BY x)[OFFSET(0)] IS NULL FROM UNNEST([3, NULL, 1]) AS x)",
            "true",
        ),
        ("(SELECT STRING_AGG(x, '' ORDER BY x DESC) FROM UNNEST(['a', 'b']) AS x)", "ba"),
        ("(SELECT SUM(off) FROM UNNEST(['a', 'b', 'c']) AS x WITH OFFSET AS off)", "3"),
        ("(SELECT MAX_BY(x, y) FROM (SELECT 1 AS x, 2 AS y UNION ALL SELECT NULL, 3))", "NULL"),
    ] {
        assert_eq!(world.value(expression).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn nulls_sort_first_ascending_and_last_descending() {
    let world = World::new();
    let from = "FROM (SELECT 1 AS x UNION ALL SELECT NULL UNION ALL SELECT 2) ORDER BY x";
    for (sql, nulls) in [
        (format!("SELECT x {from}"), [true, false, false]),
        (format!("SELECT x {from} DESC"), [false, false, true]),
    ] {
        let batches = world.read(&sql, OPTIONS).await.expect("rows");
        let found: Vec<_> = (0..3).map(|row| batches[0].column(0).is_null(row)).collect();
        assert_eq!(found, nulls);
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_tables_and_no_others() {
    let world = World::new();
    let error = world.read("SELECT secret FROM crm.secrets", OPTIONS).await.expect_err("refused");
    assert!(matches!(error, WarehouseError::Sql(_)), "{error}");
    let error = world.read("SELECT n FROM crm.number", OPTIONS).await.expect_err("refused");
    assert!(error.to_string().contains("crm.numbers"), "{error}");
}

#[tokio::test]
async fn a_description_costs_no_run_and_follows_the_data() {
    let world = World::new();
    let wanted = query("SELECT SUM(n) AS total, @run_time AS at FROM crm.numbers");
    let first = world.lake.describe(&acme(), &wanted).await.expect("a description");
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(*first.schema.field(0).data_type(), DataType::Int64);
    assert_eq!(*first.schema.field(1).data_type(), timestamp);
    assert_eq!(first.rows_estimated, Some(100_000));
    assert_eq!(first.tables[0].name, "crm.numbers");
    assert!(first.watermark.is_some());
    let again = world.lake.describe(&acme(), &wanted).await.expect("a description");
    assert_eq!(first.data_fingerprint, again.data_fingerprint);
    world.table("acme/crm/numbers", "SELECT range AS n FROM range(10)");
    let changed = world.lake.describe(&acme(), &wanted).await.expect("a description");
    assert_ne!(first.data_fingerprint, changed.data_fingerprint);
    let error = world.lake.describe(&acme(), &query("SELECT m FROM crm.numbers")).await;
    assert!(error.expect_err("an unknown column").to_string().contains('m'));
}

#[tokio::test]
async fn rows_are_dealt_once_in_batches_of_the_asked_size() {
    let world = World::new();
    let options = ReadOptions { partitions: 3, ..OPTIONS };
    let batches = world.read("SELECT n FROM crm.numbers", options).await.expect("rows");
    let sum: i64 = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values())
        .sum();
    assert_eq!(sum, 100_000 * 99_999 / 2);
    assert_eq!(batches.len(), 100);
    assert!(batches.iter().all(|batch| batch.num_rows() == 1_000));
}

#[tokio::test]
async fn dropping_the_streams_ends_the_query_and_removes_its_scratch_folder() {
    let world = World::new();
    let sql = "SELECT a.n AS x FROM crm.numbers AS a CROSS JOIN crm.numbers AS b";
    let read = world.lake.read(&acme(), &query(sql), &OPTIONS).await.expect("a stream");
    let scratch = world.home.path().join("scratch");
    assert_eq!(std::fs::read_dir(&scratch).expect("a folder").count(), 1);
    drop(read);
    for _ in 0..200 {
        if std::fs::read_dir(&scratch).expect("a folder").count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the query still runs");
}

#[tokio::test]
async fn a_query_beyond_its_memory_fails_with_a_cure() {
    let world = World::new();
    let sql = "SELECT ARRAY_LENGTH(ARRAY_AGG(CONCAT('some long text ', CAST(a.n * 100000 + b.n AS STRING)))) AS x \
               FROM crm.numbers AS a CROSS JOIN crm.numbers AS b WHERE b.n < 200";
    let options = ReadOptions { memory_limit_bytes: 64 << 20, ..OPTIONS };
    match world.read(sql, options).await {
        Err(WarehouseError::Limit { cure, .. }) => assert!(cure.contains("MEMORY_LIMIT_MB")),
        Err(other) => panic!("expected a limit, found {other:?}"),
        Ok(_) => panic!("the query fitted"),
    }
}

fn predictions() -> (Arc<Schema>, RecordBatch) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Int64, false),
        Field::new("score", DataType::Float64, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        Arc::new(Float64Array::from(vec![Some(0.5), None, Some(0.25), Some(1.0)])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch");
    (schema, batch)
}

fn stream(batch: &RecordBatch) -> BatchStream {
    Box::pin(futures_util::stream::iter(vec![Ok(batch.clone())]))
}

#[tokio::test]
async fn a_load_happens_once_and_what_is_stored_has_the_digest_of_what_was_sent() {
    let world = World::new();
    let (schema, batch) = predictions();
    let service: ServiceName = "clv".parse().expect("a name");
    let id = |text: &str| text.parse::<LoadId>().expect("an id");
    let load = |load: LoadId, generation: i64, batch: RecordBatch| {
        let (lake, service, schema) = (&world.lake, &service, Arc::clone(&schema));
        async move {
            lake.load(&acme(), service, &load, GenerationId(generation), schema, stream(&batch))
                .await
                .expect("a load")
        }
    };
    let first = load(id("one"), 1, batch.clone()).await;
    assert_eq!((first.rows, first.already_loaded), (4, false));
    let again = load(id("one"), 1, batch.slice(0, 1)).await;
    assert_eq!((again.rows, again.already_loaded), (4, true));
    let mut sent = RowDigest::default();
    sent.add(&batch);
    let stored = world.lake.digest(&acme(), &service, GenerationId(1)).await.expect("a digest");
    assert_eq!(stored, sent);
    load(id("two"), 1, batch.slice(0, 2)).await;
    load(id("three"), 2, batch.slice(2, 2)).await;
    let sql = "SELECT generation, COUNT(*) AS n, MAX(user_id) AS top FROM predictions.clv GROUP BY generation ORDER BY generation";
    let rows = world.read(sql, OPTIONS).await.expect("rows");
    let column = |index: usize| {
        rows[0].column(index).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
    };
    assert_eq!((column(0), column(1), column(2)), (vec![1, 2], vec![2, 2], vec![2, 4]));
    let folder = world.home.path().join("lake/acme/predictions/clv");
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 2, "no leftovers");
}

#[tokio::test]
async fn a_customer_is_erased_from_a_copy_and_the_load_is_still_the_same() {
    let world = World::new();
    let (schema, batch) = predictions();
    let service: ServiceName = "clv".parse().expect("a name");
    let load: LoadId = "one".parse().expect("an id");
    let (tenant, generation) = (acme(), GenerationId(1));
    world
        .lake
        .load(&tenant, &service, &load, generation, Arc::clone(&schema), stream(&batch))
        .await
        .expect("a load");
    let folder = world.home.path().join("lake/acme/predictions/clv");
    std::fs::write(folder.join(".loading-dead.tmp"), "rows of a killed load").expect("a file");
    let column = "user_id".parse().expect("a name");
    let erase = async |generation, keys: &[i64]| {
        let keys: Vec<Key> = keys.iter().copied().map(Key::Int).collect();
        world.lake.erase(&tenant, &service, generation, &column, &keys).await.expect("an answer")
    };
    let erased = erase(generation, &[99, 2, 3]).await;
    assert_eq!(erased.rows, [0, 1, 1]);
    let mut left = RowDigest::default();
    left.add(&batch.slice(0, 1));
    left.add(&batch.slice(3, 1));
    assert_eq!(erased.copy, Some(left));
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1, "no leftovers");
    let found = world.lake.digest(&tenant, &service, generation).await.expect("a digest");
    assert_eq!(found, left);

    let again = erase(generation, &[2]).await;
    assert_eq!((again.rows, again.copy), (vec![0], None), "nothing was written");
    let missing = erase(GenerationId(7), &[2]).await;
    assert_eq!((missing.rows, missing.copy), (vec![0], None));
    let repeated = world
        .lake
        .load(&tenant, &service, &load, generation, schema, stream(&batch))
        .await
        .expect("a load");
    assert_eq!((repeated.rows, repeated.already_loaded), (2, true), "and brings nobody back");
}

#[tokio::test]
async fn post_processing_reads_the_scored_rows_and_nothing_else() {
    let (schema, batch) = predictions();
    let sql = "SELECT user_id, PERCENT_RANK() OVER (ORDER BY score) AS share, \
               CASE WHEN score >= 0.5 THEN 'High' ELSE 'Low' END AS tier FROM model_outputs";
    let described = PostProcess::describe(sql, &schema, &parameters()).expect("a description");
    assert_eq!(*described.field(2).data_type(), DataType::Utf8);
    let mut rows = PostProcess::run(sql, stream(&batch), schema.clone(), &parameters(), &OPTIONS)
        .await
        .expect("rows");
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch.expect("a batch").num_rows();
    }
    assert_eq!(count, 4);
    let other = "SELECT n FROM crm.numbers";
    assert!(PostProcess::describe(other, &schema, &parameters()).is_err());
}
