//! Queries that look for what is not the tenant's own.

use std::{sync::Arc, time::Instant};

use arrow::datatypes::{DataType, Field, Schema};
use cameo_domain::TenantName;
use cameo_tests::{Bundle, World};
use cameo_warehouse::{Parameters, PostProcess, Query, ReadOptions};
use futures_util::TryStreamExt;

use super::Corpus;

const ROWS: u64 = 100;
/// What a query may use here.
const READ: ReadOptions =
    ReadOptions { memory_limit_bytes: 128 << 20, threads: 1, partitions: 1, batch_rows: 1_000 };

/// In place of `features.sql`. `{folder}` is where the Lake is.
const QUERIES: &[&str] = &[
    // Another tenant's tables, by every name they might have.
    "SELECT * FROM shop.secrets",
    "SELECT * FROM marketing.shop.secrets",
    "SELECT * FROM `marketing.shop.secrets`",
    "SELECT * FROM `../marketing/shop.secrets`",
    "SELECT * FROM `..`.`marketing/shop/secrets`",
    "SELECT * FROM tenant_marketing.gender",
    "SELECT * FROM marketing__shop.secrets",
    "SELECT * FROM predictions.gender",
    "SELECT (SELECT MAX(code) FROM marketing.shop.secrets) AS x FROM shop.customers",
    "SELECT x.code FROM shop.customers AS c JOIN `marketing.shop.secrets` AS x ON TRUE",
    "WITH s AS (SELECT * FROM marketing.shop.secrets) SELECT * FROM s",
    "SELECT 1 AS x UNION ALL SELECT code FROM marketing.shop.secrets",
    "SELECT user_id FROM shop.customers WHERE EXISTS (SELECT 1 FROM marketing.shop.secrets)",
    // Files.
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/*')",
    "SELECT * FROM read_json('/proc/self/environ')",
    "SELECT * FROM read_parquet('{folder}/marketing/shop/secrets.parquet')",
    "SELECT * FROM parquet_scan('{folder}/marketing/shop/secrets.parquet')",
    "SELECT * FROM parquet_metadata('{folder}/marketing/shop/secrets.parquet')",
    "SELECT * FROM '{folder}/marketing/shop/secrets.parquet'",
    "SELECT * FROM `{folder}/marketing/shop/secrets.parquet`",
    "SELECT * FROM \"{folder}/marketing/shop/secrets.parquet\"",
    "SELECT * FROM glob('/**')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    // The network, extensions and other databases.
    "SELECT * FROM read_parquet('https://example.com/x.parquet')",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM postgres_scan('host=localhost', 'cameo', 'api_keys')",
    "SELECT * FROM sqlite_scan('{folder}/x.db', 't')",
    "SELECT * FROM EXTERNAL_QUERY('c', 'SELECT * FROM cameo.api_keys')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "ATTACH '{folder}/made.db'",
    "ATTACH 'host=localhost' AS pg (TYPE postgres)",
    "USE marketing",
    // What the engine knows about itself.
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM shop.INFORMATION_SCHEMA.TABLES",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM pragma_database_list()",
    "SELECT getenv('CAMEO_DATABASE_URL') AS x",
    "SELECT current_setting('temp_directory') AS x",
    "SELECT version() AS x",
    "SELECT query('SELECT 1') AS x",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('secrets')",
    // More than one question, and what is no question.
    "SELECT 1 AS x; DROP TABLE shop.customers",
    "SELECT 1 AS x; SELECT * FROM read_csv('/etc/passwd')",
    "SELECT 1 AS x -- \n; COPY (SELECT 1) TO '{folder}/made.csv'",
    "SELECT 1 AS x /* ; */ ; PRAGMA database_list",
    "COPY (SELECT 1) TO '{folder}/made.csv'",
    "COPY shop.customers FROM '/etc/passwd'",
    "EXPORT DATABASE '{folder}/made'",
    "IMPORT DATABASE '{folder}/made'",
    "PRAGMA database_list",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "CALL pragma_version()",
    "DESCRIBE shop.customers",
    "SHOW TABLES",
    "EXPLAIN SELECT 1",
    "VACUUM",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "CREATE TABLE t AS SELECT 1 AS x",
    "CREATE MACRO m(x) AS x",
    "CREATE FUNCTION f() AS (1)",
    "CREATE OR REPLACE VIEW shop.customers AS SELECT 1 AS x",
    "DROP SCHEMA shop CASCADE",
    "DELETE FROM shop.customers",
    "UPDATE shop.customers SET level = 1",
    "INSERT INTO shop.customers VALUES (1, 1, 1)",
    "MERGE INTO shop.customers USING shop.customers ON FALSE WHEN NOT MATCHED THEN INSERT ROW",
    "TRUNCATE TABLE shop.customers",
    "BEGIN; COMMIT",
    "DECLARE x INT64; SELECT x",
    // Work without end.
    "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x FROM r) SELECT * FROM r",
    "SELECT * FROM UNNEST(GENERATE_ARRAY(1, 1000000000000)) AS x",
    "SELECT REPEAT('x', 1000000000000) AS x",
    "SELECT LPAD('x', 1000000000000, 'y') AS x",
    "SELECT GENERATE_ARRAY(1, 1000000000000) AS x",
    "SELECT ARRAY_LENGTH(ARRAY_AGG(CONCAT(CAST(a.user_id AS STRING), REPEAT('x', 1000000)))) AS x \
     FROM shop.customers AS a CROSS JOIN shop.customers AS b",
];

