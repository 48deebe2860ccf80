//! Postgres' binary COPY format as Arrow batches.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch,
        StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::SchemaRef,
};
use cameo_batch::arrow_schema;
use cameo_domain::{DataType, PredictionSchema};

use super::rows::BATCH_ROWS;
use crate::StoreError;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of the header extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// Days from 1970-01-01, Arrow's first day, to 2000-01-01, Postgres' first day.
const EPOCH_DAYS: i32 = 10_957;
/// The same distance in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The field count that stands for the end.
const END: i16 = -1;

enum Column {
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Column {
    fn new(declared: DataType) -> Self {
        match declared {
            DataType::Int => Self::Int(Int64Builder::with_capacity(BATCH_ROWS)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(BATCH_ROWS)),
            DataType::String | DataType::Json => Self::Text(StringBuilder::new()),
            DataType::Bool => Self::Bool(BooleanBuilder::with_capacity(BATCH_ROWS)),
            DataType::Date => Self::Date(Date32Builder::with_capacity(BATCH_ROWS)),
            DataType::Timestamp => Self::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(BATCH_ROWS).with_timezone("UTC"),
            ),
        }
    }

    /// Appends a field; `None` is null.
    fn append(&mut self, field: Option<&[u8]>) -> Result<(), StoreError> {
        match self {
            Self::Int(builder) => builder.append_option(eight(field)?.map(i64::from_be_bytes)),
            Self::Float(builder) => builder.append_option(eight(field)?.map(f64::from_be_bytes)),
            Self::Timestamp(builder) => builder.append_option(
                eight(field)?.map(|bytes| i64::from_be_bytes(bytes).wrapping_add(EPOCH_MICROS)),
            ),
            Self::Date(builder) => {
                let days = field.map(array::<4>).transpose()?.map(i32::from_be_bytes);
                builder.append_option(days.map(|days| days.wrapping_add(EPOCH_DAYS)));
            }
            Self::Bool(builder) => {
                let byte = field.map(array::<1>).transpose()?;
                builder.append_option(byte.map(|byte| byte != [0]));
            }
            Self::Text(builder) => {
                let text = field.map(std::str::from_utf8).transpose();
                builder.append_option(text.map_err(|_| malformed("text that is not UTF-8"))?);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Collects rows until they make a batch. The chunks of the stream may end anywhere.
pub(super) struct Decoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    pending: Vec<u8>,
    rows: usize,
    header_read: bool,
    ended: bool,
}

impl Decoder {
    pub(super) fn new(schema: &PredictionSchema) -> Self {
        Self {
            schema: arrow_schema(schema),
            columns: schema.columns().map(|column| Column::new(column.data_type)).collect(),
            pending: Vec::new(),
            rows: 0,
            header_read: false,
            ended: false,
        }
    }

    /// Rows that wait to become a batch.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            let used = self.take(bytes)?;
            self.pending.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let used = self.take(&pending)?;
        pending.drain(..used);
        self.pending = pending;
        Ok(())
    }

    /// Checks that the stream ended where it should.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        if self.ended && self.pending.is_empty() { Ok(()) } else { Err(malformed("an early end")) }
    }

    /// The rows so far, as a batch.
    pub(super) fn batch(&mut self) -> Result<RecordBatch, StoreError> {
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| StoreError::Schema(error.to_string()))
    }

    /// Reads all whole rows; gives how many bytes they take.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, StoreError> {
        let mut used = 0;
        if !self.header_read {
            if bytes.len() < HEADER_BYTES {
                return Ok(0);
            }
            if !bytes.starts_with(SIGNATURE) {
                return Err(malformed("no signature"));
            }
            used = HEADER_BYTES;
            self.header_read = true;
        }
        while !self.ended {
            let Some(count) = bytes.get(used..used + 2) else { break };
            let count = i16::from_be_bytes(array(count)?);
            if count == END {
                self.ended = true;
                used += 2;
                break;
            }
            if usize::try_from(count) != Ok(self.columns.len()) {
                return Err(malformed("another number of columns"));
            }
            let Some(length) = row_bytes(&bytes[used + 2..], self.columns.len())? else { break };
            let mut row = &bytes[used + 2..used + 2 + length];
            for column in &mut self.columns {
                let (size, rest) = row.split_at(4);
                let size = usize::try_from(i32::from_be_bytes(array(size)?)).ok();
                let (field, rest) = rest.split_at(size.unwrap_or(0));
                column.append(size.map(|_| field))?;
                row = rest;
            }
            self.rows += 1;
            used += 2 + length;
        }
        Ok(used)
    }
}

/// Bytes that the fields of a row take, when all of them have arrived.
fn row_bytes(bytes: &[u8], fields: usize) -> Result<Option<usize>, StoreError> {
    let mut length = 0;
    for _ in 0..fields {
        let Some(size) = bytes.get(length..length + 4) else { return Ok(None) };
        length += 4;
        // A negative size is null.
        length += usize::try_from(i32::from_be_bytes(array(size)?)).unwrap_or(0);
    }
    Ok((bytes.len() >= length).then_some(length))
}

fn eight(field: Option<&[u8]>) -> Result<Option<[u8; 8]>, StoreError> {
    field.map(array::<8>).transpose()
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| malformed("a field of another size"))
}

fn malformed(found: &str) -> StoreError {
    StoreError::Schema(format!("expected rows of the generation in binary form, found {found}"))
}
