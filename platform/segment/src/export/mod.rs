//! Sorted rows as bytes that other programs take: NDJSON, CSV, Parquet, an Arrow stream, and what
//! [Braze](crate::braze) imports.
//!
//! An [`Export`] is pulled piece by piece and holds one batch and one piece at a time, so its memory
//! does not grow with the members, and whoever pulls slowly slows it down.

mod calendar;
mod compress;
mod encoder;
mod format;
mod text;
mod values;

pub use format::{Compression, Format, FormatError};
pub(crate) use values::Values;

use std::io;

use arrow::{datatypes::SchemaRef, error::ArrowError, record_batch::RecordBatch};
use cameo_domain::SegmentName;
use chrono::{DateTime, Utc};
use encoder::Encoder;
use parquet::errors::ParquetError;

use crate::{
    braze::{Braze, BrazeError},
    changes::ChangesError,
    membership::MembershipError,
};

/// Why an export cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The members cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// Two materialisations cannot be compared.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// Braze cannot take the attributes.
    #[error(transparent)]
    Braze(#[from] BrazeError),
    /// A column of a type that no prediction has.
    #[error("column `{column}`: expected a type of predictions, found {found}")]
    Type {
        /// Which column.
        column: String,
        /// What it holds.
        found: arrow::datatypes::DataType,
    },
    /// A day or an instant that no calendar date can be given for.
    #[error("{0} since 1970-01-01 is beyond the dates that can be written")]
    Date(String),
    /// Arrow refuses the rows.
    #[error("the rows cannot be written as Arrow")]
    Arrow(#[from] ArrowError),
    /// Parquet refuses the rows.
    #[error("the rows cannot be written as Parquet")]
    Parquet(#[from] ParquetError),
    /// The compressor failed.
    #[error("the rows cannot be compressed")]
    Compress(#[from] io::Error),
    /// A value cannot be written as JSON.
    #[error("a value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What an export is to be.
#[derive(Debug, Clone)]
pub struct Target {
    /// In which format.
    pub format: Format,
    /// How compressed.
    pub compression: Compression,
    /// Of which segment.
    pub segment: SegmentName,
    /// As of when the members are members.
    pub as_of: DateTime<Utc>,
}

/// The bytes of an export, piece by piece: an iterator that ends after the last one, or after the first
/// error.
pub struct Export<I> {
    rows: I,
    encoder: Option<Encoder>,
    braze: Option<Braze>,
    /// What of the current batch is not encoded yet.
    rest: Option<RecordBatch>,
    piece_rows: usize,
}

impl<I, E> Export<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    ExportError: From<E>,
{
    /// Begins to write `rows`, which all have `schema`.
    pub fn begin(rows: I, schema: &SchemaRef, target: &Target) -> Result<Self, ExportError> {
        let Target { format, compression, segment, as_of } = target;
        let for_braze = format.is_braze().then(|| Braze::new(schema, segment, *as_of));
        let braze = for_braze.transpose()?;
        let schema = braze.as_ref().map_or(schema, Braze::schema);
        let encoder = Some(Encoder::begin(schema, *format, *compression)?);
        Ok(Self { rows, encoder, braze, rest: None, piece_rows: format.piece_rows() })
    }

    fn piece(&mut self, encoder: &mut Encoder) -> Result<Option<Vec<u8>>, ExportError> {
        loop {
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.rows.next() {
                    Some(batch) => batch?,
                    None => return Ok(None),
                },
            };
            let rows = batch.num_rows().min(self.piece_rows);
            if rows < batch.num_rows() {
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            }
            let piece = batch.slice(0, rows);
            match &self.braze {
                None => encoder.write(&piece)?,
                Some(braze) => encoder.write(&braze.rows(&piece)?)?,
            }
            let bytes = encoder.take();
            // A compressor, or a group of rows, may hold them back.
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

impl<I, E> Iterator for Export<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    ExportError: From<E>,
{
    type Item = Result<Vec<u8>, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut encoder = self.encoder.take()?;
        match self.piece(&mut encoder) {
            Ok(Some(bytes)) => {
                self.encoder = Some(encoder);
                Some(Ok(bytes))
            }
            Ok(None) => Some(encoder.finish()),
            Err(error) => Some(Err(error)),
        }
    }
}
