//! GoogleSQL for DuckDB, through an allow-list.
//!
//! The text is parsed with sqlparser's BigQuery dialect and *printed* anew: every node that reaches
//! the output was named by the printer, so whatever it does not name (a clause, a function, a cast
//! type, a date part, a format element) is refused with its line and the nearest supported name.
//!
//! What the printed SQL expects of DuckDB: the session is in UTC, the macros of [`MACROS`] exist,
//! and a GoogleSQL TIMESTAMP is a DuckDB `TIMESTAMP` that holds UTC. Without a zone inside, its
//! arithmetic needs no calendar library, which is several times faster, and means the same.

mod error;

pub use error::SqlError;

use crate::Parameters;

/// SQL of the macros that the printed SQL calls.
pub const MACROS: &str = include_str!("macros.sql");

/// Names less alike than this are no help.
const SIMILARITY_MIN: f64 = 0.75;

/// What table names mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `dataset.table` or `project.dataset.table`; the project is dropped.
    Lake,
    /// Only `model_outputs`, the scored rows.
    ModelOutputs,
}

/// The surroundings of a query.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// What table names mean.
    pub source: Source,
    /// Values of the named parameters.
    pub parameters: Parameters,
}

impl Context {
    /// For `features.sql`.
    #[must_use]
    pub fn lake(parameters: Parameters) -> Self {
        Self { source: Source::Lake, parameters }
    }

    /// For `predictions.sql`.
    #[must_use]
    pub fn model_outputs(parameters: Parameters) -> Self {
        Self { source: Source::ModelOutputs, parameters }
    }
}

/// A table that a query names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Its dataset; empty for `model_outputs`.
    pub dataset: String,
    /// Its name in the dataset.
    pub table: String,
    /// Line of its first mention, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
}

/// An output column, where the text says its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// The name as written, or `f0_`, `f1_`, … as BigQuery names what has none.
    pub name: String,
    /// Line in the text, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
}

/// A query in DuckDB's SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// DuckDB's SQL.
    pub sql: String,
    /// The tables it reads, each once, sorted.
    pub tables: Vec<TableName>,
    /// Output columns; `None` where a `*` hides them.
    pub columns: Option<Vec<OutputColumn>>,
}

/// Rewrites one GoogleSQL query for DuckDB.
///
/// # Errors
/// [`SqlError`] at the first place that the allow-list does not cover.
pub fn to_duckdb(sql: &str, context: &Context) -> Result<Rewritten, SqlError> {
    let _ = (sql, context);
    Err(SqlError::engine("the rewriter is not linked yet".to_owned()))
}

/// The name closest to `wanted`, when one is close.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    names
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}
