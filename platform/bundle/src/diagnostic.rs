//! What is wrong with a bundle, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{code::Code, source::SourceFile};

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// First byte, from 0.
    pub offset: usize,
    /// Length in bytes; never beyond the end of the line.
    pub len: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A value together with where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Located<T> {
    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), span: self.span }
    }
}

/// Whether a bundle with the problem can be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably should not.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// Whether it is an error.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// The file.
    pub file: PathBuf,
    /// Where in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// The line at `span`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The whole text, so that a rendering can show the lines around.
    #[serde(skip)]
    pub(crate) text: Option<Arc<str>>,
}

impl Diagnostic {
    /// An error about a file that cannot be shown.
    pub fn of_file(code: Code, file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            file: file.into(),
            span: Some(Span { offset: 0, len: 0, line: 1, column: 1 }),
            excerpt: None,
            expected: None,
            help: None,
            text: None,
        }
    }

    /// An error at a place of a file.
    pub fn at(code: Code, source: &SourceFile, span: Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            excerpt: Some(source.line(span.line).to_owned()),
            text: Some(Arc::clone(&source.text)),
            ..Self::of_file(code, &source.path, message)
        }
    }

    /// Says what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what to do next; a second piece of advice follows the first.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        let help = help.into();
        self.help = Some(match self.help.take() {
            Some(first) => format!("{first}; {help}"),
            None => help,
        });
        self
    }

    /// Proposes the known name that is nearest to the one that was found.
    #[must_use]
    pub(crate) fn did_you_mean(self, nearest: Option<impl fmt::Display>) -> Self {
        match nearest {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether it keeps the bundle from being applied.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `file:line:column`.
    #[must_use]
    pub fn place(&self) -> String {
        let (line, column) = self.span.map_or((1, 1), |span| (span.line, span.column));
        format!("{}:{line}:{column}", self.file.display())
    }

    /// Column after the last character of the place, in characters from 1.
    #[must_use]
    pub(crate) fn end_column(&self) -> usize {
        let Some(span) = self.span else { return 1 };
        let text = self.text.as_deref().unwrap_or_default();
        let marked = text.get(span.offset..span.offset + span.len).unwrap_or_default();
        span.column + marked.chars().count()
    }

    /// What was found, what was expected and what to do, in one line.
    #[must_use]
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.message.clone();
        if let Some(expected) = &self.expected {
            text.push_str(&format!("; expected {expected}"));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("; {help}"));
        }
        text
    }

    /// Shows the file's path as seen from `root`.
    pub fn relative_to(&mut self, root: &Path) {
        if let Ok(relative) = self.file.strip_prefix(root) {
            self.file = relative.to_owned();
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place(), self.code, self.message)
    }
}

/// Orders problems as a reader meets them: by file, then by place.
pub(crate) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| (&a.file, a.span, a.code).cmp(&(&b.file, b.span, b.code)));
}
