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
    /// A JSON document as text. Only the platform gives such columns; a config cannot name the type.
    #[serde(rename = "JSON")]
    Json,
}

impl DataType {
    /// Every type that a config can name, in the order in which docs list them.
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
            Self::Json => "JSON",
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

/// The column that carries stored explanations, and their place in answers.
pub const EXPLANATION_COLUMN: &str = "explanation";

/// The columns of a service's predictions: the key first, then at least one prediction.
///
/// A service that ranks has several rows per key. Their first prediction is the rank, from 1, and
/// key and rank together name a row.
///
/// A sensitive prediction is kept sealed: its column is a `STRING` here, because that is what every table,
/// file and mirror holds of it. What it is once opened, [`PredictionSchema::opened`] tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<StoredColumn>", into = "Vec<StoredColumn>")]
pub struct PredictionSchema {
    key: Column,
    predictions: Vec<Column>,
    top_n: Option<u32>,
    /// For each prediction its declared type, where it is sensitive.
    sensitive: Vec<Option<DataType>>,
}

/// A column as it is kept, with its declared type; the rank carries how many there are at most.
#[derive(Serialize, Deserialize)]
struct StoredColumn {
    #[serde(flatten)]
    column: Column,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top_n: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sensitive: bool,
}

/// A prediction that is kept sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SensitiveColumn<'s> {
    /// Its place among the predictions.
    pub at: usize,
    /// Its name.
    pub name: &'s ColumnName,
    /// Its type once opened.
    pub data_type: DataType,
}

/// Name of the column that carries the rank.
pub const RANK_COLUMN: &str = "rank";

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
    /// Several rows per key need a number that tells them apart.
    #[error("expected the second column to be `rank` of type INT, found `{0}` of type {1}")]
    NotARank(ColumnName, DataType),
    /// Rows are found and told apart by what names them, and explanations are text of the platform's.
    #[error("expected a prediction besides key, rank and explanation, found `{0}`")]
    NotSensitive(ColumnName),
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
        let predictions: Vec<Column> = columns.collect();
        Ok(Self { key, sensitive: vec![None; predictions.len()], predictions, top_n: None })
    }

    /// The same columns, of which those named are kept sealed.
    ///
    /// # Errors
    /// [`SchemaError::NotSensitive`] for what is no prediction, or cannot be sealed.
    pub fn sealing<'n>(
        mut self,
        names: impl IntoIterator<Item = &'n ColumnName>,
    ) -> Result<Self, SchemaError> {
        let ranks = usize::from(self.top_n.is_some());
        for name in names {
            let at = self.predictions.iter().position(|column| column.name == *name);
            let at =
                at.filter(|at| *at >= ranks && self.predictions[*at].data_type != DataType::Json);
            let at = at.ok_or_else(|| SchemaError::NotSensitive(name.clone()))?;
            let declared = std::mem::replace(&mut self.predictions[at].data_type, DataType::String);
            self.sensitive[at].get_or_insert(declared);
        }
        Ok(self)
    }

    /// The predictions that are kept sealed, in declared order.
    pub fn sensitive(&self) -> impl Iterator<Item = SensitiveColumn<'_>> {
        let columns = self.predictions.iter().zip(&self.sensitive).enumerate();
        columns.filter_map(|(at, (column, declared))| {
            declared.map(|data_type| SensitiveColumn { at, name: &column.name, data_type })
        })
    }

    /// Whether a column of this name, in any case, is kept sealed.
    #[must_use]
    pub fn is_sensitive(&self, name: &str) -> bool {
        self.sensitive().any(|column| column.name.as_str().eq_ignore_ascii_case(name))
    }

    /// The same columns with their types once opened, none of them sealed.
    #[must_use]
    pub fn opened(&self) -> Self {
        let mut opened = self.clone();
        for (column, declared) in opened.predictions.iter_mut().zip(&mut opened.sensitive) {
            column.data_type = declared.take().unwrap_or(column.data_type);
        }
        opened
    }

    /// The same columns, with up to `top_n` rows per key.
    ///
    /// # Errors
    /// [`SchemaError::NotARank`] unless the column after the key is [`RANK_COLUMN`].
    pub fn ranked(self, top_n: u32) -> Result<Self, SchemaError> {
        let rank = &self.predictions[0];
        if rank.name.as_str() != RANK_COLUMN || rank.data_type != DataType::Int {
            return Err(SchemaError::NotARank(rank.name.clone(), rank.data_type));
        }
        Ok(Self { top_n: Some(top_n), ..self })
    }

    /// Most rows per key of a service that ranks; `None` where each key has one row.
    #[must_use]
    pub fn top_n(&self) -> Option<u32> {
        self.top_n
    }

    /// The columns that name a row: the key, and the rank where there is one.
    pub fn identity(&self) -> impl Iterator<Item = &Column> {
        let ranks = usize::from(self.top_n.is_some());
        std::iter::once(&self.key).chain(self.predictions.iter().take(ranks))
    }

    /// The same columns followed by [`EXPLANATION_COLUMN`].
    ///
    /// # Errors
    /// [`SchemaError::Duplicate`] where a column has that name already.
    pub fn with_explanation(self) -> Result<Self, SchemaError> {
        let explanation = Column { name: ColumnName::explanation(), data_type: DataType::Json };
        let columns = self.columns().cloned().chain([explanation]).collect();
        let sensitive = self.sensitive.iter().copied().chain([None]).collect();
        Ok(Self { top_n: self.top_n, sensitive, ..Self::new(columns)? })
    }

    /// Whether the rows carry explanations.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        self.predictions.iter().any(|column| column.data_type == DataType::Json)
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

