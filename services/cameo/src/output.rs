//! Printing results: tables for people, JSON for programs, Markdown for comments.

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::cli::Format;

/// Narrower terminals are drawn for as if they had this many columns.
const WIDTH_MIN: usize = 40;

/// Where and how results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    colour: bool,
    width: Option<usize>,
}

impl Output {
    pub(crate) fn new(wanted: Option<Format>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let format = wanted.unwrap_or(if terminal { Format::Human } else { Format::Json });
        let coloured = format == Format::Human && terminal;
        Self {
            format,
            colour: coloured && std::env::var_os("NO_COLOR").is_none(),
            width: terminal_size::terminal_size_of(std::io::stdout())
                .map(|(width, _)| usize::from(width.0).max(WIDTH_MIN)),
        }
    }

    pub(crate) fn format(self) -> Format {
        self.format
    }

    pub(crate) fn is_human(self) -> bool {
        self.format == Format::Human
    }

    pub(crate) fn is_markdown(self) -> bool {
        self.format == Format::Markdown
    }

    /// Columns of the terminal; `None` where the output is none.
    pub(crate) fn width(self) -> Option<usize> {
        self.width
    }

    pub(crate) fn has_colour(self) -> bool {
        self.colour
    }

    /// Prints `value` as JSON, or what `human` makes of it; that is also what Markdown is where a command
    /// has no better.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Human | Format::Markdown => print(human(value).trim_end()),
            // The two of `check` are refused elsewhere, before a command begins.
            Format::Json | Format::Sarif | Format::Github => {
                print(&serde_json::to_string_pretty(value)?)
            }
        }
    }

    /// Prints a line for people; programs get nothing.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if self.is_human() {
            // What a server says beside its work must not end it.
            let _ = print(text.as_ref());
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Prints a text and the end of its line. A reader who has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("could not write to standard output")
        }
        _ => Ok(()),
    }
}

/// A borderless table with a header.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A table in Markdown, to be read here and pasted into a page.
pub(crate) fn markdown(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |"))
    };
    let mut lines =
        vec![line(&mut header.iter().copied()), format!("|{}", "---|".repeat(header.len()))];
    lines.extend(rows.into_iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{grouped, markdown};

    #[test]
    fn a_markdown_table_has_a_line_per_row() {
        let table = markdown(&["model", "×"], [vec!["forest".to_owned(), "8.0".to_owned()]]);
        assert_eq!(table, "| model | × |\n|---|---|\n| forest | 8.0 |");
    }

    #[test]
    fn digits_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
