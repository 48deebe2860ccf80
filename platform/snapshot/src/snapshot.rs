//! A snapshot that is open: rows in order, and the row of a key.

use std::{ops::Range, path::Path};

use arrow::{
    array::{AsArray, RecordBatch, StringArray},
    buffer::ScalarBuffer,
    datatypes::Int64Type,
};
use cameo_batch::arrow_schema;
use cameo_domain::{DataType, GenerationId, KeyRef, PredictionSchema, Sha256};

use crate::{
    BATCH_ROWS, BATCH_ROWS_LOG2, Cell, FORMAT, FORMAT_VERSION, GENERATION, INDEX_OFFSET,
    INDEX_SLOTS, MappedFile, SCHEMA, SnapshotError,
    cell::Column,
    index::{self, Index},
};

/// A generation in mapped memory.
#[derive(Debug)]
pub struct Snapshot {
    file: MappedFile,
    schema: PredictionSchema,
    generation: GenerationId,
    rows: usize,
    keys: Keys,
    /// The columns of each batch.
    columns: Vec<Vec<Column>>,
    index: Index,
}

/// The keys of each batch.
#[derive(Debug)]
enum Keys {
    Int(Vec<ScalarBuffer<i64>>),
    Text(Vec<StringArray>),
}

impl Snapshot {
    /// Opens the file at `path`, whose content must have the digest `expected`. It reads the whole file.
    pub fn open(path: &Path, expected: &Sha256) -> Result<Self, SnapshotError> {
        let file = MappedFile::open(path, expected)?;
        Self::read(file).map_err(|(expected, found)| SnapshotError::NotASnapshot {
            path: path.into(),
            expected,
            found,
        })
    }

    /// Finds rows and index; the error says what was expected and what is there instead.
    fn read(file: MappedFile) -> Result<Self, (&'static str, String)> {
        let text = |name: &str| file.metadata().get(name).map_or("", String::as_str);
        if text(FORMAT) != FORMAT_VERSION {
            return Err(("version 1 of the layout", format!("`{}`", text(FORMAT))));
        }
        let schema: PredictionSchema = serde_json::from_str(text(SCHEMA))
            .map_err(|error| ("the declared columns", error.to_string()))?;
        if file.schema().fields() != arrow_schema(&schema).fields() {
            return Err(("the declared columns", format!("{:?}", file.schema().fields())));
        }
        let generation = text(GENERATION)
            .parse()
            .map_err(|_| ("a generation's number", format!("`{}`", text(GENERATION))))?;
        let batches = file.batches();
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let all_but_last = batches.split_last().map_or(batches, |(_, full)| full);
        if all_but_last.iter().any(|batch| batch.num_rows() != BATCH_ROWS)
            || batches.iter().any(|batch| batch.num_rows() > BATCH_ROWS)
        {
            return Err(("batches of 16,384 rows", "others".to_owned()));
        }
        let slots = slots(&file, text(INDEX_OFFSET), text(INDEX_SLOTS));
        let index = slots.and_then(|slots| Index::new(slots, rows)).ok_or_else(|| {
            ("an index over the rows", format!("{} at {}", text(INDEX_SLOTS), text(INDEX_OFFSET)))
        })?;
        let key = batches.iter().map(|batch| batch.column(0));
        let keys = match schema.key().data_type {
            DataType::Int => {
                Keys::Int(key.map(|key| key.as_primitive::<Int64Type>().values().clone()).collect())
            }
            _ => Keys::Text(key.map(|key| key.as_string().clone()).collect()),
        };
        let columns = batches.iter().map(|batch| Column::of(batch, &schema)).collect();
        Ok(Self { file, schema, generation, rows, keys, columns, index })
    }

    /// The declared columns.
    #[must_use]
    pub fn schema(&self) -> &PredictionSchema {
        &self.schema
    }

    /// Which generation it is.
    #[must_use]
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How large its file is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// All rows in the order of their keys (`INT` by value, `STRING` by its bytes; then by rank, where the service
    /// ranks), in the declared columns as [`arrow_schema`] says. All batches but the last have
    /// [`BATCH_ROWS`] rows.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        self.file.batches()
    }

    /// The rows of a key, counted from 0 in the order of the file: one, or of a service that ranks one for
    /// each rank. None where the key is unknown, or of another type than the service's keys.
    #[must_use]
    pub fn find(&self, key: KeyRef<'_>) -> Option<Range<usize>> {
        match key {
            KeyRef::Int(key) => self.find_int(key),
            KeyRef::Text(key) => self.find_text(key),
        }
    }

    /// [`Self::find`] for a key declared `INT`.
    #[must_use]
    pub fn find_int(&self, key: i64) -> Option<Range<usize>> {
        let Keys::Int(keys) = &self.keys else { return None };
        let is_key = |row| {
            let (batch, row) = place(row);
            keys[batch][row] == key
        };
        let first = self.index.find(index::hash_int(key), is_key)?;
        Some(first..self.end_of(first, is_key))
    }

    /// [`Self::find`] for a key declared `STRING`.
    #[must_use]
    pub fn find_text(&self, key: &str) -> Option<Range<usize>> {
        let Keys::Text(keys) = &self.keys else { return None };
        let is_key = |row| {
            let (batch, row) = place(row);
            keys[batch].value(row) == key
        };
        let first = self.index.find(index::hash_text(key), is_key)?;
        Some(first..self.end_of(first, is_key))
    }

    fn end_of(&self, first: usize, is_key: impl Fn(usize) -> bool) -> usize {
        let mut end = first + 1;
        if self.schema.top_n().is_some() {
            while end < self.rows && is_key(end) {
                end += 1;
            }
        }
        end
    }

    /// The value of a row in a column, both from 0; the first column is the key.
    ///
    /// # Panics
    /// Where there is no such row or column.
    #[must_use]
    pub fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let (batch, row) = place(row);
        self.columns[batch][column].cell(row)
    }

    /// Brings the predictions of many rows into the processor's caches. A loop that does nothing else waits for
    /// many reads of memory at once, while one that writes each row waits for them one by one.
    pub fn preload(&self, rows: impl Iterator<Item = Range<usize>>) {
        let mut touched = 0;
        for row in rows.flatten() {
            let (batch, row) = place(row);
            for column in &self.columns[batch][1..] {
                touched ^= column.touch(row);
            }
        }
        std::hint::black_box(touched);
    }

    /// The predictions of a row, in declared order, without the key.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn predictions(&self, row: usize) -> impl Iterator<Item = Cell<'_>> {
        let (batch, row) = place(row);
        self.columns[batch][1..].iter().map(move |column| column.cell(row))
    }
}

/// The batch of a row, and its number there.
fn place(row: usize) -> (usize, usize) {
    (row >> BATCH_ROWS_LOG2, row & (BATCH_ROWS - 1))
}

/// The slots of the index where they lie, where they lie in the file and are aligned.
fn slots(file: &MappedFile, offset: &str, slots: &str) -> Option<ScalarBuffer<u32>> {
    let (offset, slots) = (offset.parse::<usize>().ok()?, slots.parse::<usize>().ok()?);
    let length = slots.checked_mul(size_of::<u32>())?;
    file.content().get(offset..offset.checked_add(length)?)?;
    if !offset.is_multiple_of(crate::ALIGNMENT) {
        return None;
    }
    let part = file.content().slice_with_length(offset, length);
    Some(ScalarBuffer::from(part))
}
