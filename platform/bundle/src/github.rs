//! Diagnostics as workflow commands, which GitHub shows at the lines of a pull request.

use std::fmt::Write;

use crate::diagnostic::{Diagnostic, Severity};

/// One command per problem. Relative paths count from the repository's root.
#[must_use]
pub fn render_github(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for found in diagnostics {
        let level = match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (line, column) = found.span.map_or((1, 1), |span| (span.line, span.column));
        let title = format!("{} {}", found.code, found.code.explain().title);
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "::{level} file={},line={line},endLine={line},col={column},endColumn={},title={}::{}",
            property(&found.file.to_string_lossy()),
            found.end_column().max(column),
            property(title.trim_end_matches('.')),
            data(&found.in_full()),
        );
    }
    text
}

/// A message: line ends would end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property: colons and commas would end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    #[test]
    fn what_would_end_a_command_early_is_escaped() {
        let found = Diagnostic::of_file(Code::UnknownKey, "a,b/c:d%/config.yaml", "50 % of\r\n::x")
            .expected("a, b")
            .warning();
        assert_eq!(
            render_github(&[found]),
            "::warning file=a%2Cb/c%3Ad%25/config.yaml,line=1,endLine=1,col=1,endColumn=1,title=CAM0012 A key \
             is not known::50 %25 of%0D%0A::x; expected a, b\n"
        );
        assert_eq!(render_github(&[]), "");
    }
}
