//! Bringing a batch into the declared shape.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType as ArrowType, TimeUnit},
    error::ArrowError,
};
use cameo_domain::{Column, DataType, PredictionSchema};

use crate::types::{arrow_schema, arrow_type, is_assignable};

/// Why a batch does not fit the declared schema.
#[derive(Debug, thiserror::Error)]
pub enum ConformError {
    /// No column of that name, in any case.
    #[error("expected a column `{expected}`, found only {}", found.join(", "))]
    Missing {
        /// The declared name.
        expected: String,
        /// The names that the batch has.
        found: Vec<String>,
    },
    /// Two columns differ by case alone.
    #[error("the column `{0}` occurs twice (names are compared without case)")]
    Ambiguous(String),
    /// The types do not agree.
    #[error("column `{column}`: expected {expected}, found {found}")]
    Type {
        /// Which column.
        column: String,
        /// What the config declares.
        expected: DataType,
        /// What the batch carries.
        found: ArrowType,
    },
    /// A value does not fit the declared type, such as an unsigned integer beyond 2^63-1.
    #[error("column `{column}`: a value does not fit {expected}")]
    Value {
        /// Which column.
        column: String,
        /// What the config declares.
        expected: DataType,
        /// Which value, in Arrow's words.
        source: ArrowError,
    },
    /// Rows without a key belong into quarantine before this point.
    #[error("the key `{column}` is null in {rows} row(s)")]
    NullKey {
        /// The key column.
        column: String,
        /// How many rows.
        rows: usize,
    },
    /// Postgres cannot store the character U+0000.
    #[error("column `{column}`, row {row} of the batch: text contains a zero byte")]
    ZeroByte {
        /// Which column.
        column: String,
        /// Row in the batch, from 0.
        row: usize,
    },
    /// The columns make no batch.
    #[error("the columns do not make a batch")]
    Batch(#[source] ArrowError),
}

/// Picks the declared columns by name (without case), casts them and puts them in declared order.
pub fn conform(
    batch: &RecordBatch,
    schema: &PredictionSchema,
) -> Result<RecordBatch, ConformError> {
    let target = arrow_schema(schema);
    if batch.schema_ref().fields() == target.fields() {
        check_texts(batch.columns(), schema)?;
        return RecordBatch::try_new(target, batch.columns().to_vec()).map_err(ConformError::Batch);
    }
    let columns = schema
        .columns()
        .map(|column| declared_column(batch, column))
        .collect::<Result<Vec<_>, _>>()?;
    let null_keys = columns[0].null_count();
    if null_keys > 0 {
        let column = schema.key().name.to_string();
        return Err(ConformError::NullKey { column, rows: null_keys });
    }
    check_texts(&columns, schema)?;
    RecordBatch::try_new(target, columns).map_err(ConformError::Batch)
}

fn declared_column(batch: &RecordBatch, column: &Column) -> Result<ArrayRef, ConformError> {
    let name = column.name.as_str();
    let fields = batch.schema_ref().fields();
    let mut hits = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name().eq_ignore_ascii_case(name))
        .map(|(index, _)| index);
    let index = hits.next().ok_or_else(|| ConformError::Missing {
        expected: name.to_owned(),
        found: fields.iter().map(|field| format!("`{}`", field.name())).collect(),
    })?;
    if hits.next().is_some() {
        return Err(ConformError::Ambiguous(name.to_owned()));
    }
    cast(batch.column(index), column)
}

