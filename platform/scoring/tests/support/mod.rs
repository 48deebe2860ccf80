//! Inputs that `fixtures/make.py` draws too, and reference outputs of ONNX Runtime.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, Schema};
use serde_json::Value;

pub(crate) const ROWS: usize = 256;
pub(crate) const WIDTH: usize = 8;
const COLOURS: [&str; 4] = ["red", "green", "blue", "grey"];

/// The linear congruential generator of `make.py`.
pub(crate) struct Rows(u64);

impl Rows {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Columns of a matrix that is drawn row by row.
    pub(crate) fn matrix(&mut self, rows: usize, width: usize, nan: bool) -> Vec<Vec<f32>> {
        let mut columns = vec![Vec::with_capacity(rows); width];
        for _ in 0..rows {
            for column in &mut columns {
                let drawn = self.draw();
                let value = ((drawn % 1024) as f32 - 512.0) / 64.0;
                column.push(if nan && (drawn >> 10).is_multiple_of(10) { f32::NAN } else { value });
            }
        }
        columns
    }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn model(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("{name}.onnx"))).expect("fixtures are committed")
}

pub(crate) fn json(name: &str) -> Value {
    let text = std::fs::read(fixture(&format!("{name}.json"))).expect("fixtures are committed");
    serde_json::from_slice(&text).expect("fixtures are JSON")
}

fn repeat(batch: &RecordBatch, rows: usize) -> RecordBatch {
    let parts: Vec<RecordBatch> =
        (0..rows.div_ceil(batch.num_rows())).map(|_| batch.clone()).collect();
    arrow::compute::concat_batches(&batch.schema(), &parts).expect("equal schemas").slice(0, rows)
}

/// Feature columns `f0`… as the fixtures' matrix inputs were drawn, repeated up to `rows`.
pub(crate) fn matrix_batch(nan: bool, rows: usize) -> RecordBatch {
    let columns = Rows::new(7).matrix(ROWS, WIDTH, nan);
    let columns = columns.into_iter().enumerate().map(|(index, column)| {
        let column: ArrayRef = Arc::new(Float32Array::from(column));
        (format!("f{index}"), column)
    });
    repeat(&RecordBatch::try_from_iter(columns).expect("equal lengths"), rows)
}

/// Columns of four types as the mixed fixtures' inputs were drawn, repeated up to `rows`.
pub(crate) fn mixed_batch(rows: usize) -> RecordBatch {
    let mut draws = Rows::new(7);
    let numbers = draws.matrix(ROWS, 2, false);
    let visits: Vec<i64> =
        (0..ROWS).map(|_| i64::try_from(draws.draw() % 50).expect("small")).collect();
    let colours: Vec<&str> =
        (0..ROWS).map(|_| COLOURS[usize::try_from(draws.draw() % 4).expect("small")]).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("COLOUR", Arc::new(StringArray::from(colours))),
        ("visits", Arc::new(Int64Array::from(visits))),
        ("spend", Arc::new(Float32Array::from(numbers[0].clone()))),
        ("age", Arc::new(Float32Array::from(numbers[1].clone()))),
    ];
    repeat(&RecordBatch::try_from_iter(columns).expect("equal lengths"), rows)
}

/// Columns `f0`… of a matrix.
pub(crate) fn batch(columns: Vec<Vec<f32>>) -> RecordBatch {
    let columns = columns.into_iter().enumerate().map(|(index, column)| {
        (format!("f{index}"), Arc::new(Float32Array::from(column)) as ArrayRef)
    });
    RecordBatch::try_from_iter(columns).expect("equal lengths")
}

pub(crate) fn schema(batch: &RecordBatch) -> Schema {
    batch.schema().as_ref().clone()
}

/// Compares a column with reference values, which repeat when the batch is longer.
///
/// `absolute` is what the reference itself may be off, beside the relative tolerance.
pub(crate) fn assert_column(place: &str, column: &ArrayRef, reference: &[Value], absolute: f64) {
    for row in 0..column.len() {
        let expected = &reference[row % reference.len()];
        match column.data_type() {
            DataType::Int64 => {
                assert_eq!(
                    Some(column.as_primitive::<Int64Type>().value(row)),
                    expected.as_i64(),
                    "{place}, row {row}"
                );
            }
            DataType::Utf8 => {
                assert_eq!(
                    Some(column.as_string::<i32>().value(row)),
                    expected.as_str(),
                    "{place}, row {row}"
                );
            }
            DataType::Int32 => {
                let found = column.as_primitive::<Int32Type>().value(row);
                assert_eq!(Some(i64::from(found)), expected.as_i64(), "{place}, row {row}");
            }
            DataType::Boolean => {
                let found = column.as_boolean().value(row);
                assert_eq!(Some(i64::from(found)), expected.as_i64(), "{place}, row {row}");
            }
            DataType::Float32 => {
                let found = f64::from(column.as_primitive::<Float32Type>().value(row));
                assert_close(&format!("{place}, row {row}"), found, expected, absolute);
            }
            DataType::Float64 => {
                let found = column.as_primitive::<Float64Type>().value(row);
                assert_close(&format!("{place}, row {row}"), found, expected, absolute);
            }
            other => panic!("{place}: no reference for {other}"),
        }
    }
}

/// Relative difference that summing in another order explains.
const TOLERANCE: f64 = 1e-5;
/// Values below this are compared as if they were this large.
const SMALLEST_SCALE: f64 = 1e-6;

/// A number of a fixture; JSON has no NaN and no infinities.
pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().expect("nan, inf or -inf"),
        number => number.as_f64().expect("a number"),
    }
}

fn assert_close(place: &str, found: f64, expected: &Value, absolute: f64) {
    let expected = number(expected);
    let close = (found.is_nan() && expected.is_nan())
        || found.total_cmp(&expected).is_eq()
        || (found - expected).abs() <= absolute + TOLERANCE * expected.abs().max(SMALLEST_SCALE);
    assert!(close, "{place}: expected {expected}, found {found}");
}

/// Decodes standard base64.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let mut bits = 0u32;
    let mut count = 0;
    for symbol in text.bytes().filter(|symbol| *symbol != b'=') {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).expect("a byte"));
        }
    }
    bytes
}