impl TryFrom<Vec<StoredColumn>> for PredictionSchema {
    type Error = SchemaError;

    fn try_from(stored: Vec<StoredColumn>) -> Result<Self, SchemaError> {
        let top_n = stored.iter().find_map(|column| column.top_n);
        let sensitive: Vec<ColumnName> = stored
            .iter()
            .filter(|column| column.sensitive)
            .map(|column| column.column.name.clone())
            .collect();
        let schema = Self::new(stored.into_iter().map(|stored| stored.column).collect())?;
        let schema = match top_n {
            None => schema,
            Some(top_n) => schema.ranked(top_n)?,
        };
        schema.sealing(&sensitive)
    }
}

impl From<PredictionSchema> for Vec<StoredColumn> {
    fn from(schema: PredictionSchema) -> Self {
        let (top_n, opened) = (schema.top_n, schema.opened());
        let sealed = std::iter::once(false).chain(schema.sensitive.iter().map(Option::is_some));
        let columns = std::iter::once(opened.key).chain(opened.predictions).zip(sealed);
        columns
            .enumerate()
            .map(|(at, (column, sensitive))| StoredColumn {
                column,
                top_n: top_n.filter(|_| at == 1),
                sensitive,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(names: &[(&str, DataType)]) -> PredictionSchema {
        let column = |(name, data_type): &(&str, DataType)| Column {
            name: name.parse().expect("a name"),
            data_type: *data_type,
        };
        PredictionSchema::new(names.iter().map(column).collect()).expect("a schema")
    }

    #[test]
    fn a_schema_reads_back_as_it_was_kept_with_its_ranks_and_without() {
        let plain = schema(&[("id", DataType::Int), ("rank", DataType::Int)]);
        let json = serde_json::to_string(&plain).expect("JSON");
        assert_eq!(json, r#"[{"name":"id","type":"INT"},{"name":"rank","type":"INT"}]"#);
        let ranked = plain.clone().ranked(10).expect("a rank");
        let kept = serde_json::to_string(&ranked).expect("JSON");
        assert_eq!(kept, r#"[{"name":"id","type":"INT"},{"name":"rank","type":"INT","top_n":10}]"#);
        for (schema, text) in [(plain, json), (ranked, kept)] {
            assert_eq!(serde_json::from_str::<PredictionSchema>(&text).expect("a schema"), schema);
        }
    }

    #[test]
    fn only_an_integer_named_rank_after_the_key_ranks() {
        for second in [("rank", DataType::Float64), ("place", DataType::Int)] {
            let schema = schema(&[("id", DataType::Int), second, ("score", DataType::Float64)]);
            assert!(matches!(schema.ranked(3), Err(SchemaError::NotARank(..))));
        }
    }

    #[test]
    fn a_sensitive_prediction_is_kept_as_text_and_told_with_its_own_type() {
        let name = |name: &str| name.parse::<ColumnName>().expect("a name");
        let plain = schema(&[("id", DataType::Int), ("risk", DataType::Float64)]);
        let sealed = plain.clone().sealing(&[name("risk")]).expect("a prediction");
        assert_eq!(sealed.predictions()[0].data_type, DataType::String);
        assert!(sealed.is_sensitive("RISK") && !sealed.is_sensitive("id"));
        assert_eq!(sealed.opened(), plain);
        let json = serde_json::to_string(&sealed).expect("JSON");
        assert_eq!(
            json,
            r#"[{"name":"id","type":"INT"},{"name":"risk","type":"FLOAT64","sensitive":true}]"#
        );
        assert_eq!(serde_json::from_str::<PredictionSchema>(&json).expect("a schema"), sealed);
        let explained = sealed.with_explanation().expect("a free name");
        assert_eq!(explained.sensitive().count(), 1);
        for refused in ["id", "unknown", "explanation"] {
            let found = explained.clone().sealing(&[name(refused)]);
            assert_eq!(found, Err(SchemaError::NotSensitive(name(refused))));
        }
    }

    #[test]
    fn key_and_rank_name_a_row_of_a_service_that_ranks() {
        let plain = schema(&[("id", DataType::Int), ("rank", DataType::Int)]);
        let names = |schema: &PredictionSchema| {
            schema.identity().map(|column| column.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&plain), ["id"]);
        assert_eq!(names(&plain.ranked(3).expect("a rank")), ["id", "rank"]);
    }
}
