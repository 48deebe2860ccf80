//! Arrow columns as model inputs: which types fit, and the conversions.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Float32Array, Float64Array, Int32Array,
    Int64Array, PrimitiveArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit};
use arrow::error::ArrowError;

use crate::signature::PortKind;
use crate::trees::Features;

/// Whether a column of a type can feed an input of a kind; otherwise what to do about it.
pub(crate) fn accepts(found: &DataType, kind: PortKind) -> Result<(), &'static str> {
    use PortKind::{Bool, Float32, Float64, Int32, Int64, String};
    match found {
        DataType::Boolean => match kind {
            String => Err("write CAST(… AS STRING) in features.sql"),
            _ => Ok(()),
        },
        integer if integer.is_integer() => match kind {
            Float32 | Float64 | Int64 | Int32 => Ok(()),
            Bool => Err("write a condition, as `column != 0`, in features.sql"),
            String => Err("write CAST(… AS STRING) in features.sql"),
        },
        float if float.is_floating() => match kind {
            Float32 | Float64 => Ok(()),
            Int64 | Int32 => Err(
                "the model wants integers; write CAST(… AS INT64) in features.sql if rounding is meant",
            ),
            Bool => Err("write a condition, as `column > 0`, in features.sql"),
            String => Err("write CAST(… AS STRING) in features.sql"),
        },
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => match kind {
            Float32 | Float64 => Ok(()),
            Int64 | Int32 if *scale == 0 => Ok(()),
            _ => Err("write CAST(… AS FLOAT64) or CAST(… AS INT64) in features.sql"),
        },
        DataType::Date32 | DataType::Date64 => match kind {
            Float32 | Float64 | Int64 | Int32 => Ok(()),
            _ => {
                Err("write a number of days, as DATE_DIFF(@run_date, column, DAY), in features.sql")
            }
        },
        DataType::Timestamp(..) => match kind {
            Int64 => Ok(()),
            _ => Err(
                "a float holds no instant exactly enough; write a difference, as TIMESTAMP_DIFF(@run_time, column, HOUR), in features.sql",
            ),
        },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => match kind {
            String => Ok(()),
            _ => Err(
                "the model wants numbers; write SAFE_CAST(… AS FLOAT64) in features.sql, or export the encoder with the model",
            ),
        },
        DataType::Dictionary(_, values) => accepts(values, kind),
        _ => Err("select a number, a boolean, a date or a string in features.sql"),
    }
}

/// A column as what a float input reads without further conversion, or as the input's own type.
///
/// Values that the type cannot hold become null, for the caller to reject.
pub(crate) fn convert(column: &ArrayRef, kind: PortKind) -> Result<ArrayRef, ArrowError> {
    let to = match (column.data_type(), kind) {
        // Read in place: `FloatColumn` rounds them block by block.
        (
            DataType::Float32 | DataType::Float64 | DataType::Int64 | DataType::Int32,
            PortKind::Float32,
        ) => {
            return Ok(ArrayRef::clone(column));
        }
        (DataType::Timestamp(_, zone), PortKind::Int64) => {
            let microseconds = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            return cast(&cast(column, &microseconds)?, &DataType::Int64);
        }
        (DataType::Date32 | DataType::Date64, _) => {
            let days = cast(&cast(column, &DataType::Date32)?, &DataType::Int32)?;
            return if kind == PortKind::Float32 {
                Ok(days)
            } else {
                cast(&days, &arrow_type(kind))
            };
        }
        (_, PortKind::Float32) => DataType::Float64,
        (_, kind) => arrow_type(kind),
    };
    cast(column, &to)
}

/// Arrow type of the values of a port.
pub(crate) fn arrow_type(kind: PortKind) -> DataType {
    match kind {
        PortKind::Float32 => DataType::Float32,
        PortKind::Float64 => DataType::Float64,
        PortKind::Int64 => DataType::Int64,
        PortKind::Int32 => DataType::Int32,
        PortKind::Bool => DataType::Boolean,
        PortKind::String => DataType::Utf8,
    }
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(ArrayRef::clone(column));
    }
    cast_with_options(column, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// A column that reads as `f32` or `f64`, with NaN for null.
#[derive(Debug)]
pub(crate) enum FloatColumn {
    Float32(Float32Array),
    Float64(Float64Array),
    Int64(Int64Array),
    Int32(Int32Array),
}

impl FloatColumn {
    /// A column that [`convert`] made for a float input.
    pub(crate) fn of(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            DataType::Float32 => Self::Float32(column.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Float64(column.as_primitive::<Float64Type>().clone()),
            DataType::Int64 => Self::Int64(column.as_primitive::<Int64Type>().clone()),
            DataType::Int32 => Self::Int32(column.as_primitive::<Int32Type>().clone()),
            other => {
                return Err(ArrowError::CastError(format!(
                    "{other} was not converted for a float input"
                )));
            }
        })
    }

    /// Copies rows from `start` on, rounded to the type that is asked for.
    pub(crate) fn fill<T: Float>(&self, start: usize, into: &mut [T]) {
        let rows = start..start + into.len();
        match self {
            Self::Float32(column) => copy(column, rows, into, T::of_single),
            Self::Float64(column) => copy(column, rows, into, T::of_double),
            Self::Int64(column) => copy(column, rows, into, T::of_long),
            Self::Int32(column) => copy(column, rows, into, T::of_integer),
        }
    }
}

/// `f32` or `f64`, with the documented conversion to the nearest value.
pub(crate) trait Float: Copy {
    const NAN: Self;
    fn of_single(value: f32) -> Self;
    fn of_double(value: f64) -> Self;
    fn of_long(value: i64) -> Self;
    fn of_integer(value: i32) -> Self;
    fn single(self) -> f32;
    fn double(self) -> f64;
}

#[allow(clippy::cast_possible_truncation, reason = "rounding is the documented conversion")]
impl Float for f32 {
    const NAN: Self = f32::NAN;

    fn of_single(value: f32) -> Self {
        value
    }

    fn of_double(value: f64) -> Self {
        value as f32
    }

    fn of_long(value: i64) -> Self {
        value as f32
    }

    fn of_integer(value: i32) -> Self {
        value as f32
    }

    fn single(self) -> f32 {
        self
    }

    fn double(self) -> f64 {
        f64::from(self)
    }
}

impl Float for f64 {
    const NAN: Self = f64::NAN;

    fn of_single(value: f32) -> Self {
        f64::from(value)
    }

    fn of_double(value: f64) -> Self {
        value
    }

    fn of_long(value: i64) -> Self {
        value as f64
    }

    fn of_integer(value: i32) -> Self {
        f64::from(value)
    }

    fn single(self) -> f32 {
        f32::of_double(self)
    }

    fn double(self) -> f64 {
        self
    }
}

fn copy<A: ArrowPrimitiveType, T: Float>(
    column: &PrimitiveArray<A>,
    rows: Range<usize>,
    into: &mut [T],
    of: impl Fn(A::Native) -> T,
) {
    let start = rows.start;
    for (to, from) in into.iter_mut().zip(&column.values()[rows]) {
        *to = of(*from);
    }
    if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
        for (row, to) in into.iter_mut().enumerate() {
            if nulls.is_null(start + row) {
                *to = T::NAN;
            }
        }
    }
}

impl Features for Vec<FloatColumn> {
    fn fill(&self, feature: usize, start: usize, into: &mut [f32]) {
        self[feature].fill(start, into);
    }

    fn fill_double(&self, feature: usize, start: usize, into: &mut [f64]) {
        self[feature].fill(start, into);
    }
}
