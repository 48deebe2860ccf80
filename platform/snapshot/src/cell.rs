//! One value of a row, borrowed from where it lies.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use cameo_domain::{DataType, PredictionSchema};

/// A value of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No prediction.
    Null,
    /// `INT`.
    Int(i64),
    /// `FLOAT64`.
    Float(f64),
    /// `STRING`.
    Text(&'a str),
    /// `BOOL`.
    Bool(bool),
    /// `DATE`: days since 1970-01-01.
    Date(i32),
    /// `TIMESTAMP`: microseconds since 1970-01-01 in UTC.
    Timestamp(i64),
    /// `JSON`: a document as it was written.
    Json(&'a str),
}

/// A column of one batch, its type known.
#[derive(Debug)]
pub(crate) enum Column {
    Int(Int64Array),
    Float(Float64Array),
    Text(StringArray),
    Bool(BooleanArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    Json(StringArray),
}

impl Column {
    /// The columns of a batch whose Arrow types are those of `schema`.
    pub(crate) fn of(batch: &RecordBatch, schema: &PredictionSchema) -> Vec<Self> {
        let declared = schema.columns().map(|column| column.data_type);
        batch.columns().iter().zip(declared).map(|(array, kind)| Self::new(array, kind)).collect()
    }

    fn new(array: &ArrayRef, declared: DataType) -> Self {
        match declared {
            DataType::Int => Self::Int(array.as_primitive::<Int64Type>().clone()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::String => Self::Text(array.as_string().clone()),
            DataType::Bool => Self::Bool(array.as_boolean().clone()),
            DataType::Date => Self::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Timestamp => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Json => Self::Json(array.as_string().clone()),
        }
    }

    /// Something of the value's memory, whether it is null or not.
    pub(crate) fn touch(&self, row: usize) -> u64 {
        match self {
            Self::Int(array) => array.values()[row].cast_unsigned(),
            Self::Float(array) => array.values()[row].to_bits(),
            Self::Bool(array) => u64::from(array.values().value(row)),
            Self::Date(array) => u64::from(array.values()[row].cast_unsigned()),
            Self::Timestamp(array) => array.values()[row].cast_unsigned(),
            Self::Text(array) | Self::Json(array) => {
                let start = usize::try_from(array.value_offsets()[row]).unwrap_or_default();
                array.value_data().get(start).copied().map_or(0, u64::from)
            }
        }
    }

    /// The value of a row of the batch.
    pub(crate) fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Int(array) if array.is_valid(row) => Cell::Int(array.value(row)),
            Self::Float(array) if array.is_valid(row) => Cell::Float(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Self::Bool(array) if array.is_valid(row) => Cell::Bool(array.value(row)),
            Self::Date(array) if array.is_valid(row) => Cell::Date(array.value(row)),
            Self::Timestamp(array) if array.is_valid(row) => Cell::Timestamp(array.value(row)),
            Self::Json(array) if array.is_valid(row) => Cell::Json(array.value(row)),
            _ => Cell::Null,
        }
    }
}
