//! Each example of the library gives what plain Python computed, in both dialects (A6).

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, TimestampMicrosecondType},
    util::display::{ArrayFormatter, FormatOptions},
};
use cameo_sqlmacros::{EXAMPLES, Library, Origin, render};
use cameo_warehouse::{Lake, LakeLimits, Parameters, Query, ReadOptions, Warehouse};
use futures_util::StreamExt;
use serde_json::Value;

/// A Python with the packages of `golden/requirements.txt`.
const PYTHON_VARIABLE: &str = "CAMEO_GOOGLESQL_PYTHON";
/// The due instant of every query; `oracle.py` and `expected.py` have its date.
const RUN_TIME: &str = "2026-03-31T06:00:00Z";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Columns as `name:TYPE`, and rows in an order that depends on nothing but their content.
#[derive(Debug, PartialEq)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(columns: Vec<String>, mut rows: Vec<Vec<String>>) -> Self {
        let types: Vec<_> =
            columns.iter().map(|column| column.rsplit(':').next().unwrap_or_default()).collect();
        for row in &mut rows {
            for (cell, kind) in row.iter_mut().zip(&types) {
                *cell = normalised(kind, cell);
            }
        }
        rows.sort();
        Self { columns, rows }
    }

    fn expected(name: &str) -> Self {
        let file = golden().join(format!("expected/{name}.csv"));
        let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", file.display()));
        let mut lines =
            text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let columns = lines.next().expect("a header");
        Self::new(columns, lines.collect())
    }
}

/// A cell as text: nothing for NULL; fractions rounded, so that the order of a sum does not matter.
fn normalised(kind: &str, cell: &str) -> String {
    match kind {
        "FLOAT64" if !cell.is_empty() => {
            let number: f64 = cell.parse().unwrap_or_else(|_| panic!("{cell} is no number"));
            format!("{:.6}", number + 0.0)
        }
        _ => cell.to_owned(),
    }
}

/// The GoogleSQL of each example.
fn queries() -> BTreeMap<&'static str, String> {
    let nobody = Arc::new(Library::empty(Origin::Team));
    let rendered = EXAMPLES.iter().map(|(name, text)| {
        let rendered = render(text, &nobody).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        (*name, rendered.text)
    });
    rendered.collect()
}

#[test]
fn the_sql_of_the_examples_is_reviewed() {
    let entry = |(name, sql): (&&str, &String)| format!("-- {name}\n{}\n", sql.trim_end());
    let page = queries().iter().map(entry).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(page);
}

fn table(batches: &[RecordBatch]) -> Table {
    let schema = batches.first().expect("at least one batch").schema();
    let kind = |found: &DataType| match found {
        DataType::Int64 => "INT64",
        DataType::Float64 => "FLOAT64",
        DataType::Utf8 => "STRING",
        DataType::Timestamp(..) => "TIMESTAMP",
        other => panic!("no golden file has {other}"),
    };
    let columns = schema.fields().iter();
    let columns = columns.map(|field| format!("{}:{}", field.name(), kind(field.data_type())));
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows())
            .map(|row| batch.columns().iter().map(|column| cell(column, row)).collect())
    });
    Table::new(columns.collect(), rows.collect())
}

fn cell(column: &dyn Array, row: usize) -> String {
    if let Some(instants) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        let instant = instants.is_valid(row).then(|| instants.value_as_datetime(row)).flatten();
        return instant.map(|instant| instant.to_string()).unwrap_or_default();
    }
    let options = FormatOptions::default();
    ArrayFormatter::try_new(column, &options).expect("a printable column").value(row).to_string()
}

#[tokio::test]
async fn every_example_gives_what_python_computed_on_the_lake() {
    let home = tempfile::tempdir().expect("a folder");
    let shop = home.path().join("lake/acme/shop");
    fs::create_dir_all(&shop).expect("a folder");
    for entry in fs::read_dir(golden().join("tables")).expect("the tables") {
        let file = entry.expect("a table");
        fs::copy(file.path(), shop.join(file.file_name())).expect("a copy");
    }
    let limits = LakeLimits::with_scratch(home.path().join("scratch"));
    let lake = Lake::open(&home.path().join("lake"), limits).expect("a lake");
    let tenant = "acme".parse().expect("a name");
    let parameters = Parameters::utc(RUN_TIME.parse().expect("an instant"));
    let options =
        ReadOptions { memory_limit_bytes: 1 << 30, threads: 2, partitions: 1, batch_rows: 4_096 };
    let mut wrong = Vec::new();
    for (name, sql) in queries() {
        let mut found = Vec::new();
        match lake.read(&tenant, &Query { sql, parameters }, &options).await {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(mut read) => {
                while let Some(batch) = read.partitions[0].next().await {
                    found.push(batch.expect("a batch"));
                }
                wrong.extend(difference(name, &table(&found)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(name: &str, found: &Table) -> Option<String> {
    let expected = Table::expected(name);
    assert!(!expected.rows.is_empty(), "{name} expects rows");
    (*found != expected).then(|| format!("{name}: found {found:#?}, expected {expected:#?}"))
}

/// What [`PYTHON_VARIABLE`] says where no such Python can be made.
const ABSENT: &str = "absent";

#[test]
fn every_example_gives_what_python_computed_in_googlesql() {
    let python = env::var_os(PYTHON_VARIABLE).unwrap_or_else(|| {
        panic!(
            "{PYTHON_VARIABLE} is not set: run tests/run, or set it to what {}/googlesql prints",
            golden().display()
        )
    });
    if python == ABSENT {
        // Said by tests/run, where there is no Python that it runs on.
        return;
    }
    let mut oracle = Command::new(python)
        .arg(golden().join("oracle.py"))
        .arg(golden().join("tables"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let input = serde_json::to_vec(&queries()).expect("JSON");
    oracle.stdin.take().expect("a pipe").write_all(&input).expect("the queries are sent");
    let output = oracle.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "see its messages above");
    let results: BTreeMap<String, Value> =
        serde_json::from_slice(&output.stdout).expect("JSON from oracle.py");
    assert_eq!(results.len(), EXAMPLES.len());
    let mut wrong = Vec::new();
    for (name, result) in results {
        match answer(&result) {
            Some(found) => wrong.extend(difference(&name, &found)),
            None => wrong.push(format!("{name}: {result}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn answer(result: &Value) -> Option<Table> {
    let columns = result["columns"].as_array()?.iter().map(|column| {
        let kind = match column[1].as_str()? {
            "INTEGER" => "INT64",
            "FLOAT" => "FLOAT64",
            other => other,
        };
        Some(format!("{}:{kind}", column[0].as_str()?))
    });
    let rows = result["rows"].as_array()?.iter().map(|row| {
        let cells = row.as_array()?.iter();
        Some(cells.map(|cell| cell.as_str().unwrap_or_default().to_owned()).collect())
    });
    Some(Table::new(columns.collect::<Option<_>>()?, rows.collect::<Option<_>>()?))
}