fn cast(array: &ArrayRef, column: &Column) -> Result<ArrayRef, ConformError> {
    let (found, declared) = (array.data_type(), column.data_type);
    let target = arrow_type(declared);
    if *found == target {
        return Ok(Arc::clone(array));
    }
    if !is_assignable(found, declared) {
        return Err(ConformError::Type {
            column: column.name.to_string(),
            expected: declared,
            found: found.clone(),
        });
    }
    let wrong = |source| ConformError::Value {
        column: column.name.to_string(),
        expected: declared,
        source,
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if declared != DataType::Timestamp {
        return cast_with_options(array, &target, &strict).map_err(wrong);
    }
    // An Arrow timestamp with a zone counts from the epoch in UTC, so the zone is a mere label.
    let bare = ArrowType::Timestamp(TimeUnit::Microsecond, None);
    let micros = cast_with_options(array, &bare, &strict).map_err(wrong)?;
    let micros = micros.as_any().downcast_ref::<TimestampMicrosecondArray>().ok_or_else(|| {
        wrong(ArrowError::CastError(format!("{found} did not become a timestamp")))
    })?;
    Ok(Arc::new(micros.clone().with_timezone("UTC")))
}

fn check_texts(columns: &[ArrayRef], schema: &PredictionSchema) -> Result<(), ConformError> {
    for (array, column) in columns.iter().zip(schema.columns()) {
        let Some(texts) = array.as_any().downcast_ref::<StringArray>() else { continue };
        let (Some(first), Some(last)) = (texts.offsets().first(), texts.offsets().last()) else {
            continue;
        };
        let (first, last) = (usize::try_from(*first), usize::try_from(*last));
        let (Ok(first), Ok(last)) = (first, last) else { continue };
        // One scan over the shared buffer; rows are looked at only when it has a hit.
        if !texts.values().as_slice()[first..last].contains(&0) {
            continue;
        }
        let hit = texts.iter().position(|text| text.is_some_and(|text| text.contains('\0')));
        if let Some(row) = hit {
            return Err(ConformError::ZeroByte { column: column.name.to_string(), row });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            Decimal128Array, Float32Array, Int32Array, LargeStringArray, TimestampSecondArray,
            UInt64Array,
        },
        datatypes::{Field, Schema},
    };

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> PredictionSchema {
        let columns = columns.iter().map(|(name, data_type)| Column {
            name: name.parse().expect("a column name"),
            data_type: *data_type,
        });
        PredictionSchema::new(columns.collect()).expect("a schema")
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields = columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect::<Vec<_>>();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch")
    }

    #[test]
    fn columns_are_found_by_name_cast_and_reordered() {
        let declared = schema(&[
            ("user_id", DataType::Int),
            ("score", DataType::Float64),
            ("tier", DataType::String),
            ("seen_at", DataType::Timestamp),
            ("total", DataType::Int),
        ]);
        let given = batch(vec![
            ("TIER", Arc::new(LargeStringArray::from(vec![Some("Low"), None]))),
            ("unused", Arc::new(Int32Array::from(vec![1, 2]))),
            ("score", Arc::new(Float32Array::from(vec![0.5, 0.25]))),
            ("User_Id", Arc::new(Int32Array::from(vec![7, 8]))),
            (
                "seen_at",
                Arc::new(TimestampSecondArray::from(vec![1, 2]).with_timezone("Asia/Tokyo")),
            ),
            (
                "total",
                Arc::new(
                    Decimal128Array::from(vec![5, 6])
                        .with_precision_and_scale(38, 0)
                        .expect("a decimal"),
                ),
            ),
        ]);
        let conformed = conform(&given, &declared).expect("a conformed batch");
        assert_eq!(conformed.schema(), arrow_schema(&declared));
        let seen = conformed.column(3).as_any().downcast_ref::<TimestampMicrosecondArray>();
        assert_eq!(seen.expect("timestamps").values().as_ref(), [1_000_000, 2_000_000]);
        assert_eq!(conform(&conformed, &declared).expect("the same batch"), conformed);
    }

    #[test]
    fn what_does_not_fit_names_the_column() {
        let declared = schema(&[("id", DataType::Int), ("score", DataType::Float64)]);
        let scores: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 2.0]));
        let missing = batch(vec![("score", Arc::clone(&scores))]);
        let error = conform(&missing, &declared).expect_err("no key");
        assert_eq!(error.to_string(), "expected a column `id`, found only `score`");
        let twice = batch(vec![("id", Arc::clone(&scores)), ("ID", Arc::clone(&scores))]);
        assert!(matches!(conform(&twice, &declared), Err(ConformError::Ambiguous(_))));
        let float_key = batch(vec![("id", Arc::clone(&scores)), ("score", Arc::clone(&scores))]);
        assert!(matches!(conform(&float_key, &declared), Err(ConformError::Type { .. })));
        let big: ArrayRef = Arc::new(UInt64Array::from(vec![1, u64::MAX]));
        let too_big = batch(vec![("id", big), ("score", Arc::clone(&scores))]);
        assert!(matches!(conform(&too_big, &declared), Err(ConformError::Value { .. })));
        let keyless: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let null_key = batch(vec![("id", keyless), ("score", scores)]);
        assert!(matches!(
            conform(&null_key, &declared),
            Err(ConformError::NullKey { rows: 1, .. })
        ));
    }

    #[test]
    fn a_zero_byte_in_a_text_is_found() {
        let declared = schema(&[("id", DataType::String), ("score", DataType::Float64)]);
        let given = batch(vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b\0c"]))),
            ("score", Arc::new(Float32Array::from(vec![1.0, 2.0]))),
        ]);
        assert!(matches!(conform(&given, &declared), Err(ConformError::ZeroByte { row: 1, .. })));
    }
}
