//! GoogleSQL for a model: the columns that it takes, and its outputs under the service's names.

use std::fmt::Write;

use cameo_scoring::PortKind;

use super::{
    answers::{Key, Table},
    features::{Feature, Source, Takes},
    predictions::Prediction,
};

/// Words that GoogleSQL keeps for itself, so that a column of that name needs quotes.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "assert_rows_modified",
    "at",
    "between",
    "by",
    "case",
    "cast",
    "collate",
    "contains",
    "create",
    "cross",
    "cube",
    "current",
    "default",
    "define",
    "desc",
    "distinct",
    "else",
    "end",
    "enum",
    "escape",
    "except",
    "exclude",
    "exists",
    "extract",
    "false",
    "fetch",
    "following",
    "for",
    "from",
    "full",
    "group",
    "grouping",
    "groups",
    "hash",
    "having",
    "if",
    "ignore",
    "in",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "lookup",
    "merge",
    "natural",
    "new",
    "no",
    "not",
    "null",
    "nulls",
    "of",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "preceding",
    "proto",
    "qualify",
    "range",
    "recursive",
    "respect",
    "right",
    "rollup",
    "rows",
    "select",
    "set",
    "some",
    "struct",
    "tablesample",
    "then",
    "to",
    "treat",
    "true",
    "unbounded",
    "union",
    "unnest",
    "using",
    "when",
    "where",
    "window",
    "with",
    "within",
];

/// `features.sql`: exactly the columns that the model takes, those of `table` where it has them.
pub(super) fn features(key: &Key, takes: &Takes, table: Option<&Table>) -> String {
    let mut text = format!(
        "-- One row per {}: the key, then the {} that the model takes.\n",
        key.name,
        counted(takes.features.len())
    );
    let missing = takes.features.iter().filter(|feature| feature.source == Source::Unknown).count();
    if missing > 0 {
        let _ = writeln!(
            text,
            "-- Put an expression over your tables in place of each NULL, such as COUNT(*) or \
             MAX(ordered_at), and\n-- keep the names after AS: {}.",
            takes.found_by.rule()
        );
    }
    if table.is_none() {
        let _ = write!(
            text,
            "WITH customers AS (\n  -- Put your customers in place of this line, for example SELECT * \
             FROM dataset.table\n  SELECT CAST(NULL AS {}) AS {} LIMIT 0\n)\n",
            key.sql_type(),
            quoted(key.name.as_str())
        );
    }
    let _ = write!(text, "SELECT\n  {}", quoted(key.name.as_str()));
    for feature in &takes.features {
        let _ = write!(text, ",\n  {}", expression(feature));
    }
    let from = table.map_or_else(|| "customers".to_owned(), ToString::to_string);
    let _ = writeln!(text, "\nFROM {from}");
    text
}

fn expression(feature: &Feature) -> String {
    let name = quoted(&feature.name);
    match &feature.source {
        Source::Column(column) if *column == feature.name => name,
        Source::Column(column) => format!("{} AS {name}", quoted(column)),
        Source::Unknown => format!("CAST(NULL AS {}) AS {name}", sql_type(feature.kind)),
    }
}

/// `predictions.sql`: each output under its prediction's name.
pub(super) fn predictions(key: &Key, predictions: &[Prediction]) -> String {
    let mut text = String::from(
        "-- The model's outputs under the names that readers see. The query sees all customers at once, so \
         ranks and\n-- tiers can be added, such as NTILE(10) OVER (ORDER BY …) AS decile; declare them in \
         config.yaml too.\nSELECT\n",
    );
    let _ = write!(text, "  {}", quoted(key.name.as_str()));
    for prediction in predictions {
        let column = quoted(&prediction.column);
        if prediction.is_renamed() {
            let _ = write!(text, ",\n  {column} AS {}", quoted(prediction.name.as_str()));
        } else {
            let _ = write!(text, ",\n  {column}");
        }
    }
    text.push_str("\nFROM model_outputs\n");
    text
}

/// The type in a query of values that fit an input.
pub(super) fn sql_type(kind: PortKind) -> &'static str {
    match kind {
        PortKind::Float32 | PortKind::Float64 => "FLOAT64",
        PortKind::Int64 | PortKind::Int32 => "INT64",
        PortKind::Bool => "BOOL",
        PortKind::String => "STRING",
    }
}

/// The name as a query writes it.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.contains(&name.to_ascii_lowercase().as_str());
    if plain { name.to_owned() } else { format!("`{name}`") }
}

fn counted(features: usize) -> String {
    if features == 1 { "one feature".to_owned() } else { format!("{features} features") }
}

#[cfg(test)]
mod tests {
    use cameo_warehouse::{
        Parameters,
        googlesql::{Context, to_duckdb},
    };
    use chrono::DateTime;

    use super::*;

    fn columns(sql: &str) -> Vec<String> {
        let run_time = DateTime::UNIX_EPOCH;
        let parameters = Parameters { run_time, run_date: run_time.date_naive() };
        let rewritten = to_duckdb(sql, &Context::lake(parameters)).expect(sql);
        rewritten.columns.expect("names").into_iter().map(|column| column.name).collect()
    }

    #[test]
    fn every_reserved_word_and_odd_name_can_be_a_column() {
        let odd = ["sepal length (cm)", "größe", "1st", "a.b", "x-y", "plain", "_x"];
        for name in RESERVED.iter().copied().chain(odd) {
            let sql = format!("SELECT {0} FROM d.t", quoted(name));
            assert_eq!(columns(&sql), [name]);
            let sql = format!("SELECT CAST(NULL AS FLOAT64) AS {} FROM d.t", quoted(name));
            assert_eq!(columns(&sql), [name]);
        }
    }
}
