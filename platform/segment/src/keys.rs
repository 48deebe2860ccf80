//! The keys of a batch, which is sorted by them.

use std::cmp::Ordering;

use arrow::{
    array::{Array, ArrayRef, Int64Array, StringArray},
    record_batch::RecordBatch,
};
use cameo_domain::{DataType, Key};

/// The first column of a batch by its type.
#[derive(Clone, Copy)]
pub(crate) enum Keys<'a> {
    Int(&'a [i64]),
    Text(&'a StringArray),
}

impl<'a> Keys<'a> {
    /// The keys; none where the first column can be no key.
    pub(crate) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let column: &ArrayRef = batch.columns().first()?;
        let any = column.as_any();
        if let Some(keys) = any.downcast_ref::<Int64Array>() {
            return Some(Self::Int(keys.values()));
        }
        any.downcast_ref::<StringArray>().map(Self::Text)
    }

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Int(_) => DataType::Int,
            Self::Text(_) => DataType::String,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int(keys) => keys.len(),
            Self::Text(keys) => keys.len(),
        }
    }

    /// The key of a row.
    pub(crate) fn key(&self, row: usize) -> Key {
        match self {
            Self::Int(keys) => Key::Int(keys[row]),
            Self::Text(keys) => Key::String(keys.value(row).to_owned()),
        }
    }

    /// How many rows have a key up to and including `key`; none where it is of another type.
    pub(crate) fn up_to(&self, key: &Key) -> Option<usize> {
        match (self, key) {
            (Self::Int(keys), Key::Int(key)) => Some(keys.partition_point(|found| found <= key)),
            (Self::Text(keys), Key::String(key)) => {
                let (mut low, mut high) = (0, keys.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    match keys.value(middle).cmp(key.as_str()) {
                        Ordering::Greater => high = middle,
                        Ordering::Less | Ordering::Equal => low = middle + 1,
                    }
                }
                Some(low)
            }
            _ => None,
        }
    }
}
