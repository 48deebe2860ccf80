//! Predictions as JSON: the one place where a value becomes text, whether it comes from a snapshot or from
//! Postgres.

use std::{io, ops::Range, sync::Arc};

use cameo_snapshot::{Cell, Snapshot};
use cameo_store::lookup::Value;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::current::Current;

/// The values of the prediction columns, in declared order; of a service that ranks, one row after the other
/// by rank.
pub type Values = Vec<Value>;

/// What a service says about one key.
#[derive(Debug)]
pub enum Rows {
    /// Rows of a snapshot.
    Snapshot(Arc<Snapshot>, Range<usize>),
    /// Values that Postgres gave.
    Values(Values),
}

impl Rows {
    /// Writes an object of the prediction columns by name, or of a service that ranks a list of them.
    pub fn write(&self, body: &mut Vec<u8>, current: &Current) {
        match self {
            Self::Snapshot(snapshot, rows) => write_rows(body, current, snapshot, rows.clone()),
            Self::Values(values) => write_values(body, current, values),
        }
    }

    /// The values of the prediction columns, in declared order; of a service that ranks, those of the first
    /// row come first.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell<'_>> {
        match self {
            Self::Snapshot(snapshot, rows) => {
                rows.clone().flat_map(|row| snapshot.predictions(row)).collect()
            }
            Self::Values(values) => values.iter().map(cell).collect(),
        }
    }

    /// The values as Postgres gives them, wherever they lie.
    #[must_use]
    pub fn to_values(&self) -> Values {
        match self {
            Self::Values(values) => values.clone(),
            Self::Snapshot(..) => self.cells().into_iter().map(value).collect(),
        }
    }
}

/// Writes rows of a snapshot.
pub(crate) fn write_rows(
    body: &mut Vec<u8>,
    current: &Current,
    snapshot: &Snapshot,
    rows: Range<usize>,
) {
    list(body, current, rows.map(|row| snapshot.predictions(row)));
}

/// Writes rows that Postgres gave.
pub(crate) fn write_values(body: &mut Vec<u8>, current: &Current, values: &[Value]) {
    let rows = values.chunks_exact(current.column_members.len().max(1));
    list(body, current, rows.map(|row| row.iter().map(cell)));
}

fn list<'a, R: Iterator<Item = Cell<'a>>>(
    body: &mut Vec<u8>,
    current: &Current,
    mut rows: impl Iterator<Item = R>,
) {
    if current.served.schema.top_n().is_none() {
        if let Some(row) = rows.next() {
            write_row(body, current, row);
        }
        return;
    }
    body.push(b'[');
    for (at, row) in rows.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        write_row(body, current, row);
    }
    body.push(b']');
}

fn write_row<'a>(body: &mut Vec<u8>, current: &Current, cells: impl Iterator<Item = Cell<'a>>) {
    for (name, cell) in current.column_members.iter().zip(cells) {
        body.extend_from_slice(name);
        write_cell(body, cell);
    }
    body.push(b'}');
}

/// Writes a value. A number that is not finite has no form in JSON and is null, like a day or an instant
/// beyond the calendar.
pub fn write_cell(body: &mut Vec<u8>, cell: Cell<'_>) {
    let start = body.len();
    let written = match cell {
        Cell::Null => Err(io::ErrorKind::NotFound.into()),
        Cell::Int(value) => json(body, &value),
        Cell::Float(value) => json(body, &value),
        Cell::Text(value) => json(body, &value),
        Cell::Bool(value) => json(body, &value),
        Cell::Date(days) => json(body, &day(days)),
        Cell::Timestamp(micros) => json(body, &DateTime::<Utc>::from_timestamp_micros(micros)),
        Cell::Json(text) => serde_json::from_str::<&RawValue>(text)
            .map_err(io::Error::from)
            .and_then(|document| json(body, &document)),
    };
    if written.is_err() {
        body.truncate(start);
        body.extend_from_slice(b"null");
    }
}

fn json(body: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(body, value).map_err(io::Error::from)
}

/// A value of Postgres as a cell.
fn cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Int(value) => Cell::Int(*value),
        Value::Float(value) => Cell::Float(*value),
        Value::Text(value) => Cell::Text(value),
        Value::Bool(value) => Cell::Bool(*value),
        Value::Date(day) => Cell::Date(days(*day)),
        Value::Timestamp(at) => Cell::Timestamp(at.timestamp_micros()),
        Value::Json(text) => Cell::Json(text),
    }
}

/// A cell as a value of Postgres; a day or an instant beyond the calendar has no form there.
fn value(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(value) => Value::Int(value),
        Cell::Float(value) => Value::Float(value),
        Cell::Text(value) => Value::Text(value.to_owned()),
        Cell::Bool(value) => Value::Bool(value),
        Cell::Date(days) => day(days).map_or(Value::Null, Value::Date),
        Cell::Timestamp(micros) => {
            DateTime::from_timestamp_micros(micros).map_or(Value::Null, Value::Timestamp)
        }
        Cell::Json(text) => Value::Json(text.to_owned()),
    }
}

/// The day that is `days` after 1970-01-01.
fn day(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(days)
}

fn days(day: NaiveDate) -> i32 {
    day.to_epoch_days()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cell: Cell<'_>) -> String {
        let mut body = Vec::new();
        write_cell(&mut body, cell);
        String::from_utf8(body).expect("UTF-8")
    }

    #[test]
    fn every_value_is_written_as_json() {
        for (cell, expected) in [
            (Cell::Null, "null"),
            (Cell::Int(i64::MIN), "-9223372036854775808"),
            (Cell::Float(0.1), "0.1"),
            (Cell::Float(1.0), "1.0"),
            (Cell::Float(f64::NAN), "null"),
            (Cell::Float(f64::INFINITY), "null"),
            (Cell::Text("High \"1\"\n"), "\"High \\\"1\\\"\\n\""),
            (Cell::Bool(true), "true"),
            (Cell::Date(19_000), "\"2022-01-08\""),
            (Cell::Date(i32::MAX), "null"),
            (Cell::Timestamp(1_700_000_000_000_001), "\"2023-11-14T22:13:20.000001Z\""),
            (Cell::Timestamp(i64::MAX), "null"),
            (Cell::Json("[{\"feature\": 1}]"), "[{\"feature\": 1}]"),
            (Cell::Json("[broken"), "null"),
        ] {
            assert_eq!(written(cell), expected);
        }
    }
}
