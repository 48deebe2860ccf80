//! Conditions: SQL over predictions, read through an allow-list.
//!
//! The text is parsed with sqlparser's BigQuery dialect, as the SQL of bundles is. What the reader
//! does not name is refused with its place. A condition means what it would mean in a `WHERE`: where
//! it is `NULL`, the customer is no member. Two things never fail, because a condition is asked of
//! millions of customers: a division by zero and an integer beyond 64 bits give `NULL`.

mod catalog;
mod error;
mod literal;
pub(crate) mod node;
mod read;
#[cfg(test)]
mod tests;
mod text;

pub use catalog::{Catalog, Unnamed};
pub use error::{ConditionError, Fault};
pub use node::ColumnRef;

use std::collections::BTreeSet;

use cameo_domain::{DataType, ServiceName};
use sqlparser::{
    dialect::BigQueryDialect,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use node::Node;

/// Longest condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 16 << 10;
/// Most words and signs of a condition.
pub const TOKENS_MAX: usize = 2_000;
/// Deepest nesting; chains of `AND` and of `OR` count as one level.
pub const DEPTH_MAX: usize = 32;

/// A condition that was read against the predictions of a tenant's services.
///
/// Its text form ([`ToString`]) is canonical: every column with its service, so that it means the same
/// when another service comes to have a column of that name.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    root: Node,
    columns: Vec<ColumnRef>,
    types: Vec<Option<DataType>>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`ConditionError`] at the first place that is not on the allow-list, names nothing that
    /// `catalog` has, or compares what cannot be compared.
    pub fn parse(text: &str, catalog: &Catalog) -> Result<Self, ConditionError> {
        let expression = syntax_tree(text)?;
        read::condition(&expression, catalog)
    }

    /// The services that it names, by name.
    #[must_use]
    pub fn services(&self) -> BTreeSet<&ServiceName> {
        self.columns.iter().map(|column| &column.service).collect()
    }

    /// The columns that it names, each once, in the order of their first mention.
    #[must_use]
    pub fn columns(&self) -> &[ColumnRef] {
        &self.columns
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    pub(crate) fn data_type(&self, column: usize) -> Option<DataType> {
        self.types[column]
    }
}

fn syntax_tree(text: &str) -> Result<sqlparser::ast::Expr, ConditionError> {
    let start = Location { line: 1, column: 1 };
    if text.len() > CONDITION_BYTES_MAX {
        let found = text.len();
        let message = format!("expected at most {CONDITION_BYTES_MAX} bytes, found {found}");
        return Err(refusal(start, message, None));
    }
    let dialect = BigQueryDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| refusal(error.location, error.message, None))?;
    let is_word = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let words = tokens.iter().filter(is_word).count();
    let end = tokens.iter().rfind(is_word).map_or(start, |token| token.span.end);
    if words == 0 {
        return Err(refusal(start, "expected a condition, found nothing".to_owned(), None));
    }
    if words > TOKENS_MAX {
        let message = format!("expected at most {TOKENS_MAX} words and signs, found {words}");
        return Err(refusal(start, message, None));
    }
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(|error| syntax(&error, end))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let message = format!("expected the end of the condition, found `{}`", rest.token);
        return Err(refusal(
            rest.span.start,
            message,
            Some("join conditions with AND or OR".to_owned()),
        ));
    }
    Ok(expression)
}

/// The parser writes the place into its message; of a text that ends early it knows none.
fn syntax(error: &ParserError, end: Location) -> ConditionError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => {
            return refusal(end, "the condition is nested too deeply".to_owned(), None);
        }
    };
    let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((&text, ""));
    let (line, column) = place.split_once(", Column: ").unwrap_or_default();
    let at = match (line.parse(), column.parse()) {
        (Ok(line), Ok(column)) => Location { line, column },
        _ => end,
    };
    let message = message.strip_prefix("Expected: ").map_or_else(
        || message.to_owned(),
        |expected| format!("expected {}", expected.replace("found: EOF", "found the end")),
    );
    refusal(at, message, None)
}

fn refusal(at: Location, message: String, help: Option<String>) -> ConditionError {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    let (line, column) = (place(at.line), place(at.column));
    ConditionError { fault: Fault::Syntax, message, line, column, help }
}

/// A refusal of values whose types do not fit.
fn mistyped(at: Location, message: String, help: Option<String>) -> ConditionError {
    ConditionError { fault: Fault::Type, ..refusal(at, message, help) }
}
