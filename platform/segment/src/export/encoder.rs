//! Rows to bytes.

use std::{io::Write, sync::Arc};

use arrow::{datatypes::SchemaRef, ipc::writer::StreamWriter, record_batch::RecordBatch};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as ParquetCompression, ZstdLevel},
    file::properties::WriterProperties,
};

use super::{
    Compression, ExportError, Format,
    compress::Sink,
    text::{CsvRows, JsonRows},
};

/// Rows of a group of a Parquet file: what a reader skips or reads at once, and what the writer holds.
const PARQUET_GROUP_ROWS: usize = 131_072;

/// Writes batches of one schema in one format.
pub(super) struct Encoder {
    shape: Shape,
}

enum Shape {
    Json { rows: JsonRows, text: Vec<u8>, sink: Sink },
    Csv { rows: CsvRows, text: Vec<u8>, sink: Sink },
    Parquet(Box<ArrowWriter<Sink>>),
    Arrow(Box<StreamWriter<Sink>>),
}

impl Encoder {
    /// Begins the bytes; a header is written even where no row follows.
    pub(super) fn begin(
        schema: &SchemaRef,
        format: Format,
        compression: Compression,
    ) -> Result<Self, ExportError> {
        let shape = match format {
            Format::Ndjson | Format::Braze => Shape::Json {
                rows: JsonRows::new(schema)?,
                text: Vec::new(),
                sink: Sink::new(compression)?,
            },
            Format::Csv | Format::BrazeCsv => {
                let mut sink = Sink::new(compression)?;
                let rows = CsvRows::new(schema);
                sink.write_all(rows.header())?;
                Shape::Csv { rows, text: Vec::new(), sink }
            }
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(PARQUET_GROUP_ROWS))
                    .build();
                let sink = Sink::new(Compression::None)?;
                let schema = Arc::clone(schema);
                Shape::Parquet(Box::new(ArrowWriter::try_new(sink, schema, Some(properties))?))
            }
            Format::Arrow => {
                let sink = Sink::new(compression)?;
                Shape::Arrow(Box::new(StreamWriter::try_new(sink, schema)?))
            }
        };
        Ok(Self { shape })
    }

    /// Writes rows after those before.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        match &mut self.shape {
            Shape::Json { rows, text, sink } => {
                rows.write(batch, text)?;
                pour(text, sink)
            }
            Shape::Csv { rows, text, sink } => {
                rows.write(batch, text)?;
                pour(text, sink)
            }
            Shape::Parquet(writer) => Ok(writer.write(batch)?),
            Shape::Arrow(writer) => Ok(writer.write(batch)?),
        }
    }

    /// The bytes that are ready since the last call; possibly none.
    pub(super) fn take(&mut self) -> Vec<u8> {
        match &mut self.shape {
            Shape::Json { sink, .. } | Shape::Csv { sink, .. } => sink.take(),
            Shape::Parquet(writer) => writer.inner_mut().take(),
            Shape::Arrow(writer) => writer.get_mut().take(),
        }
    }

    /// The last bytes.
    pub(super) fn finish(self) -> Result<Vec<u8>, ExportError> {
        let sink = match self.shape {
            Shape::Json { sink, .. } | Shape::Csv { sink, .. } => sink,
            Shape::Parquet(writer) => writer.into_inner()?,
            Shape::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
        };
        Ok(sink.finish()?)
    }
}

/// Hands text on; without a compressor the buffer itself goes, not a copy.
fn pour(text: &mut Vec<u8>, sink: &mut Sink) -> Result<(), ExportError> {
    match sink {
        Sink::Plain(bytes) if bytes.is_empty() => std::mem::swap(bytes, text),
        sink => sink.write_all(text)?,
    }
    text.clear();
    Ok(())
}
