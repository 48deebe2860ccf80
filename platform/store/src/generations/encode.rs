//! Arrow columns as rows of Postgres' binary COPY format.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

use crate::StoreError;

/// What every binary COPY starts with: signature, flags, length of the header extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What every binary COPY ends with.
pub(super) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Days from 1970-01-01, Arrow's first day, to 2000-01-01, Postgres' first day.
const EPOCH_DAYS: i32 = 10_957;
/// The same distance in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The field length that stands for null.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// A column of a batch, ready to be read row by row.
enum Field<'a> {
    Int(&'a ScalarBuffer<i64>, Option<&'a NullBuffer>),
    Float(&'a ScalarBuffer<f64>, Option<&'a NullBuffer>),
    Date(&'a ScalarBuffer<i32>, Option<&'a NullBuffer>),
    Timestamp(&'a ScalarBuffer<i64>, Option<&'a NullBuffer>),
    Bool(&'a BooleanArray),
    Text(&'a StringArray),
}

/// A batch whose rows can be encoded in any portions.
pub(super) struct Rows<'a> {
    fields: Vec<Field<'a>>,
    header: [u8; 2],
}

impl<'a> Rows<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, StoreError> {
        let fields = batch
            .columns()
            .iter()
            .map(|column| match column.data_type() {
                ArrowType::Int64 => {
                    let array = column.as_primitive::<Int64Type>();
                    Ok(Field::Int(array.values(), nulls(array)))
                }
                ArrowType::Float64 => {
                    let array = column.as_primitive::<Float64Type>();
                    Ok(Field::Float(array.values(), nulls(array)))
                }
                ArrowType::Date32 => {
                    let array = column.as_primitive::<Date32Type>();
                    Ok(Field::Date(array.values(), nulls(array)))
                }
                ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
                    let array = column.as_primitive::<TimestampMicrosecondType>();
                    Ok(Field::Timestamp(array.values(), nulls(array)))
                }
                ArrowType::Boolean => Ok(Field::Bool(column.as_boolean())),
                ArrowType::Utf8 => Ok(Field::Text(column.as_string())),
                other => Err(StoreError::Schema(format!(
                    "expected a conformed batch, found a column of type {other}"
                ))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let count = i16::try_from(batch.num_columns())
            .map_err(|_| StoreError::Schema("more columns than a table can have".to_owned()))?;
        Ok(Self { fields, header: count.to_be_bytes() })
    }

    /// Appends one row.
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
        for field in &self.fields {
            match field {
                Field::Int(values, nulls) if is_valid(*nulls, row) => {
                    out.extend_from_slice(&fixed(values[row].to_be_bytes()));
                }
                Field::Float(values, nulls) if is_valid(*nulls, row) => {
                    out.extend_from_slice(&fixed(values[row].to_be_bytes()));
                }
                Field::Timestamp(values, nulls) if is_valid(*nulls, row) => {
                    let micros = values[row].wrapping_sub(EPOCH_MICROS);
                    out.extend_from_slice(&fixed(micros.to_be_bytes()));
                }
                Field::Date(values, nulls) if is_valid(*nulls, row) => {
                    out.extend_from_slice(&4_i32.to_be_bytes());
                    let days = values[row].wrapping_sub(EPOCH_DAYS);
                    out.extend_from_slice(&days.to_be_bytes());
                }
                Field::Bool(values) if values.is_valid(row) => {
                    out.extend_from_slice(&1_i32.to_be_bytes());
                    out.push(u8::from(values.value(row)));
                }
                Field::Text(values) if values.is_valid(row) => {
                    let text = values.value(row).as_bytes();
                    // Arrow's offsets are 32-bit, so the length fits.
                    #[allow(clippy::cast_possible_truncation)]
                    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    out.extend_from_slice(text);
                }
                _ => out.extend_from_slice(&NULL),
            }
        }
    }
}

/// Length and value in one piece, so that the buffer grows once.
#[inline]
fn fixed(value: [u8; 8]) -> [u8; 12] {
    let mut field = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    field[4..].copy_from_slice(&value);
    field
}

#[inline]
fn is_valid(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_none_or(|nulls| nulls.is_valid(row))
}

fn nulls(array: &dyn Array) -> Option<&NullBuffer> {
    array.nulls().filter(|nulls| nulls.null_count() > 0)
}
