//! Writing a snapshot from rows that come in order.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::BatchCoalescer,
    datatypes::Int64Type,
    ipc::{
        MetadataVersion,
        writer::{FileWriter, IpcWriteOptions},
    },
};
use cameo_batch::arrow_schema;
use cameo_domain::{DataType, GenerationId, PredictionSchema, Sha256};
use sha2::Digest;

use crate::{
    ALIGNMENT, BATCH_ROWS, FORMAT, FORMAT_VERSION, GENERATION, INDEX_OFFSET, INDEX_SLOTS, SCHEMA,
    SnapshotError,
    index::{self, Entry, ROWS_MAX},
};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Hashes and counts what passes through on its way to a file.
#[derive(Debug)]
pub struct Digesting<W> {
    inner: W,
    hasher: sha2::Sha256,
    bytes: u64,
}

impl<W: Write> Digesting<W> {
    /// Hashes and counts what goes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), bytes: 0 }
    }

    /// How much has passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what has passed, and where it went.
    pub fn finish(self) -> (Sha256, W) {
        (<[u8; 32]>::from(self.hasher.finalize()).into(), self.inner)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A snapshot that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The digest of the file.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: u64,
    /// How many rows it has.
    pub rows: usize,
    /// How many keys: fewer than rows where the service ranks.
    pub keys: usize,
}

/// Writes the rows of a generation to a file, in the order of their keys.
///
/// Beside two batches it holds 8 bytes for each key, and while it finishes 6 to 12 more for the index.
pub struct SnapshotWriter {
    path: PathBuf,
    schema: PredictionSchema,
    generation: GenerationId,
    file: FileWriter<Digesting<BufWriter<File>>>,
    batches: BatchCoalescer,
    /// Each key of a batch that was written, with its first row.
    entries: Vec<Entry>,
    rows: usize,
    last: Option<Name>,
}

/// What names a row: key, and rank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Int(i64, i64),
    Text(String, i64),
}

impl SnapshotWriter {
    /// Begins the file of a generation at `path`, where none may be.
    pub fn create(
        path: &Path,
        schema: &PredictionSchema,
        generation: GenerationId,
    ) -> Result<Self, SnapshotError> {
        let file = File::create_new(path).map_err(|source| SnapshotError::Io {
            path: path.into(),
            doing: "create",
            source,
        })?;
        let arrow = arrow_schema(schema);
        let sink = Digesting::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        Ok(Self {
            path: path.into(),
            schema: schema.clone(),
            generation,
            file: FileWriter::try_new_with_options(sink, &arrow, options)?,
            batches: BatchCoalescer::new(arrow, BATCH_ROWS),
            entries: Vec::new(),
            rows: 0,
            last: None,
        })
    }

    /// Adds rows in the declared columns. They follow the rows before in the order of their keys: `INT` by
    /// value, `STRING` by its bytes; of a service that ranks, then by rank.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), SnapshotError> {
        if self.rows + batch.num_rows() >= ROWS_MAX {
            return Err(SnapshotError::TooManyRows { limit: ROWS_MAX - 1 });
        }
        self.index(batch)?;
        self.rows += batch.num_rows();
        self.batches.push_batch(batch.clone())?;
        self.write_whole()
    }

    fn write_whole(&mut self) -> Result<(), SnapshotError> {
        while let Some(whole) = self.batches.next_completed_batch() {
            self.file.write(&whole)?;
        }
        Ok(())
    }

    /// Notes where each key begins, and that the order holds.
    fn index(&mut self, batch: &RecordBatch) -> Result<(), SnapshotError> {
        let rows = batch.num_rows();
        let key = batch.column(0);
        let ranks = self.schema.top_n().map(|_| batch.column(1).as_primitive::<Int64Type>());
        let rank = |row: usize| ranks.map_or(0, |ranks| ranks.value(row));
        self.entries.reserve(if ranks.is_some() { 0 } else { rows });
        if self.schema.key().data_type == DataType::Int {
            let keys = key.as_primitive::<Int64Type>().values();
            let mut last = match self.last {
                Some(Name::Int(key, rank)) => Some((key, rank)),
                _ => None,
            };
            for (row, key) in keys.iter().enumerate() {
                let next = (*key, rank(row));
                self.enter(row, last.as_ref(), &next, index::hash_int)?;
                last = Some(next);
            }
            self.last = last.map(|(key, rank)| Name::Int(key, rank));
        } else {
            let keys = key.as_string::<i32>();
            let before = self.last.take();
            let mut last = match &before {
                Some(Name::Text(key, rank)) => Some((key.as_str(), *rank)),
                _ => None,
            };
            for row in 0..rows {
                let next = (keys.value(row), rank(row));
                self.enter(row, last.as_ref(), &next, index::hash_text)?;
                last = Some(next);
            }
            self.last = last.map(|(key, rank)| Name::Text(key.to_owned(), rank));
        }
        Ok(())
    }

    /// Enters a row of the batch, unless it is a further one of its key.
    fn enter<K: Ord + Copy>(
        &mut self,
        row: usize,
        last: Option<&(K, i64)>,
        next: &(K, i64),
        hash: impl Fn(K) -> u32,
    ) -> Result<(), SnapshotError> {
        let row = self.rows + row;
        if last.is_some_and(|last| last >= next) {
            return Err(SnapshotError::OutOfOrder { row });
        }
        if last.is_none_or(|last| last.0 != next.0) {
            let number = u32::try_from(row)
                .map_err(|_| SnapshotError::TooManyRows { limit: ROWS_MAX - 1 })?;
            self.entries.push(Entry { hash: hash(next.0), row: number });
        }
        Ok(())
    }

    /// Writes the last rows, the index and the footer.
    pub fn finish(mut self) -> Result<Written, SnapshotError> {
        self.batches.finish_buffered_batch()?;
        self.write_whole()?;
        let keys = self.entries.len();
        let table = index::build(&self.entries)?;
        drop(std::mem::take(&mut self.entries));
        let schema = serde_json::to_string(&self.schema)
            .map_err(|error| arrow::error::ArrowError::ExternalError(Box::new(error)))?;
        let path = self.path;
        let failed = |source| SnapshotError::Io { path: path.clone(), doing: "write", source };
        // Behind the last batch and before the footer: readers find batches by the footer alone.
        let sink = self.file.get_mut();
        let padding = sink.bytes().next_multiple_of(ALIGNMENT as u64) - sink.bytes();
        let padding = &[0; ALIGNMENT][..usize::try_from(padding).unwrap_or(0)];
        sink.write_all(padding).map_err(failed)?;
        let offset = sink.bytes();
        index::write(&table, sink).map_err(failed)?;
        for (name, value) in [
            (FORMAT, FORMAT_VERSION.to_owned()),
            (GENERATION, self.generation.to_string()),
            (SCHEMA, schema),
            (INDEX_OFFSET, offset.to_string()),
            (INDEX_SLOTS, table.len().to_string()),
        ] {
            self.file.write_metadata(name, value);
        }
        self.file.finish()?;
        let sink = self.file.into_inner()?;
        let bytes = sink.bytes();
        let (sha256, file) = sink.finish();
        file.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Written { sha256, bytes, rows: self.rows, keys })
    }
}
