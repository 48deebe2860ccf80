//! How declared types look in Arrow.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use cameo_domain::{DataType, PredictionSchema};

/// The Arrow type of a declared type.
#[must_use]
pub fn arrow_type(declared: DataType) -> ArrowType {
    match declared {
        DataType::Int => ArrowType::Int64,
        DataType::Float64 => ArrowType::Float64,
        DataType::String | DataType::Json => ArrowType::Utf8,
        DataType::Bool => ArrowType::Boolean,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// The Arrow schema of conformed batches: declared names in declared order, only the key required.
#[must_use]
pub fn arrow_schema(schema: &PredictionSchema) -> SchemaRef {
    let fields = schema.columns().enumerate().map(|(index, column)| {
        Field::new(column.name.as_str(), arrow_type(column.data_type), index > 0)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Whether a column of type `found` may become `declared` without loss of meaning.
///
/// Widening is allowed, narrowing by value is not: every integer becomes `INT` (a value beyond 64
/// signed bits is an error when it occurs), integers and decimals become `FLOAT64`, but a float
/// never becomes `INT`. A timestamp without a zone is read as UTC.
#[must_use]
pub fn is_assignable(found: &ArrowType, declared: DataType) -> bool {
    use ArrowType as A;
    match (found, declared) {
        (A::Dictionary(_, values), _) => is_assignable(values, declared),
        (A::Null, _)
        | (A::Date32 | A::Date64, DataType::Date)
        | (A::Timestamp(..), DataType::Timestamp)
        | (A::Boolean, DataType::Bool)
        | (A::Utf8 | A::LargeUtf8 | A::Utf8View, DataType::String | DataType::Json)
        | (A::Float16 | A::Float32 | A::Float64, DataType::Float64) => true,
        (
            A::Decimal32(_, scale)
            | A::Decimal64(_, scale)
            | A::Decimal128(_, scale)
            | A::Decimal256(_, scale),
            DataType::Int,
        ) => *scale == 0,
        (number, DataType::Float64) => number.is_integer() || is_decimal(number),
        (integer, DataType::Int) => integer.is_integer(),
        _ => false,
    }
}

fn is_decimal(found: &ArrowType) -> bool {
    use ArrowType as A;
    matches!(found, A::Decimal32(..) | A::Decimal64(..) | A::Decimal128(..) | A::Decimal256(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_allowed_and_narrowing_is_not() {
        let yes = [
            (ArrowType::Float32, DataType::Float64),
            (ArrowType::UInt8, DataType::Int),
            (ArrowType::Int32, DataType::Float64),
            (ArrowType::LargeUtf8, DataType::String),
            (ArrowType::Utf8View, DataType::String),
            (ArrowType::Decimal128(38, 0), DataType::Int),
            (ArrowType::Decimal128(38, 9), DataType::Float64),
            (ArrowType::Timestamp(TimeUnit::Nanosecond, None), DataType::Timestamp),
            (
                ArrowType::Dictionary(Box::new(ArrowType::Int8), Box::new(ArrowType::Utf8)),
                DataType::String,
            ),
        ];
        for (found, declared) in yes {
            assert!(is_assignable(&found, declared), "{found} → {declared} was refused");
        }
        let no = [
            (ArrowType::Float64, DataType::Int),
            (ArrowType::Decimal128(38, 2), DataType::Int),
            (ArrowType::Utf8, DataType::Int),
            (ArrowType::Int64, DataType::String),
            (ArrowType::Boolean, DataType::Int),
            (ArrowType::Date32, DataType::Timestamp),
            (ArrowType::Timestamp(TimeUnit::Second, None), DataType::Date),
            (ArrowType::Binary, DataType::String),
        ];
        for (found, declared) in no {
            assert!(!is_assignable(&found, declared), "{found} → {declared} was accepted");
        }
    }
}
