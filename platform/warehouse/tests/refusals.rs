//! What is not known to mean the same is refused, at its place.

use std::path::Path;

use cameo_warehouse::{
    Parameters,
    googlesql::{Context, SqlError, TOKENS_MAX, docs, to_duckdb},
};

fn refused(sql: &str) -> SqlError {
    let parameters = Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"));
    match to_duckdb(sql, &Context::lake(parameters)) {
        Err(error) => error,
        Ok(rewritten) => panic!("{sql}\nwas accepted as\n{}", rewritten.sql),
    }
}

#[test]
fn a_refusal_names_the_function_its_line_and_the_nearest_supported_one() {
    let error = refused("SELECT\n  customer_id,\n  DATEDIFF(a, b) AS d\nFROM crm.customers");
    assert_eq!((error.line, error.column), (Some(3), Some(3)));
    assert_eq!(error.name.as_deref(), Some("DATEDIFF"));
    assert_eq!(error.help.as_deref(), Some("did you mean DATE_DIFF?"));
}

#[test]
fn an_unknown_parameter_is_refused_with_the_nearest() {
    let error = refused("SELECT @run_dat AS d FROM crm.customers");
    assert!(error.help.expect("help").contains("@run_da"), "the nearest parameter is named");
}

#[test]
fn everything_but_one_query_is_refused() {
    for sql in [
        "",
        "DROP TABLE crm.customers",
        "CREATE TABLE a.b AS SELECT 1 AS x",
        "INSERT INTO a.b VALUES (1)",
        "SELECT 1 AS x; SELECT 2 AS y",
        "EXPORT DATA OPTIONS(uri='gs://x') AS SELECT 1",
        "BEGIN SELECT 1; END",
        "CALL a.b()",
        "SET x = 1",
        "VALUES (1)",
        "FROM crm.customers",
        "FROM crm.customers |> SELECT x",
    ] {
        refused(sql);
    }
}

#[test]
fn tables_that_are_no_tables_of_the_lake_are_refused() {
    for table in [
        "'/etc/passwd'",
        "'x.parquet'",
        "`x.parquet`.y.z.w",
        "read_csv('/etc/passwd')",
        "EXTERNAL_QUERY('c', 'SELECT 1')",
        "crm.INFORMATION_SCHEMA.TABLES",
        "`crm.INFORMATION_SCHEMA.TABLES`",
        "`crm.events_*`",
        "customers",
        "ML.PREDICT(MODEL m, TABLE t)",
        "crm.customers TABLESAMPLE SYSTEM (10 PERCENT)",
        "crm.customers FOR SYSTEM_TIME AS OF @run_time",
        "UNNEST(GENERATE_ARRAY(1, 3)) AS a(b)",
        "crm.customers NATURAL JOIN crm.orders",
        "crm.baskets AS b, b.items",
    ] {
        refused(&format!("SELECT x FROM {table}"));
    }
}

#[test]
fn expressions_that_the_engines_read_differently_are_refused() {
    for expression in [
        "getenv('HOME')",
        "CURRENT_TIMESTAMP()",
        "CURRENT_DATE",
        "RAND()",
        "FORMAT('%d', x)",
        "CAST(x AS NUMERIC)",
        "CAST(x AS DATETIME)",
        "CAST(x AS STRING FORMAT 'YYYY')",
        "x::INT64",
        "x % 2",
        "x & 1",
        "x << 1",
        "x ILIKE 'a'",
        "DATE_DIFF(a, b, HOUR)",
        "DATE_DIFF(a, b, DECADE)",
        "TIMESTAMP_DIFF(a, b, MONTH)",
        "TIMESTAMP_ADD(a, INTERVAL 1 MONTH)",
        "DATE_ADD(a, INTERVAL 1 HOUR)",
        "EXTRACT(EPOCH FROM a)",
        "EXTRACT(WEEK(MONDAY) FROM a)",
        "FORMAT_DATE('%Q', a)",
        "FORMAT_TIMESTAMP('%E4Y', a)",
        "PARSE_DATE('%b', a)",
        "FORMAT_DATE(f, a)",
        "TIMESTAMP '2024-01-01 00:00:00 Asia/Tokyo'",
        "DATE '2024-02-30'",
        "DATETIME '2024-01-01'",
        "REGEXP_EXTRACT(x, '(a)(b)')",
        "REGEXP_EXTRACT(x, y)",
        "SPLIT(x, '')",
        "items[0]",
        "x IN UNNEST(items)",
        "ARRAY(SELECT 1)",
        "SELECT AS STRUCT 1",
        "APPROX_QUANTILES(x, 10)[OFFSET(11)]",
        "PERCENTILE_CONT(x, 0.5)",
        "ROW_NUMBER()",
        "SAFE.SUBSTR(x, 1)",
        "NET.HOST(x)",
        "SUM(x) FILTER (WHERE y)",
        "SHA256(x)",
        "JSON_VALUE(x, p)",
        "JSON_VALUE(x, '$.a[*]')",
        "b'bytes'",
        "ABS(x, y)",
        "LAG(x IGNORE NULLS) OVER (ORDER BY y)",
        "SUM(x) OVER (ORDER BY y GROUPS 1 PRECEDING)",
        "list_transform(x, y -> y)",
        "INTERVAL 1 DAY",
    ] {
        refused(&format!("SELECT {expression} AS y FROM crm.customers"));
    }
}

