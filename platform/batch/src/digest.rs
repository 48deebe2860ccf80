//! An order-independent digest of rows.

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType as ArrowType, TimeUnit},
};
use serde::{Deserialize, Serialize};

use crate::pghash;

/// What a null `INT`, `BOOL` or `DATE` is hashed as.
pub const NULL_INT: i64 = -7_046_029_254_386_353_131;
/// What a null `TIMESTAMP` is hashed as: Postgres' `-infinity`, which is no Arrow timestamp.
pub const NULL_TIMESTAMP: i64 = i64::MIN;
/// What a null `FLOAT64` is hashed as.
pub const NULL_FLOAT: f64 = f64::MIN;
/// What a null `STRING` is hashed as.
pub const NULL_TEXT: &str = "\u{1}null\u{1}";

/// Days from 1970-01-01, Arrow's first day, to 2000-01-01, Postgres' first day.
const EPOCH_DAYS: i64 = 10_957;
/// The same distance in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;
/// An odd number without pattern (2^64 over the golden ratio).
const GOLDEN: i64 = -7_046_029_254_386_353_131;

/// What is xored into a row's hash before column `index` (from 0) enters it.
///
/// Postgres' hash of a float zero is its seed, so without a salt per column the rows
/// `(key, 0, 1)` and `(key, 1, 0)` would hash alike.
#[must_use]
pub fn column_salt(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX).wrapping_mul(GOLDEN)
}

/// Number of rows and the xor over their hashes.
///
/// A row's hash is chained over its columns in declared order: `h = hash(value, h ^ salt(column))`,
/// starting from 0, with Postgres' `hashint8extended` (`INT`; `BOOL` as 0 and 1; `DATE` as days and
/// `TIMESTAMP` as microseconds since 2000-01-01), `hashfloat8extended` and `hashtextextended`. A null
/// is hashed as [`NULL_INT`], [`NULL_TIMESTAMP`], [`NULL_FLOAT`] or [`NULL_TEXT`]. The store's `seal` computes the same
/// in SQL, so rows that were sent and rows that arrived compare by two numbers.
///
/// It finds lost, doubled and changed rows; it does not withstand an adversary. Two equal rows
/// cancel out in the checksum, which the unique key of a generation rules out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowDigest {
    /// How many rows.
    pub rows: u64,
    /// Xor over the rows' hashes.
    pub checksum: u64,
}

impl RowDigest {
    /// Adds the rows of a conformed batch.
    ///
    /// # Panics
    /// When the batch has a column of a type that [`crate::conform`] never gives.
    pub fn add(&mut self, batch: &RecordBatch) {
        let mut hashes = vec![0_u64; batch.num_rows()];
        for (index, column) in batch.columns().iter().enumerate() {
            let salt = column_salt(index).cast_unsigned();
            for hash in &mut hashes {
                *hash ^= salt;
            }
            add_column(&mut hashes, column);
        }
        self.rows += batch.num_rows() as u64;
        self.checksum = hashes.into_iter().fold(self.checksum, |sum, hash| sum ^ hash);
    }

    /// Adds the rows that another digest has seen.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.checksum ^= other.checksum;
    }
}

fn add_column(hashes: &mut [u64], column: &ArrayRef) {
    let any = column.as_any();
    match column.data_type() {
        ArrowType::Int64 => {
            fold::<Int64Array, _>(hashes, any, NULL_INT, Int64Array::value, pghash::int8);
        }
        ArrowType::Float64 => {
            fold::<Float64Array, _>(hashes, any, NULL_FLOAT, Float64Array::value, pghash::float8);
        }
        ArrowType::Boolean => {
            let value = |array: &BooleanArray, row| i64::from(array.value(row));
            fold::<BooleanArray, _>(hashes, any, NULL_INT, value, pghash::int8);
        }
        ArrowType::Date32 => {
            let value = |array: &Date32Array, row| i64::from(array.value(row)) - EPOCH_DAYS;
            fold::<Date32Array, _>(hashes, any, NULL_INT, value, pghash::int8);
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            let value = |array: &TimestampMicrosecondArray, row| {
                array.value(row).wrapping_sub(EPOCH_MICROS)
            };
            fold::<TimestampMicrosecondArray, _>(hashes, any, NULL_TIMESTAMP, value, pghash::int8);
        }
        ArrowType::Utf8 => {
            let Some(texts) = any.downcast_ref::<StringArray>() else { unreachable!("Utf8") };
            for (hash, text) in hashes.iter_mut().zip(texts) {
                *hash = pghash::bytes(text.unwrap_or(NULL_TEXT).as_bytes(), *hash);
            }
        }
        other => panic!("expected a conformed batch, found a column of type {other}"),
    }
}

fn fold<A: Array + 'static, V: Copy>(
    hashes: &mut [u64],
    column: &dyn std::any::Any,
    null: V,
    value: impl Fn(&A, usize) -> V,
    hash_value: impl Fn(V, u64) -> u64,
) {
    let Some(array) = column.downcast_ref::<A>() else { unreachable!("matched by its type") };
    if array.null_count() == 0 {
        for (row, hash) in hashes.iter_mut().enumerate() {
            *hash = hash_value(value(array, row), *hash);
        }
    } else {
        for (row, hash) in hashes.iter_mut().enumerate() {
            let found = if array.is_null(row) { null } else { value(array, row) };
            *hash = hash_value(found, *hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn batch(keys: Vec<i64>, first: Vec<f64>, second: Vec<f64>) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(keys)) as ArrayRef),
            ("a", Arc::new(Float64Array::from(first)) as ArrayRef),
            ("b", Arc::new(Float64Array::from(second)) as ArrayRef),
        ])
        .expect("a batch")
    }

    fn digest(batches: &[RecordBatch]) -> RowDigest {
        let mut digest = RowDigest::default();
        for batch in batches {
            digest.add(batch);
        }
        digest
    }

    #[test]
    fn the_order_of_rows_and_batches_does_not_matter() {
        let whole = digest(&[batch(vec![1, 2, 3], vec![0.1, 0.2, 0.3], vec![1.0, 2.0, 3.0])]);
        let mut parts = digest(&[batch(vec![3], vec![0.3], vec![3.0])]);
        parts.merge(digest(&[batch(vec![2, 1], vec![0.2, 0.1], vec![2.0, 1.0])]));
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_changed_a_lost_and_a_swapped_value_change_it() {
        let base = digest(&[batch(vec![1, 2], vec![0.0, 0.2], vec![1.0, 2.0])]);
        assert_ne!(base, digest(&[batch(vec![1, 2], vec![0.0, 0.2], vec![1.0, 2.5])]));
        assert_ne!(base, digest(&[batch(vec![1], vec![0.0], vec![1.0])]));
        assert_ne!(base, digest(&[batch(vec![1, 2], vec![1.0, 0.2], vec![0.0, 2.0])]));
        assert_ne!(base, digest(&[batch(vec![2, 1], vec![0.0, 0.2], vec![1.0, 2.0])]));
    }
}
