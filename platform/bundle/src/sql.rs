//! SQL files: as written, and as they run.

use std::{ops::Range, path::Path, sync::Arc};

use cameo_sqlmacros::{MacroUse, Place, Places, Rendered, is_template, render};

use crate::{
    code::Code,
    diagnostic::{Diagnostic, Span},
    macros::TenantMacros,
    source::SourceFile,
};

/// Longest line of a macro's output that a diagnostic quotes, in characters.
const QUOTE_CHARACTERS_MAX: usize = 120;

/// A SQL file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFile {
    /// As its author wrote it: what diagnostics show.
    pub source: SourceFile,
    /// The `GoogleSQL` that runs: the same text or, where it has tags, what they gave.
    pub text: Arc<str>,
    /// The macros that it was rendered with.
    pub macros: Vec<MacroUse>,
    places: Places,
}

impl SqlFile {
    /// Renders a file, or says why it cannot be.
    pub(crate) fn render(
        source: SourceFile,
        macros: &TenantMacros,
    ) -> Result<Self, Box<Diagnostic>> {
        if !is_template(&source.text) {
            let text = Arc::clone(&source.text);
            return Ok(Self { source, text, macros: Vec::new(), places: Places::default() });
        }
        match render(&source.text, macros.library()) {
            Ok(Rendered { text, places, macros }) => {
                Ok(Self { source, text: text.into(), macros, places })
            }
            Err(problem) => Err(Box::new(macros.diagnostic(&problem, Some(&source)))),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The first place of the file.
    #[must_use]
    pub fn start(&self) -> Span {
        self.source.start()
    }

    /// The place in the file of a range of bytes of the SQL that runs.
    #[must_use]
    pub fn span(&self, running: Range<usize>) -> Span {
        self.source.span(self.places.find(running).range())
    }

    /// The place in the file of a line and column, both from 1, of the SQL that runs.
    #[must_use]
    pub fn span_at(&self, line: usize, column: usize) -> Span {
        self.span(self.word_at(line, column))
    }

    /// A problem that was found at a line and column of the SQL that runs, shown where it was written.
    #[must_use]
    pub fn problem_at(
        &self,
        code: Code,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        let word = self.word_at(line, column);
        let span = self.span(word.clone());
        let problem = Diagnostic::at(code, &self.source, span, message);
        match self.places.find(word) {
            Place::Written(_) => problem,
            Place::Given { .. } => {
                let line: String = self.running().line(line).trim().to_owned();
                let quote: String = line.chars().take(QUOTE_CHARACTERS_MAX).collect();
                problem.help(format!("the line that the tag gave: {quote}"))
            }
        }
    }

    fn word_at(&self, line: usize, column: usize) -> Range<usize> {
        let span = self.running().span_at(line, column);
        span.offset..span.offset + span.len
    }

    fn running(&self) -> SourceFile {
        SourceFile::new(&self.source.path, Arc::clone(&self.text))
    }
}
