//! The declared shape of predictions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::name::ColumnName;

/// A type of a prediction column, spelled as in `PREDICTION_NAMES_DATATYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DataType {
    /// 64-bit signed integer.
    #[serde(rename = "INT")]
    Int,
    /// IEEE 754 double.
    #[serde(rename = "FLOAT64")]
    Float64,
    /// UTF-8 text without zero bytes.
    #[serde(rename = "STRING")]
    String,
    /// Truth value.
    #[serde(rename = "BOOL")]
    Bool,
    /// Calendar day without a zone.
    #[serde(rename = "DATE")]
    Date,
    /// Instant in UTC, microseconds.
    #[serde(rename = "TIMESTAMP")]
    Timestamp,
}

impl DataType {
    /// Every type, in the order in which docs list them.
    pub const ALL: [Self; 6] =
        [Self::Int, Self::Float64, Self::String, Self::Bool, Self::Date, Self::Timestamp];

    /// The spelling in a config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Float64 => "FLOAT64",
            Self::String => "STRING",
            Self::Bool => "BOOL",
            Self::Date => "DATE",
            Self::Timestamp => "TIMESTAMP",
        }
    }

    /// Whether a column of this type can be the key.
    #[must_use]
    pub fn is_key(self) -> bool {
        matches!(self, Self::Int | Self::String)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of INT, FLOAT64, STRING, BOOL, DATE, TIMESTAMP; found `{0}`")]
pub struct DataTypeError(String);

impl FromStr for DataType {
    type Err = DataTypeError;

    fn from_str(text: &str) -> Result<Self, DataTypeError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| DataTypeError(text.to_owned()))
    }
}

/// A named, typed column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name in SQL, in the API and in the model's outputs.
    pub name: ColumnName,
    /// Declared type.
    #[serde(rename = "type")]
    pub data_type: DataType,
}

/// The columns of a service's predictions: the key first, then at least one prediction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Column>", into = "Vec<Column>")]
pub struct PredictionSchema {
    key: Column,
    predictions: Vec<Column>,
}

/// Why a list of columns is no prediction schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A key alone predicts nothing.
    #[error("expected the key and at least one prediction, found {0} column(s)")]
    TooFewColumns(usize),
    /// Only `INT` and `STRING` are keys.
    #[error("the key `{0}` must be INT or STRING, found {1}")]
    NotAKey(ColumnName, DataType),
    /// SQL ignores case, so two names must differ by more than case.
    #[error("the name `{0}` occurs twice")]
    Duplicate(ColumnName),
}

impl PredictionSchema {
    /// Checks and builds a schema from the key followed by the predictions.
    pub fn new(columns: Vec<Column>) -> Result<Self, SchemaError> {
        if columns.len() < 2 {
            return Err(SchemaError::TooFewColumns(columns.len()));
        }
        for (index, column) in columns.iter().enumerate() {
            let twin =
                |other: &Column| other.name.as_str().eq_ignore_ascii_case(column.name.as_str());
            if columns[..index].iter().any(twin) {
                return Err(SchemaError::Duplicate(column.name.clone()));
            }
        }
        let mut columns = columns.into_iter();
        let key = columns.next().ok_or(SchemaError::TooFewColumns(0))?;
        if !key.data_type.is_key() {
            return Err(SchemaError::NotAKey(key.name, key.data_type));
        }
        Ok(Self { key, predictions: columns.collect() })
    }

    /// The key column.
    #[must_use]
    pub fn key(&self) -> &Column {
        &self.key
    }

    /// The prediction columns, without the key, in declared order.
    #[must_use]
    pub fn predictions(&self) -> &[Column] {
        &self.predictions
    }

    /// The key, then the predictions.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.key).chain(&self.predictions)
    }
}

impl TryFrom<Vec<Column>> for PredictionSchema {
    type Error = SchemaError;

    fn try_from(columns: Vec<Column>) -> Result<Self, SchemaError> {
        Self::new(columns)
    }
}

impl From<PredictionSchema> for Vec<Column> {
    fn from(schema: PredictionSchema) -> Self {
        std::iter::once(schema.key).chain(schema.predictions).collect()
    }
}
