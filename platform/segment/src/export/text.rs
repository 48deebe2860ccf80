//! Rows as lines of text.

use arrow::{datatypes::Schema, record_batch::RecordBatch};

use super::{
    ExportError,
    values::{Values, write_field},
};

/// Rows as JSON objects, each on its line.
pub(super) struct JsonRows {
    /// What stands before the value of each column.
    before: Vec<Vec<u8>>,
}

impl JsonRows {
    pub(super) fn new(schema: &Schema) -> Result<Self, ExportError> {
        let before = schema.fields().iter().enumerate().map(|(at, field)| {
            let mut before = vec![if at == 0 { b'{' } else { b',' }];
            serde_json::to_writer(&mut before, field.name())?;
            before.push(b':');
            Ok(before)
        });
        Ok(Self { before: before.collect::<Result<_, ExportError>>()? })
    }

    pub(super) fn write(&self, batch: &RecordBatch, to: &mut Vec<u8>) -> Result<(), ExportError> {
        let columns = columns(batch)?;
        for row in 0..batch.num_rows() {
            for (before, values) in self.before.iter().zip(&columns) {
                to.extend_from_slice(before);
                values.write_json(row, to)?;
            }
            to.extend_from_slice(b"}\n");
        }
        Ok(())
    }
}

/// Rows as lines of comma-separated values.
pub(super) struct CsvRows {
    header: Vec<u8>,
}

impl CsvRows {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut header = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if at > 0 {
                header.push(b',');
            }
            write_field(field.name(), &mut header);
        }
        header.extend_from_slice(b"\r\n");
        Self { header }
    }

    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    #[expect(clippy::unused_self, reason = "rows belong to a header")]
    pub(super) fn write(&self, batch: &RecordBatch, to: &mut Vec<u8>) -> Result<(), ExportError> {
        let columns = columns(batch)?;
        for row in 0..batch.num_rows() {
            for (at, values) in columns.iter().enumerate() {
                if at > 0 {
                    to.push(b',');
                }
                values.write_csv(row, to)?;
            }
            to.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

fn columns(batch: &RecordBatch) -> Result<Vec<Values<'_>>, ExportError> {
    let fields = batch.schema_ref().fields();
    fields
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| Values::of(field.name(), column))
        .collect()
}
