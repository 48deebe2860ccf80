//! Sorted keys of one batch.

use std::cmp::Ordering;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StringBuilder},
    datatypes::{DataType as ArrowType, Int64Type},
};

/// The key column of one batch.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    Int(Int64Array),
    Text(StringArray),
}

impl Keys {
    /// `None` where the array is no key column.
    pub(crate) fn new(array: &ArrayRef) -> Option<Self> {
        match array.data_type() {
            ArrowType::Int64 => Some(Self::Int(array.as_primitive::<Int64Type>().clone())),
            ArrowType::Utf8 => Some(Self::Text(array.as_string::<i32>().clone())),
            _ => None,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Int(keys) => keys.len(),
            Self::Text(keys) => keys.len(),
        }
    }

    pub(crate) fn slice(&self, from: usize, rows: usize) -> Self {
        match self {
            Self::Int(keys) => Self::Int(keys.slice(from, rows)),
            Self::Text(keys) => Self::Text(keys.slice(from, rows)),
        }
    }

    /// How many rows from `at` on have the same keys as the other's from `other_at` on, up to `most`.
    pub(crate) fn shared(&self, at: usize, other: &Self, other_at: usize, most: usize) -> usize {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => one.shared(at, other, other_at, most),
            (Self::Text(one), Self::Text(other)) => one.shared(at, other, other_at, most),
            _ => 0,
        }
    }

    /// The first row whose key is not below that of `row` of the other.
    pub(crate) fn first_not_below(&self, other: &Self, row: usize) -> usize {
        match (self, other) {
            (Self::Int(keys), Self::Int(other)) => {
                let wanted = other.value(row);
                keys.values().partition_point(|key| *key < wanted)
            }
            (Self::Text(keys), Self::Text(other)) => {
                let wanted = other.value(row);
                let (mut low, mut high) = (0, keys.len());
                while low < high {
                    let middle = usize::midpoint(low, high);
                    if keys.value(middle).cmp(wanted) == Ordering::Less {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                low
            }
            _ => 0,
        }
    }
}

/// Keys of one type, in order.
pub(crate) trait Sorted {
    type Key<'a>: Ord + Copy
    where
        Self: 'a;
    fn key(&self, row: usize) -> Self::Key<'_>;
    fn rows(&self) -> usize;

    /// How many rows from `at` on have the same keys as the other's from `other_at` on, up to `most`.
    fn shared(&self, at: usize, other: &Self, other_at: usize, most: usize) -> usize {
        (0..most).take_while(|row| self.key(at + row) == other.key(other_at + row)).count()
    }
}

impl Sorted for Int64Array {
    type Key<'a> = i64;

    fn key(&self, row: usize) -> i64 {
        self.values()[row]
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn shared(&self, at: usize, other: &Self, other_at: usize, most: usize) -> usize {
        let one = &self.values()[at..at + most];
        let other = &other.values()[other_at..other_at + most];
        if one == other {
            return most;
        }
        one.iter().zip(other).take_while(|(one, other)| one == other).count()
    }
}

impl Sorted for StringArray {
    type Key<'a> = &'a str;

    fn key(&self, row: usize) -> &str {
        self.value(row)
    }

    fn rows(&self) -> usize {
        self.len()
    }
}

/// Appends keys picked from several batches.
pub(crate) enum KeyBuilder {
    Int(Vec<i64>),
    Text(StringBuilder),
}

impl KeyBuilder {
    pub(crate) fn like(keys: &Keys, rows: usize) -> Self {
        match keys {
            Keys::Int(_) => Self::Int(Vec::with_capacity(rows)),
            Keys::Text(_) => Self::Text(StringBuilder::with_capacity(rows, rows * 16)),
        }
    }

    pub(crate) fn push(&mut self, keys: &Keys, row: usize) {
        match (self, keys) {
            (Self::Int(built), Keys::Int(keys)) => built.push(keys.value(row)),
            (Self::Text(built), Keys::Text(keys)) => built.append_value(keys.value(row)),
            _ => unreachable!("sources with keys of two types are refused"),
        }
    }

    pub(crate) fn finish(self) -> ArrayRef {
        match self {
            Self::Int(keys) => std::sync::Arc::new(Int64Array::from(keys)),
            Self::Text(mut keys) => std::sync::Arc::new(keys.finish()),
        }
    }
}