#[test]
fn clauses_of_other_dialects_are_refused() {
    for sql in [
        "SELECT TOP 3 x FROM a.b",
        "SELECT DISTINCT ON (x) x FROM a.b",
        "SELECT x FROM a.b LIMIT @n",
        "SELECT x FROM a.b GROUP BY ROLLUP(x)",
        "SELECT x FROM a.b UNION SELECT x FROM a.b",
        "WITH RECURSIVE r AS (SELECT 1 AS x) SELECT x FROM r",
        "SELECT * EXCLUDE (x) FROM a.b",
        "SELECT * FROM a.b, UNNEST(b.items) AS i",
        "SELECT x AS a, y AS A FROM a.b",
    ] {
        refused(sql);
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = format!("SELECT {}1{} AS x", "(".repeat(400), ")".repeat(400));
    refused(&deep);
    let long = format!("SELECT {} AS x", vec!["x"; 6_000].join(" + "));
    refused(&long);
    let parameters = Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"));
    let wide = format!("SELECT x FROM a.b WHERE {}", vec!["x = 1"; 1_500].join(" OR "));
    to_duckdb(&wide, &Context::lake(parameters)).expect("a long chain is no deep nesting");
}

/// Each step of a chain is one level deeper in the tree that a query is read into.
#[test]
fn a_chain_as_long_as_a_query_may_be_is_read_or_refused() {
    let chains = [
        ("SELECT 1", " + 1", " AS x"),
        ("SELECT 1", " IS NULL", " AS x"),
        ("SELECT 1", " BETWEEN 1 AND 1", " AS x"),
        ("SELECT x", "[0]", " AS x FROM d.t"),
        ("SELECT x", ".x", " AS x FROM d.t"),
        ("SELECT x", "::INT64", " AS x FROM d.t"),
        ("SELECT 1 AS x", " UNION ALL SELECT 1", ""),
        ("SELECT 1 AS x FROM d.t", " JOIN d.t USING (x)", ""),
        ("SELECT 1 AS x FROM d.t", " PIVOT(SUM(x) FOR x IN (1))", ""),
        ("SELECT 1 AS x FROM d.t", ", UNNEST([x])", ""),
    ];
    let read = move || {
        let parameters = Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"));
        for (start, step, end) in chains {
            for steps in [TOKENS_MAX / 8, TOKENS_MAX / 4, TOKENS_MAX / 3, TOKENS_MAX / 2 - 8] {
                let query = format!("{start}{}{end}", step.repeat(steps));
                let told = match to_duckdb(&query, &Context::lake(parameters)) {
                    Ok(read) => read.sql,
                    Err(error) => error.to_string(),
                };
                assert!(!told.is_empty(), "{steps} times `{step}`");
            }
        }
    };
    // As much stack as a thread of the server has.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(read).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn output_columns_and_tables_are_told_with_their_places() {
    let parameters = Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"));
    let sql = "SELECT c.id,\n  COUNT(*),\n  MAX(x) AS top\nFROM `p.crm.customers` AS c JOIN p.crm.orders USING (id) GROUP BY 1";
    let rewritten = to_duckdb(sql, &Context::lake(parameters)).expect("a query");
    let columns = rewritten.columns.expect("known columns");
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "f0_", "top"]);
    assert_eq!(columns[2].line, 3);
    let tables: Vec<_> = rewritten.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(tables, ["customers", "orders"]);
}

#[test]
fn the_page_lists_what_the_code_allows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/googlesql.md");
    if std::env::var_os("CAMEO_UPDATE_DOCS").is_some() {
        std::fs::write(&path, docs::page()).expect("a writable page");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, docs::page(), "stale: run this test with CAMEO_UPDATE_DOCS=1");
}
