//! The reference queries: through the lake, against SQL written for the engine by hand.

use std::path::Path;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use cameo_domain::TenantName;
use cameo_warehouse::{Lake, LakeLimits, Parameters, Query, ReadOptions, Warehouse};
use futures_util::StreamExt;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/googlesql")
}

/// Cells as text; numbers rounded, so that the order of a float sum does not matter.
fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "∅".to_owned();
    }
    let number = match column.data_type() {
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row) as f64),
        _ => None,
    };
    match number {
        Some(number) => format!("{:.6}", number + 0.0),
        None => ArrayFormatter::try_new(column, &FormatOptions::default())
            .expect("a printable column")
            .value(row)
            .to_string(),
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut rows: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| {
                batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>()
            })
        })
        .collect();
    rows.sort();
    rows
}

/// What the hand-written SQL gives, with integers and timestamps as the lake gives them.
fn expected(connection: &duckdb::Connection, sql: &str) -> Vec<Vec<String>> {
    let mut statement = connection.prepare(&format!("DESCRIBE {sql}")).expect("a reference query");
    let columns: Vec<String> = statement
        .query_map([], |row| row.get::<_, String>(1))
        .expect("columns")
        .collect::<Result<_, _>>()
        .expect("types");
    let names = (0..columns.len()).map(|index| format!("c{index}")).collect::<Vec<_>>();
    let casts = columns.iter().zip(&names).map(|(found, name)| match found.as_str() {
        "HUGEINT" | "INTEGER" | "BIGINT" => format!("CAST({name} AS BIGINT) AS {name}"),
        found if found.starts_with("DECIMAL") => format!("CAST({name} AS DOUBLE) AS {name}"),
        _ => name.clone(),
    });
    let casts = casts.collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {casts} FROM ({sql}) AS r({})", names.join(", "));
    let mut statement = connection.prepare(&sql).expect("a reference query");
    rows(&statement.query_arrow([]).expect("rows").collect::<Vec<_>>())
}

#[tokio::test]
async fn every_reference_query_gives_what_the_hand_written_sql_gives() {
    let home = tempfile::tempdir().expect("a folder");
    let connection = duckdb::Connection::open_in_memory().expect("DuckDB");
    let data = std::fs::read_to_string(folder().join("data.sql")).expect("the data");
    connection.execute_batch(&data).expect("the data");
    let crm = home.path().join("lake/acme/crm");
    std::fs::create_dir_all(&crm).expect("a folder");
    for table in ["transactions", "events", "customers", "baskets"] {
        let file = crm.join(format!("{table}.parquet"));
        connection
            .execute_batch(&format!("COPY {table} TO '{}' (FORMAT parquet)", file.display()))
            .expect("a table");
    }
    let limits = LakeLimits::with_scratch(home.path().join("scratch"));
    let lake = Lake::open(&home.path().join("lake"), limits).expect("a lake");
    let tenant: TenantName = "acme".parse().expect("a name");
    let parameters = Parameters::utc("2024-12-01T00:00:00Z".parse().expect("an instant"));
    let options =
        ReadOptions { memory_limit_bytes: 1 << 30, threads: 2, partitions: 1, batch_rows: 4_096 };
    let mut wrong = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(folder())
        .expect("the queries")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('q') && !name.contains("reference"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 18);
    for name in names {
        let sql = std::fs::read_to_string(folder().join(&name)).expect("a query");
        let query = Query { sql, parameters };
        let mut found = Vec::new();
        match lake.read(&tenant, &query, &options).await {
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
            Ok(mut read) => {
                while let Some(batch) = read.partitions[0].next().await {
                    found.push(batch.expect("a batch"));
                }
            }
        }
        let reference = name.replace(".sql", ".reference.sql");
        let reference = std::fs::read_to_string(folder().join(reference)).expect("a reference");
        let (found, expected) = (rows(&found), expected(&connection, &reference));
        if found.is_empty() || found != expected {
            let at = found.iter().zip(&expected).position(|(one, other)| one != other).unwrap_or(0);
            wrong.push(format!(
                "{name}: {} rows for {}; found {:?}, expected {:?}",
                found.len(),
                expected.len(),
                found.get(at),
                expected.get(at)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
