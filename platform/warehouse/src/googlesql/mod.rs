//! GoogleSQL for DuckDB, through an allow-list.
//!
//! The text is parsed with sqlparser's BigQuery dialect and *printed* anew: every node that reaches
//! the output was named by the printer, so whatever it does not name (a clause, a function, a cast
//! type, a date part, a format element) is refused with its line and the nearest supported name.
//!
//! What the printed SQL expects of DuckDB: the session is in UTC, the macros of [`MACROS`] exist,
//! and a GoogleSQL TIMESTAMP is a DuckDB `TIMESTAMP` that holds UTC. Without a zone inside, its
//! arithmetic does not go through the calendar library, and means the same.

mod calls;
mod catalog;
mod dates;
pub mod docs;
mod error;
mod expression;
mod from;
mod printer;
mod query;

pub use error::SqlError;

use sqlparser::{
    ast::Statement,
    dialect::BigQueryDialect,
    parser::{Parser, ParserError},
    tokenizer::{Token, Tokenizer},
};

use self::printer::Printer;
use crate::Parameters;

/// Longest query, in bytes.
pub const SQL_BYTES_MAX: usize = 256 << 10;
/// Most tokens of a query: each may nest one level deeper, and nesting costs stack.
pub const TOKENS_MAX: usize = 10_000;
/// Stack for a query of so many levels. What the parser makes of a chain such as `x + x + x` is a tree as deep as the
/// chain is long, and whoever asks a part of it for its place, or lets go of it, walks down to its end, with about
/// 1 KiB a level. It is address space, of which only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;

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
    stacker::grow(STACK_BYTES, || rewrite(sql, context))
}

fn rewrite(sql: &str, context: &Context) -> Result<Rewritten, SqlError> {
    let query = parse(sql)?;
    let mut printer = Printer::new(context);
    let printed = printer.query(&query)?;
    let columns = query::output_columns(&query)?;
    let mut tables = printer.tables;
    tables.sort_by(|one, other| (&one.dataset, &one.table).cmp(&(&other.dataset, &other.table)));
    Ok(Rewritten { sql: printed, tables, columns })
}

fn parse(sql: &str) -> Result<sqlparser::ast::Query, SqlError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(SqlError::engine(format!(
            "expected at most {SQL_BYTES_MAX} bytes of SQL, found {}",
            sql.len()
        )));
    }
    let dialect = BigQueryDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| syntax(&ParserError::TokenizerError(error.to_string())))?;
    let words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).count();
    if words > TOKENS_MAX {
        return Err(SqlError::engine(format!(
            "expected at most {TOKENS_MAX} words and signs, found {words}"
        )));
    }
    let statements = Parser::new(&dialect)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| syntax(&error))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(Statement::Query(query)), None) => Ok(*query),
        (None, _) => Err(SqlError::engine("expected a query, found nothing".to_owned())),
        (Some(other), None) => Err(printer::unsupported(&other, "a statement other than SELECT")),
        (_, Some(second)) => Err(printer::unsupported(&second, "a second statement")),
    }
}

/// The parser writes the place into its message.
fn syntax(error: &ParserError) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::engine("the query is nested too deeply".to_owned());
        }
    };
    let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((&text, ""));
    let (line, column) = place.split_once(", Column: ").unwrap_or_default();
    SqlError {
        message: message.to_owned(),
        line: line.parse().ok(),
        column: column.parse().ok(),
        name: None,
        help: None,
    }
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
