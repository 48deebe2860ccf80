//! The state of one rewriting: what is in scope, and how refusals are made.

use std::collections::HashSet;

use sqlparser::{
    ast::{Ident, Spanned},
    tokenizer::{Location, Span},
};

use super::{Context, SqlError, TableName, nearest};
use crate::engine::quote_name;

/// Deepest nesting of expressions and queries. Each level costs stack.
const DEPTH_MAX: usize = 96;

/// Prints what the allow-list covers, and refuses the rest.
pub(super) struct Printer<'a> {
    pub(super) context: &'a Context,
    /// Tables met so far.
    pub(super) tables: Vec<TableName>,
    /// Names of WITH queries in scope, in lower case, one set per nested query.
    pub(super) with_names: Vec<HashSet<String>>,
    /// Numbers the tables that UNNEST makes.
    pub(super) unnest_count: usize,
    /// Open parentheses of UNNEST columns: names that are one array element each.
    pub(super) elements: Vec<HashSet<String>>,
    depth: usize,
}

pub(super) type Printed = Result<String, SqlError>;

impl<'a> Printer<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self {
            context,
            tables: Vec::new(),
            with_names: Vec::new(),
            unnest_count: 0,
            elements: Vec::new(),
            depth: 0,
        }
    }

    /// Runs `print` one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        at: Span,
        print: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.depth == DEPTH_MAX {
            return Err(refusal(
                at,
                format!("expected at most {DEPTH_MAX} levels of nesting"),
                "nesting",
                Some("move inner parts into WITH queries".to_owned()),
            ));
        }
        self.depth += 1;
        let printed = print(self);
        self.depth -= 1;
        printed
    }

    pub(super) fn table(&mut self, dataset: &str, table: &str, at: Location) {
        let known =
            self.tables.iter().any(|known| known.dataset == dataset && known.table == table);
        if !known {
            self.tables.push(TableName {
                dataset: dataset.to_owned(),
                table: table.to_owned(),
                line: place(at.line),
                column: place(at.column),
            });
        }
    }
}

/// An identifier for DuckDB. A double-quoted one is a string in GoogleSQL.
pub(super) fn name(ident: &Ident) -> Printed {
    match ident.quote_style {
        None | Some('`') => Ok(quote_name(&ident.value)),
        Some(_) => Err(refusal(
            ident.span,
            format!("expected a name, found the string '{}'", ident.value),
            &ident.value,
            Some("quote names with backticks".to_owned()),
        )),
    }
}

/// A refusal at `at`.
pub(super) fn refusal(at: Span, message: String, name: &str, help: Option<String>) -> SqlError {
    SqlError {
        message,
        line: Some(place(at.start.line)).filter(|line| *line > 0),
        column: Some(place(at.start.column)).filter(|column| *column > 0),
        name: Some(name.to_owned()),
        help,
    }
}

/// The refusal of a clause or construct that the printer does not name.
pub(super) fn unsupported(node: &impl Spanned, what: &str) -> SqlError {
    refusal(node.span(), format!("{what} is not supported"), what, None)
}

/// The refusal of a name that is not on a list, with the nearest that is.
pub(super) fn unlisted<'n>(
    at: Span,
    what: &str,
    found: &str,
    listed: impl Iterator<Item = &'n str> + Clone,
) -> SqlError {
    let help = match nearest(found, listed.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("supported: {}", listed.take(LISTED_MAX).collect::<Vec<_>>().join(", ")),
    };
    refusal(at, format!("{what} {found} is not supported"), found, Some(help))
}

/// Longest list of names in a message.
const LISTED_MAX: usize = 12;

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
