//! A refusal that points at its place.

use std::fmt;

/// Why a query was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What was expected and what was found.
    pub message: String,
    /// Line in the text, from 1; `None` where the engine gave no place.
    pub line: Option<usize>,
    /// Column in the line, from 1.
    pub column: Option<usize>,
    /// The function, type, clause or table at fault.
    pub name: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl SqlError {
    /// An error that the engine found in SQL that the allow-list let pass, such as an unknown column.
    pub(crate) fn engine(message: String) -> Self {
        Self { message, line: None, column: None, name: None, help: None }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}
