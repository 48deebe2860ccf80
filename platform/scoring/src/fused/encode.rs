//! Categories as numbers, straight from Arrow columns: each distinct value of a dictionary is looked up
//! once, and no string is copied.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use crate::error::ScoreError;

/// What stands for a category that the encoder does not know.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// A step that looks up what a column holds.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The bound column.
    pub(super) column: usize,
    pub(super) keys: Keys,
    /// Whether an unknown category fails the batch.
    pub(super) strict: bool,
}

/// Codes by key: the position of its first mention.
#[derive(Debug, PartialEq)]
pub(super) enum Keys {
    Strings(HashMap<String, u32, BuildHasherDefault<KeyHasher>>),
    Integers(HashMap<i64, u32, BuildHasherDefault<KeyHasher>>),
}

impl Keys {
    pub(super) fn strings(keys: Vec<String>) -> Self {
        let mut codes = HashMap::default();
        for (key, code) in keys.into_iter().zip(0..) {
            codes.entry(key).or_insert(code);
        }
        Self::Strings(codes)
    }

    pub(super) fn integers(keys: &[i64]) -> Self {
        let mut codes = HashMap::default();
        for (key, code) in keys.iter().zip(0..) {
            codes.entry(*key).or_insert(code);
        }
        Self::Integers(codes)
    }

    pub(super) fn text(&self, key: &str) -> u32 {
        match self {
            Self::Strings(codes) => codes.get(key).copied().unwrap_or(UNKNOWN),
            Self::Integers(_) => UNKNOWN,
        }
    }

    pub(super) fn integer(&self, key: i64) -> u32 {
        match self {
            Self::Integers(codes) => codes.get(&key).copied().unwrap_or(UNKNOWN),
            Self::Strings(_) => UNKNOWN,
        }
    }
}

impl Encoder {
    /// Codes of every row. A column has no null: those rows were rejected.
    pub(super) fn encode(&self, column: &ArrayRef) -> Result<Vec<u32>, ScoreError> {
        let codes = self.look_up(column)?;
        match codes.iter().position(|code| *code == UNKNOWN).filter(|_| self.strict) {
            None => Ok(codes),
            Some(row) => Err(unknown(row)),
        }
    }

    fn look_up(&self, column: &ArrayRef) -> Result<Vec<u32>, ScoreError> {
        Ok(match column.data_type() {
            DataType::Utf8 => by_value(column.as_string::<i32>(), |key| self.keys.text(key)),
            DataType::LargeUtf8 => by_value(column.as_string::<i64>(), |key| self.keys.text(key)),
            DataType::Utf8View => by_value(column.as_string_view(), |key| self.keys.text(key)),
            DataType::Int64 => {
                by_value(column.as_primitive::<Int64Type>(), |key| self.keys.integer(key))
            }
            DataType::Int32 => {
                by_value(column.as_primitive::<Int32Type>(), |key| self.keys.integer(key.into()))
            }
            DataType::Dictionary(_, _) => {
                let dictionary = column.as_any_dictionary();
                let codes = self.look_up(dictionary.values())?;
                if codes.is_empty() {
                    return Ok(vec![UNKNOWN; column.len()]);
                }
                dictionary.normalized_keys().into_iter().map(|key| codes[key]).collect()
            }
            _ => self.look_up(&cast(column, &DataType::Utf8)?)?,
        })
    }
}

pub(super) fn unknown(row: usize) -> ScoreError {
    ScoreError::Evaluation {
        problem: format!(
            "row {row} has a category the encoder was not trained on; \
             train it with handle_unknown=\"ignore\" or filter in features.sql"
        ),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "accessors are references")]
fn by_value<A: arrow::array::ArrayAccessor>(column: A, code: impl Fn(A::Item) -> u32) -> Vec<u32> {
    (0..column.len())
        .map(|row| if column.is_null(row) { UNKNOWN } else { code(column.value(row)) })
        .collect()
}

/// Multiplies eight bytes at a time. Keys come from the model and are never added at run time, so a
/// hostile value can only miss.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct KeyHasher(u64);

impl KeyHasher {
    fn mix(&mut self, word: u64) {
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last));
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }

    fn write_i64(&mut self, value: i64) {
        self.mix(value.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        // The table takes its buckets from the low bits and its tags from the high ones.
        self.0 ^ (self.0 >> 32)
    }
}
