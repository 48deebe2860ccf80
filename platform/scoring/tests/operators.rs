//! Small graphs of one operator each, in every type that converters write, against ONNX Runtime.

mod support;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use cameo_scoring::{Scorer, ScoringLimits};
use serde_json::Value;
use support::{assert_column, json};

/// What vectorised kernels (logistic, tanh, exp) on either side may be off, beside the relative tolerance.
const ABSOLUTE: f64 = 5e-7;

fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().expect("nan, inf or -inf"),
        number => number.as_f64().expect("a number"),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "float32 cases hold float32 values")]
fn column(kind: &str, values: &Value) -> ArrayRef {
    let values = values.as_array().expect("values");
    match kind {
        "f32" => Arc::new(Float32Array::from_iter_values(
            values.iter().map(|value| number(value) as f32),
        )),
        "f64" => Arc::new(Float64Array::from_iter_values(values.iter().map(number))),
        "bool" => Arc::new(
            values.iter().map(|value| Some(number(value) != 0.0)).collect::<BooleanArray>(),
        ),
        "str" => Arc::new(StringArray::from_iter_values(
            values.iter().map(|value| value.as_str().expect("text")),
        )),
        _ => Arc::new(Int64Array::from_iter_values(
            values.iter().map(|value| value.as_i64().expect("an integer")),
        )),
    }
}

fn check(case: &Value) {
    let name = case["name"].as_str().expect("a name");
    let kind = case["kind"].as_str().expect("a type");
    let columns = case["columns"].as_array().expect("columns").iter().enumerate();
    let batch = RecordBatch::try_from_iter(
        columns.map(|(index, values)| (format!("c{index}"), column(kind, values))),
    )
    .expect("equal lengths");
    let model = support::base64(case["model"].as_str().expect("base64"));
    let scorer = Scorer::load(&model, None, &batch.schema(), &ScoringLimits::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let reference: Vec<&Value> = case["outputs"]
        .as_array()
        .expect("outputs")
        .iter()
        .flat_map(|output| output.as_array().expect("columns"))
        .collect();
    for rows in [batch.num_rows(), 1] {
        let found = scorer
            .score(&batch.slice(0, rows))
            .unwrap_or_else(|error| panic!("{name}, {rows} rows: {error}"))
            .outputs;
        assert_eq!(found.num_columns(), reference.len(), "{name}: columns");
        for (column, expected) in found.columns().iter().zip(&reference) {
            assert_column(name, column, expected.as_array().expect("values"), ABSOLUTE);
        }
    }
}

#[test]
fn every_operator_gives_what_onnx_runtime_gives_in_every_type() {
    let cases = json("operators");
    let cases = cases.as_array().expect("cases");
    let failures: Vec<&str> = cases
        .iter()
        .filter(|case| std::panic::catch_unwind(AssertUnwindSafe(|| check(case))).is_err())
        .map(|case| case["name"].as_str().expect("a name"))
        .collect();
    assert!(failures.is_empty(), "{} of {} differ: {failures:?}", failures.len(), cases.len());
    assert!(cases.len() > 700, "only {} cases", cases.len());
}
