//! What is wrong with a template or a macro, and where.

use std::{fmt, ops::Range};

use minijinja::ErrorKind;

/// What the engine says of a template that nests too deeply.
const RECURSION: &str = "recursion limit exceeded";

/// Kinds of problems that are cured differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// A file of macros holds something else, or a macro twice.
    File,
    /// A tag does not parse.
    Syntax,
    /// No macro, function, filter or test has the name.
    Unknown,
    /// A macro was given other arguments than it takes.
    Argument,
    /// A name has no value.
    Undefined,
    /// An expression cannot be computed.
    Failed,
    /// A bound was reached.
    Unbounded,
}

impl ProblemKind {
    /// The kind of an error that the engine found itself.
    pub(crate) fn of(error: &minijinja::Error) -> Self {
        match error.kind() {
            ErrorKind::SyntaxError | ErrorKind::BadEscape => Self::Syntax,
            ErrorKind::UnknownFunction
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownMethod => Self::Unknown,
            ErrorKind::TooManyArguments | ErrorKind::MissingArgument => Self::Argument,
            ErrorKind::UndefinedError => Self::Undefined,
            ErrorKind::OutOfFuel => Self::Unbounded,
            _ if error.detail() == Some(RECURSION) => Self::Unbounded,
            _ => Self::Failed,
        }
    }
}

/// In which text a problem lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// The template itself.
    Template,
    /// A file of the team's macros, by its name.
    MacroFile(String),
}

/// A name that is not known, and those that are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What was written.
    pub found: String,
    /// What could have been meant.
    pub known: Vec<String>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// How it is cured.
    pub kind: ProblemKind,
    /// What was found.
    pub message: String,
    /// What was expected instead.
    pub expected: Option<String>,
    /// The name that is not known, where that is the problem.
    pub unknown: Option<Unknown>,
    /// In which text.
    pub file: Where,
    /// Which bytes of it; empty at its start where the engine gave no place.
    pub range: Range<usize>,
}

/// A refusal on its way through the engine, which adds the place of the call that led to it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) kind: ProblemKind,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) unknown: Option<Unknown>,
    /// A macro found its arguments wrong: the fault is at its call, one level up.
    pub(crate) is_of_caller: bool,
}

impl Refusal {
    pub(crate) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), expected: None, unknown: None, is_of_caller: false }
    }

    pub(crate) fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// The refusal that an error of the engine carries.
    pub(crate) fn of(error: &minijinja::Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for minijinja::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(minijinja::ErrorKind::InvalidOperation, refusal.message.clone())
            .with_source(refusal)
    }
}
