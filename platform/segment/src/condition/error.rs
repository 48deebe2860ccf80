//! A refusal that points at its place.

use std::fmt;

/// What is wrong about a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not parse, is too large, or uses something that is not on the allow-list.
    Syntax,
    /// It names something that nobody predicts.
    Name,
    /// It puts values of types together that do not fit.
    Type,
}

/// Why a condition was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    /// What kind of mistake it is.
    pub fault: Fault,
    /// What was expected and what was found.
    pub message: String,
    /// Line in the condition's text, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConditionError {}
