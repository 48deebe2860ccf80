//! Random conditions over random predictions, for the tests.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    record_batch::RecordBatch,
};
use cameo_domain::{Column, DataType, PredictionSchema, ServiceName};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::condition::Catalog;

const SERVICES: [&str; 3] = ["a", "b", "c"];

/// The predictions of each of the services: one column of each type.
pub(crate) fn schema() -> PredictionSchema {
    let columns = [
        ("id", DataType::Int),
        ("i", DataType::Int),
        ("f", DataType::Float64),
        ("s", DataType::String),
        ("b", DataType::Bool),
        ("d", DataType::Date),
        ("t", DataType::Timestamp),
    ];
    let column = |(name, data_type): (&str, DataType)| Column {
        name: name.parse().expect("a name"),
        data_type,
    };
    PredictionSchema::new(columns.into_iter().map(column).collect()).expect("a schema")
}

pub(crate) fn catalog() -> Catalog {
    Catalog::new(SERVICES.into_iter().map(|name| (service(name), schema())).collect())
}

pub(crate) fn service(name: &str) -> ServiceName {
    name.parse().expect("a service")
}

/// Words and signs in any order, and any text at all.
pub(crate) fn soup() -> impl Strategy<Value = String> {
    let words = [
        "clv",
        ".",
        "tier",
        "orders",
        "churn.churned",
        "(",
        ")",
        "and",
        "or",
        "not",
        "is",
        "null",
        "in",
        "between",
        "like",
        "'a%'",
        "\"",
        "'",
        "\\",
        "`",
        "1",
        "-",
        "0.5",
        "1e999",
        "+",
        "*",
        "/",
        "=",
        "<>",
        ">=",
        ",",
        "coalesce",
        "cast",
        "as",
        "int64",
        "date",
        "timestamp",
        "'2026-01-01'",
        "case",
        "when",
        "select",
        "from",
        "interval",
        "@x",
        "--",
        "/*",
        "[",
        "]",
        "{",
        "struct",
        "r'",
        "\n",
        "9223372036854775808",
        "::",
        "||",
        "exists",
        "\u{0}",
        "é",
        "of",
        "extract",
        "array",
    ];
    prop_oneof![
        vec(select(words.to_vec()), 0..40).prop_map(|words| words.join(" ")),
        any::<String>(),
    ]
}

/// A sound condition over [`catalog`].
// One line for each form.
#[allow(clippy::too_many_lines)]
pub(crate) fn condition() -> BoxedStrategy<String> {
    let column = |kind: &'static str| {
        select(SERVICES.to_vec()).prop_map(move |service| format!("{service}.{kind}"))
    };
    let comparison = || select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let number = prop_oneof![
        column("i"),
        column("f"),
        (-3_i64..4).prop_map(|number| number.to_string()),
        (-3_i64..4).prop_map(|number| format!("{number}.5")),
        Just("9223372036854775807".to_owned()),
    ];
    let number = number.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*", "/"]), inner.clone())
                .prop_map(|(left, op, right)| format!("({left} {op} {right})")),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("coalesce({left}, {right})")),
            inner.prop_map(|inner| format!("-({inner})")),
        ]
    });
    let text = prop_oneof![
        column("s"),
        column("s").prop_map(|column| format!("lower({column})")),
        column("i").prop_map(|column| format!("cast({column} as string)")),
        select(vec!["'a'", "'B'", "''", "'é_%'", "'it\\'s \\\\ \\n'"]).prop_map(str::to_owned),
    ];
    let instant = prop_oneof![
        column("t"),
        column("d").prop_map(|column| format!("cast({column} as timestamp)")),
        Just("timestamp '1970-01-01 00:00:00.000002'".to_owned()),
    ];
    let not = || select(vec!["", "not "]);
    let leaf = prop_oneof![
        (number.clone(), comparison(), number.clone())
            .prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        (text.clone(), comparison(), text.clone())
            .prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        (instant.clone(), comparison(), instant)
            .prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        (column("d"), not())
            .prop_map(|(day, not)| format!("{day} {not}between '1969-12-31' and '1970-01-02'")),
        (number.clone(), not(), number.clone(), number)
            .prop_map(|(value, not, low, high)| format!("{value} {not}between {low} and {high}")),
        (text.clone(), not()).prop_map(|(text, not)| format!("{text} {not}in ('a', 'b', '')")),
        (column("i"), not()).prop_map(|(number, not)| format!("{number} {not}in (0, 2, -1)")),
        (text, not(), select(vec!["a%", "%b", "_", "%a_%", "%", ""]))
            .prop_map(|(text, not, pattern)| format!("{text} {not}like '{pattern}'")),
        column("b"),
        (column("b"), column("b")).prop_map(|(left, right)| format!("coalesce({left}, {right})")),
        (column("b"), column("b")).prop_map(|(left, right)| format!("{left} <> {right}")),
        (select(vec!["s", "d", "t", "f", "id"]), select(SERVICES.to_vec()), not())
            .prop_map(|(kind, service, not)| format!("{service}.{kind} is {not}null")),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("({left}) and ({right})")),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("({left}) or ({right})")),
            inner.clone().prop_map(|inner| format!("not ({inner})")),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("coalesce({left}, {right})")),
            (inner, not(), select(vec!["true", "false", "null"]))
                .prop_map(|(inner, not, test)| format!("({inner}) is {not}{test}")),
        ]
    })
    .prop_filter("names a column", |text| {
        SERVICES.iter().any(|service| text.contains(&format!("{service}.")))
    })
    .boxed()
}

/// Predictions of one service as [`schema`] says, sorted by key, in batches of any size.
pub(crate) fn batches() -> impl Strategy<Value = Vec<RecordBatch>> {
    let row = (
        option::of(-2_i64..4),
        option::of(select(vec![-1.5, -0.0, 0.0, 0.5, 2.0, f64::NAN, f64::INFINITY])),
        option::of(select(vec!["", "a", "A", "b", "ab", "é"])),
        option::of(any::<bool>()),
        option::of(-2_i32..3),
        option::of(-2_i64..3),
    );
    (proptest::collection::btree_map(0_i64..40, row, 0..30), vec(1_usize..12, 1..5)).prop_map(
        |(rows, sizes)| {
            let rows: Vec<_> = rows.into_iter().collect();
            let (mut batches, mut rest, mut sizes) =
                (Vec::new(), rows.as_slice(), sizes.into_iter().cycle());
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                let ids: Int64Array = head.iter().map(|(id, _)| Some(*id)).collect();
                let integers: Int64Array = head.iter().map(|(_, row)| row.0).collect();
                let floats: Float64Array = head.iter().map(|(_, row)| row.1).collect();
                let texts: StringArray = head.iter().map(|(_, row)| row.2).collect();
                let truths: BooleanArray = head.iter().map(|(_, row)| row.3).collect();
                let days: Date32Array = head.iter().map(|(_, row)| row.4).collect();
                let times: TimestampMicrosecondArray = head.iter().map(|(_, row)| row.5).collect();
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(ids),
                    Arc::new(integers),
                    Arc::new(floats),
                    Arc::new(texts),
                    Arc::new(truths),
                    Arc::new(days),
                    Arc::new(times.with_timezone("UTC")),
                ];
                let batch = RecordBatch::try_new(cameo_batch::arrow_schema(&schema()), columns);
                batches.push(batch.expect("a batch"));
                rest = tail;
            }
            batches
        },
    )
}
