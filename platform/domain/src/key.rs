//! The key of a prediction: whom it is about.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schema::DataType;

/// Longest string key, in bytes: a Postgres index entry must stay far below a third of a page.
pub const KEY_BYTES_MAX: usize = 512;

/// A customer's key, as declared by the first prediction name of the service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A key declared `INT`.
    Int(i64),
    /// A key declared `STRING`.
    String(String),
}

/// A text that is no key of the declared type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The service's keys are integers.
    #[error("expected an integer key between -2^63 and 2^63-1, found `{0}`")]
    NotAnInteger(String),
    /// Empty, too long, or with a zero byte, which Postgres cannot store.
    #[error("expected a key of 1 to {KEY_BYTES_MAX} bytes without zero bytes, found {0} bytes")]
    NotAString(usize),
    /// Only `INT` and `STRING` columns are keys.
    #[error("a key is INT or STRING, not {0}")]
    NotAKeyType(DataType),
}

impl Key {
    /// Reads a key of the declared type from text, as in a URL.
    pub fn parse(text: &str, declared: DataType) -> Result<Self, KeyError> {
        KeyRef::parse(text, declared).map(KeyRef::to_key)
    }

    /// The key without a text of its own.
    #[must_use]
    pub fn as_ref(&self) -> KeyRef<'_> {
        match self {
            Self::Int(key) => KeyRef::Int(*key),
            Self::String(key) => KeyRef::Text(key),
        }
    }
}

/// A [`Key`] whose text lies elsewhere, so that thousands of them cost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRef<'a> {
    /// A key declared `INT`.
    Int(i64),
    /// A key declared `STRING`.
    Text(&'a str),
}

impl<'a> KeyRef<'a> {
    /// Reads a key of the declared type from text, as in a URL.
    pub fn parse(text: &'a str, declared: DataType) -> Result<Self, KeyError> {
        match declared {
            DataType::Int => {
                text.parse().map(Self::Int).map_err(|_| KeyError::NotAnInteger(text.to_owned()))
            }
            DataType::String if is_string_key(text) => Ok(Self::Text(text)),
            DataType::String => Err(KeyError::NotAString(text.len())),
            other => Err(KeyError::NotAKeyType(other)),
        }
    }

    /// The key with a text of its own.
    #[must_use]
    pub fn to_key(self) -> Key {
        match self {
            Self::Int(key) => Key::Int(key),
            Self::Text(key) => Key::String(key.to_owned()),
        }
    }
}

/// Whether `text` can be a string key.
#[must_use]
pub fn is_string_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= KEY_BYTES_MAX && !text.contains('\0')
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(key) => key.fmt(f),
            Self::String(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_its_column_is_declared() {
        assert_eq!(Key::parse("17", DataType::Int), Ok(Key::Int(17)));
        assert_eq!(Key::parse("17", DataType::String), Ok(Key::String("17".into())));
        assert!(Key::parse("abc", DataType::Int).is_err());
        assert!(Key::parse("", DataType::String).is_err());
        assert!(Key::parse("a\0b", DataType::String).is_err());
        assert!(Key::parse("1.5", DataType::Float64).is_err());
    }
}
