//! Batches in the types and the size that the rest of the platform expects.
//!
//! DuckDB answers in chunks of 2,048 rows and in types that GoogleSQL does not have (a sum of
//! integers is 128 bits wide, a timestamp has no zone). Here they become INT64, FLOAT64 and UTC
//! timestamps, in batches of the asked size.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{BatchCoalescer, CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};

use crate::{SqlError, WarehouseError};

/// What leaves the engine as INT64, FLOAT64 or a UTC timestamp.
fn output_type(found: &DataType) -> DataType {
    match found {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        // A sum of integers. No NUMERIC of the allow-list has this type.
        | DataType::Decimal128(38, 0) => DataType::Int64,
        DataType::Float32 => DataType::Float64,
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => other.clone(),
    }
}

/// The schema of batches after [`Shaper`].
pub(crate) fn output_schema(found: &Schema) -> SchemaRef {
    let fields = found
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), output_type(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn convert(column: &ArrayRef, wanted: &DataType, name: &str) -> Result<ArrayRef, WarehouseError> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    // A timestamp without a zone holds UTC already: only the label changes.
    if let (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(_, Some(zone))) =
        (column.data_type(), wanted)
    {
        let micros = column.as_primitive::<TimestampMicrosecondType>().clone();
        return Ok(Arc::new(micros.with_timezone(Arc::clone(zone))));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, wanted, &strict).map_err(|error| {
        SqlError::engine(format!("column `{name}` does not fit {wanted}: {error}")).into()
    })
}

/// Brings the columns of `batch` to `schema`, by position.
pub(crate) fn conform(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, WarehouseError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| convert(column, field.data_type(), field.name()));
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
        .map_err(|error| WarehouseError::Corrupt(error.to_string()))
}

/// Cuts a stream of small batches into batches of one size.
pub(crate) struct Shaper {
    schema: SchemaRef,
    coalescer: BatchCoalescer,
}

impl Shaper {
    /// For batches of `found`, as the engine gives them.
    pub(crate) fn new(found: &SchemaRef, batch_rows: usize) -> Self {
        Self {
            schema: output_schema(found),
            coalescer: BatchCoalescer::new(Arc::clone(found), batch_rows.max(1)),
        }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<(), WarehouseError> {
        self.coalescer.push_batch(batch).map_err(|error| WarehouseError::Corrupt(error.to_string()))
    }

    /// The next whole batch.
    pub(crate) fn next(&mut self) -> Option<Result<RecordBatch, WarehouseError>> {
        self.coalescer.next_completed_batch().map(|batch| conform(&batch, &self.schema))
    }

    /// Ends the stream: what is left becomes the last batch.
    pub(crate) fn finish(&mut self) -> Result<(), WarehouseError> {
        self.coalescer
            .finish_buffered_batch()
            .map_err(|error| WarehouseError::Corrupt(error.to_string()))
    }
}

/// Batches for the appender: timestamps take the zone label of `stored`, nothing else changes.
pub(crate) fn relabel(
    batch: &RecordBatch,
    stored: &SchemaRef,
) -> Result<RecordBatch, WarehouseError> {
    let columns = batch.columns().iter().zip(stored.fields()).map(|(column, field)| {
        match (column.data_type(), field.data_type()) {
            (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(_, zone)) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().clone();
                Ok(Arc::new(micros.with_timezone_opt(zone.clone())) as ArrayRef)
            }
            (DataType::Timestamp(..), wanted) => convert(column, wanted, field.name()),
            _ => Ok(Arc::clone(column)),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, WarehouseError>>()?;
    let fields =
        stored.fields().iter().zip(&columns).map(|(field, column)| {
            field.as_ref().clone().with_data_type(column.data_type().clone())
        });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns)
        .map_err(|error| WarehouseError::Corrupt(error.to_string()))
}
