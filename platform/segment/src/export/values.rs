//! The values of a column, as the predictions API writes them.

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, TimeUnit},
};

use super::{ExportError, calendar};

/// A column by its type, so that the type is asked for once in a batch.
pub(crate) enum Values<'a> {
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Text(&'a StringArray),
    Bool(&'a BooleanArray),
    Date(&'a Date32Array),
    Instant(&'a TimestampMicrosecondArray),
}

impl<'a> Values<'a> {
    pub(crate) fn of(name: &str, column: &'a ArrayRef) -> Result<Self, ExportError> {
        let any = column.as_any();
        let found = match column.data_type() {
            DataType::Int64 => any.downcast_ref().map(Self::Int),
            DataType::Float64 => any.downcast_ref().map(Self::Float),
            DataType::Utf8 => any.downcast_ref().map(Self::Text),
            DataType::Boolean => any.downcast_ref().map(Self::Bool),
            DataType::Date32 => any.downcast_ref().map(Self::Date),
            DataType::Timestamp(TimeUnit::Microsecond, _) => any.downcast_ref().map(Self::Instant),
            _ => None,
        };
        found.ok_or_else(|| ExportError::Type {
            column: name.to_owned(),
            found: column.data_type().clone(),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Int(values) => values.is_null(row),
            Self::Float(values) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
            Self::Bool(values) => values.is_null(row),
            Self::Date(values) => values.is_null(row),
            Self::Instant(values) => values.is_null(row),
        }
    }

    /// Whether two rows say the same; two nulls do, and so do two equal numbers that are no numbers.
    pub(crate) fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        match (self.is_null(row), other.is_null(other_row)) {
            (true, true) => return true,
            (false, false) => {}
            _ => return false,
        }
        match (self, other) {
            (Self::Int(one), Self::Int(two)) => one.value(row) == two.value(other_row),
            (Self::Float(one), Self::Float(two)) => {
                one.value(row).to_bits() == two.value(other_row).to_bits()
            }
            (Self::Text(one), Self::Text(two)) => one.value(row) == two.value(other_row),
            (Self::Bool(one), Self::Bool(two)) => one.value(row) == two.value(other_row),
            (Self::Date(one), Self::Date(two)) => one.value(row) == two.value(other_row),
            (Self::Instant(one), Self::Instant(two)) => one.value(row) == two.value(other_row),
            _ => false,
        }
    }

    /// Writes a row's value as JSON: null, and what is not finite, as `null`.
    pub(super) fn write_json(&self, row: usize, to: &mut Vec<u8>) -> Result<(), ExportError> {
        if self.is_null(row) {
            to.extend_from_slice(b"null");
            return Ok(());
        }
        match self {
            Self::Int(values) => serde_json::to_writer(to, &values.value(row))?,
            Self::Float(values) => serde_json::to_writer(to, &values.value(row))?,
            Self::Text(values) => serde_json::to_writer(to, values.value(row))?,
            Self::Bool(values) => to.extend_from_slice(word(values.value(row))),
            Self::Date(values) => {
                to.push(b'"');
                calendar::write_day(values.value(row), to)?;
                to.push(b'"');
            }
            Self::Instant(values) => {
                to.push(b'"');
                calendar::write_instant(values.value(row), to)?;
                to.push(b'"');
            }
        }
        Ok(())
    }

    /// Writes a row's value as a field of CSV: null, and what is not finite, as nothing.
    pub(super) fn write_csv(&self, row: usize, to: &mut Vec<u8>) -> Result<(), ExportError> {
        if self.is_null(row) {
            return Ok(());
        }
        match self {
            Self::Int(values) => serde_json::to_writer(to, &values.value(row))?,
            Self::Float(values) => {
                let value = values.value(row);
                if value.is_finite() {
                    serde_json::to_writer(to, &value)?;
                }
            }
            Self::Text(values) => write_field(values.value(row), to),
            Self::Bool(values) => to.extend_from_slice(word(values.value(row))),
            Self::Date(values) => calendar::write_day(values.value(row), to)?,
            Self::Instant(values) => calendar::write_instant(values.value(row), to)?,
        }
        Ok(())
    }
}

fn word(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// Writes a field after RFC 4180: quoted where it must be, and where it is empty, because nothing at all
/// is null.
pub(super) fn write_field(text: &str, to: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\r' | b'\n');
    if !text.is_empty() && !text.as_bytes().iter().any(special) {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    to.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            to.push(b'"');
        }
        to.push(byte);
    }
    to.push(b'"');
}
