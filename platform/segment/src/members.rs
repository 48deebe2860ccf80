//! The rows of a membership file from a position on, and pages of them.
//!
//! A position is a key: the rows after it come next. It stays right whatever batches a file has, and a
//! client whose download broke off knows it from the last row that arrived.

use std::sync::Arc;

use arrow::{
    datatypes::{Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use cameo_domain::{DataType, Key};

use crate::{
    keys::Keys,
    membership::{Membership, MembershipError},
};

/// Name of the key in everything that leaves the platform, as in look-ups.
pub const KEY: &str = "key";

/// Why reading cannot go on from a position.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// The key is of another type than those of the members.
    #[error("expected a position that is a key of type {expected}, found `{found}`")]
    Key {
        /// What the members' keys are.
        expected: DataType,
        /// What was asked for.
        found: Key,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// The rows of a membership file, batch by batch, its key named [`KEY`].
pub struct Members {
    file: Membership,
    schema: SchemaRef,
    batch: usize,
    /// Rows of the next batch that are before the position.
    skip: usize,
}

impl Members {
    /// All of them.
    #[must_use]
    pub fn all(file: Membership) -> Self {
        let schema = outward(&file.schema());
        Self { file, schema, batch: 0, skip: 0 }
    }

    /// Those whose key comes after `key`, which itself need not be a member.
    pub fn after(mut file: Membership, key: &Key) -> Result<Self, PositionError> {
        // The first batch with a row after the key: those before it are not wanted.
        let (mut low, mut high) = (0, file.batches());
        while low < high {
            let middle = low + (high - low) / 2;
            let batch = file.batch(middle)?;
            let ends_before = match &batch {
                Some(batch) => rows_up_to(batch, key)? == batch.num_rows(),
                None => true,
            };
            if ends_before { low = middle + 1 } else { high = middle }
        }
        let skip = match file.batch(low)? {
            Some(batch) => rows_up_to(&batch, key)?,
            None => 0,
        };
        Ok(Self { skip, batch: low, ..Self::all(file) })
    }

    /// The key, then the attributes.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Iterator for Members {
    type Item = Result<RecordBatch, MembershipError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.file.batch(self.batch).transpose()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        self.batch += 1;
        let skip = std::mem::take(&mut self.skip);
        let batch = batch.slice(skip, batch.num_rows() - skip);
        Some(RecordBatch::try_new(self.schema(), batch.columns().to_vec()).map_err(Into::into))
    }
}

fn rows_up_to(batch: &RecordBatch, key: &Key) -> Result<usize, PositionError> {
    let keys = Keys::of(batch);
    let rows = keys.and_then(|keys| keys.up_to(key));
    rows.ok_or_else(|| PositionError::Key {
        expected: keys.map_or(DataType::String, |keys| keys.data_type()),
        found: key.clone(),
    })
}

/// The same columns, the key under its outward name.
fn outward(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        let field: &Field = field;
        if at == 0 { field.clone().with_name(KEY) } else { field.clone() }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// How many rows of each of `keys` a file has; none of a key of another type. Reads the whole file.
pub fn occurrences(file: &mut Membership, keys: &[Key]) -> Result<Vec<u64>, MembershipError> {
    let mut found = vec![0_u64; keys.len()];
    for at in 0..file.batches() {
        let Some(batch) = file.batch(at)? else { break };
        let Some(members) = Keys::of(&batch) else { continue };
        for (count, key) in found.iter_mut().zip(keys) {
            // The last row up to the key is the key's own, if any is.
            let last = members.up_to(key).and_then(|rows| rows.checked_sub(1));
            if last.is_some_and(|row| members.key(row) == *key) {
                *count += 1;
            }
        }
    }
    Ok(found)
}

/// Some rows, and from where the next ones are.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// The last row's key, where rows follow.
    pub next: Option<Key>,
}

impl Page {
    /// The first `limit` of `rows`.
    pub fn read<E>(
        mut rows: impl Iterator<Item = Result<RecordBatch, E>>,
        limit: usize,
    ) -> Result<Self, E> {
        let mut page = Self { batches: Vec::new(), next: None };
        let mut wanted = limit;
        loop {
            let Some(batch) = rows.next().transpose()? else { return Ok(page) };
            if batch.num_rows() == 0 {
                continue;
            }
            if wanted == 0 {
                let last = page.batches.last().and_then(Keys::of);
                page.next = last.map(|keys| keys.key(keys.len() - 1));
                return Ok(page);
            }
            let take = wanted.min(batch.num_rows());
            page.batches.push(batch.slice(0, take));
            wanted -= take;
            if take < batch.num_rows() {
                page.next = Keys::of(&batch).map(|keys| keys.key(take - 1));
                return Ok(page);
            }
        }
    }
}