/// In place of `predictions.sql`, which sees `model_outputs` alone.
const AFTER_THE_MODEL: &[&str] = &[
    "SELECT * FROM shop.customers",
    "SELECT * FROM marketing.shop.secrets",
    "SELECT m.*, s.code FROM model_outputs AS m CROSS JOIN marketing.shop.secrets AS s",
    "SELECT * FROM model_outputs WHERE score IN (SELECT code FROM shop.secrets)",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT user_id, getenv('HOME') AS score FROM model_outputs",
    "SELECT * FROM model_outputs; SELECT 1 AS x",
    "COPY model_outputs TO '/tmp/made.csv'",
    "ATTACH '/tmp/made.db'",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_query_sees_or_changes_what_is_not_its_tenants() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    world.customers("crm", ROWS, 2.0).await;
    world.table("marketing", "shop", "secrets", "SELECT 4711 AS code").await;
    let sound = world.apply(&Bundle::new("marketing", "gender")).await;
    sound.publish("2024-03-01T18:00:00Z").await;

    let crm: TenantName = "crm".parse().expect("a name");
    let parameters = Parameters::utc(world.now());
    let folder = world.place.folder.join("lake").display().to_string();
    let mut corpus = Corpus::new();
    for sql in QUERIES {
        let query = Query { sql: sql.replace("{folder}", &folder), parameters };
        let started = Instant::now();
        let outcome = async {
            world.warehouse.describe(&crm, &query).await?;
            for partition in world.warehouse.read(&crm, &query, &READ).await?.partitions {
                partition.try_collect::<Vec<_>>().await?;
            }
            Ok::<(), cameo_warehouse::WarehouseError>(())
        };
        let outcome = outcome.await.map_err(|error| told(&error));
        corpus.note(sql, outcome, started.elapsed());
    }
    let outputs = Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Int64, false),
        Field::new("score", DataType::Float64, false),
    ]));
    for sql in AFTER_THE_MODEL {
        let started = Instant::now();
        let outcome = PostProcess::describe(sql, &outputs, &parameters).map(|_| ());
        let outcome = outcome.map_err(|error| told(&error));
        corpus.note(&format!("after the model: {sql}"), outcome, started.elapsed());
    }
    let text = corpus.end("hostile queries");
    assert!(!text.contains("4711"), "a secret is told");
    assert!(!text.contains("root:"), "a file is told");
    insta::assert_snapshot!(text.replace(&folder, "{folder}"));

    let made = std::fs::read_dir(&folder).expect("the Lake").count();
    assert_eq!(made, 2, "nothing was made beside the two tenants");
    sound.publish("2024-03-02T18:00:00Z").await;
    assert!(sound.served().await.expect("a generation").is_whole(ROWS, 1.0));
    world.assert_sound().await;
}

/// An error with its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
