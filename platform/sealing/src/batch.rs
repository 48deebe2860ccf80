//! Sealing the sensitive columns of whole batches.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder},
    datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use cameo_batch::{arrow_schema, arrow_type};
use cameo_domain::{DataType, PredictionSchema, SensitiveColumn};

use crate::{
    place::{self, RowKey},
    seal::{SealError, Sealer},
};

/// Bytes of a sealed number: prefix, then version, nonce, value and tag in base64.
const SEALED_BYTES_GUESS: usize = 68;

impl Sealer {
    /// A batch of `schema` with opened types, as it is kept: the sensitive columns sealed.
    pub fn seal_batch(
        &self,
        batch: &RecordBatch,
        schema: &PredictionSchema,
    ) -> Result<RecordBatch, SealError> {
        let mut columns = batch.columns().to_vec();
        for sensitive in schema.sensitive() {
            // The key stands before the predictions.
            columns[sensitive.at + 1] = self.seal_column(batch, schema, sensitive)?;
        }
        RecordBatch::try_new(arrow_schema(schema), columns).map_err(SealError::Batch)
    }

    fn seal_column(
        &self,
        batch: &RecordBatch,
        schema: &PredictionSchema,
        sensitive: SensitiveColumn<'_>,
    ) -> Result<ArrayRef, SealError> {
        let values = batch.column(sensitive.at + 1);
        if *values.data_type() != arrow_type(sensitive.data_type) {
            return Err(SealError::Type {
                column: sensitive.name.to_string(),
                expected: sensitive.data_type,
                found: values.data_type().clone(),
            });
        }
        let rows = batch.num_rows();
        let ranks = schema.top_n().map(|_| batch.column(1).as_primitive::<Int64Type>());
        let mut sealed = StringBuilder::with_capacity(rows, rows * SEALED_BYTES_GUESS);
        let (mut at, mut value, mut text) = (Vec::new(), Vec::new(), String::new());
        let mut nonces = self.nonces()?;
        for row in 0..rows {
            let rank = ranks.map(|ranks| ranks.value(row));
            place::write(&mut at, sensitive.name.as_str(), key_at(batch.column(0), row), rank);
            write_value(&mut value, values, sensitive.data_type, row);
            self.seal(nonces.take(), &at, &mut value, &mut text)?;
            sealed.append_value(&text);
        }
        Ok(Arc::new(sealed.finish()))
    }
}

fn key_at(keys: &ArrayRef, row: usize) -> RowKey<'_> {
    match keys.as_string_opt::<i32>() {
        Some(texts) => RowKey::Text(texts.value(row)),
        None => RowKey::Int(keys.as_primitive::<Int64Type>().value(row)),
    }
}

/// A value as it is sealed: whether there is one, then its bytes, as many for a null as for a value of a
/// type of fixed width.
fn write_value(to: &mut Vec<u8>, values: &ArrayRef, declared: DataType, row: usize) {
    let present = values.is_valid(row);
    to.clear();
    to.push(u8::from(present));
    match declared {
        DataType::Int => {
            fixed(to, present, values.as_primitive::<Int64Type>().value(row).to_be_bytes());
        }
        DataType::Float64 => {
            let bits = values.as_primitive::<Float64Type>().value(row).to_bits();
            fixed(to, present, bits.to_be_bytes());
        }
        DataType::Timestamp => {
            let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
            fixed(to, present, micros.to_be_bytes());
        }
        DataType::Date => {
            fixed(to, present, values.as_primitive::<Date32Type>().value(row).to_be_bytes());
        }
        DataType::Bool => fixed(to, present, [u8::from(values.as_boolean().value(row))]),
        DataType::String | DataType::Json => {
            if present {
                to.extend_from_slice(values.as_string::<i32>().value(row).as_bytes());
            }
        }
    }
}

/// What lies below a null is nobody's value, and not sealed.
fn fixed<const N: usize>(to: &mut Vec<u8>, present: bool, bytes: [u8; N]) {
    to.extend_from_slice(if present { &bytes } else { &[0; N] });
}
