//! Diagnostics for people.

use std::fmt::{self, Write};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, ThemeStyles,
};

use crate::diagnostic::{Diagnostic, Severity};

/// Width at which text wraps, in columns.
const WIDTH_COLUMNS: usize = 100;
/// Longest label beside the excerpt, in characters; longer texts go below it, where they wrap.
const LABEL_CHARACTERS_MAX: usize = 48;

/// Most problems that are shown. Each excerpt is looked for from the file's beginning, and a file of nothing but
/// unknown keys has tens of thousands.
const SHOWN_MAX: usize = 100;

/// The problems one after the other, each with its excerpt; of those beyond [`SHOWN_MAX`] their number.
#[must_use]
pub fn render_human(diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut theme = GraphicalTheme::unicode();
    if !colour {
        theme.styles = ThemeStyles::none();
    }
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH_COLUMNS)
        .with_links(false)
        .with_context_lines(1)
        .without_syntax_highlighting();
    let mut out = String::new();
    for (index, diagnostic) in diagnostics.iter().take(SHOWN_MAX).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let report = Report::of(diagnostic);
        // Writing into a string does not fail; a source that cannot be shown still has its text.
        if handler.render_report(&mut out, &report).is_err() {
            out.push_str(&diagnostic.to_string());
            out.push('\n');
        }
    }
    let more = diagnostics.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(out, "\n… and {more} more; correct these first");
    }
    out
}

struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: NamedSource<String>,
    help: Option<String>,
    label: Option<String>,
}

impl<'a> Report<'a> {
    fn of(diagnostic: &'a Diagnostic) -> Self {
        let text = diagnostic.text.as_deref().unwrap_or_default();
        // The place of a text's end is after its last character, which must exist to be shown.
        let source = NamedSource::new(diagnostic.file.to_string_lossy(), format!("{text}\n"));
        let expected = diagnostic.expected.as_ref().map(|text| format!("expected {text}"));
        let is_short = |text: &&String| text.chars().count() <= LABEL_CHARACTERS_MAX;
        let label = expected.as_ref().filter(is_short).cloned();
        let below = expected.filter(|_| label.is_none());
        let help = match (below, diagnostic.help.clone()) {
            (Some(expected), Some(help)) => Some(format!("{expected}\n{help}")),
            (one, other) => one.or(other),
        };
        Self { diagnostic, source, help, label }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.diagnostic.span?;
        let label = LabeledSpan::new(self.label.clone(), span.offset, span.len);
        Some(Box::new(std::iter::once(label)))
    }
}
