//! The difference between two texts, line by line.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use similar::{Algorithm, ChangeTag, TextDiff};

/// Lines around a difference that are shown with it.
const CONTEXT_LINES: usize = 2;
/// Most lines of one comparison; the others are counted.
pub const DIFF_LINES_MAX: usize = 60;
/// Longest search for a short comparison; beyond it, it is right but longer than need be.
const SEARCH_MAX: Duration = Duration::from_millis(500);

/// How a text differs from what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextChange {
    /// Its file, such as `features.sql`.
    pub file: Cow<'static, str>,
    /// Lines that are new.
    pub lines_added: usize,
    /// Lines that are gone.
    pub lines_removed: usize,
    /// The lines that differ, with some around them.
    pub lines: Vec<DiffLine>,
    /// Lines beyond [`DIFF_LINES_MAX`].
    pub lines_left_out: usize,
}

/// A line of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "text")]
pub enum DiffLine {
    /// In both.
    Same(String),
    /// Only in the new text.
    Added(String),
    /// Only in the old text.
    Removed(String),
    /// Lines that are in both were passed over; the next one has this number in the new text.
    Gap(usize),
}

/// Compares two texts; `None` where they are the same. A text that is not there has no lines.
#[must_use]
pub fn text_change(file: &'static str, old: &str, new: &str) -> Option<TextChange> {
    if old == new {
        return None;
    }
    let mut configured = TextDiff::configure();
    let diff = configured.algorithm(Algorithm::Myers).timeout(SEARCH_MAX).diff_lines(old, new);
    let mut change = TextChange {
        file: file.into(),
        lines_added: 0,
        lines_removed: 0,
        lines: vec![],
        lines_left_out: 0,
    };
    for group in diff.grouped_ops(CONTEXT_LINES) {
        let start = group.first().map_or(0, |operation| operation.new_range().start) + 1;
        if start > 1 || !change.lines.is_empty() {
            change.push(DiffLine::Gap(start));
        }
        for line in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let text = line.value().trim_end_matches(['\n', '\r']).to_owned();
            match line.tag() {
                ChangeTag::Equal => change.push(DiffLine::Same(text)),
                ChangeTag::Insert => {
                    change.lines_added += 1;
                    change.push(DiffLine::Added(text));
                }
                ChangeTag::Delete => {
                    change.lines_removed += 1;
                    change.push(DiffLine::Removed(text));
                }
            }
        }
    }
    Some(change)
}

impl TextChange {
    fn push(&mut self, line: DiffLine) {
        if self.lines.len() < DIFF_LINES_MAX {
            self.lines.push(line);
        } else {
            self.lines_left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_those_around_it() {
        let old = "a\nb\nc\nd\ne\nf\n";
        let change =
            text_change("features.sql", old, &old.replace("d\n", "D\n")).expect("a change");
        assert_eq!((change.lines_added, change.lines_removed), (1, 1));
        let text = |text: &str| text.to_owned();
        assert_eq!(
            change.lines,
            [
                DiffLine::Gap(2),
                DiffLine::Same(text("b")),
                DiffLine::Same(text("c")),
                DiffLine::Removed(text("d")),
                DiffLine::Added(text("D")),
                DiffLine::Same(text("e")),
                DiffLine::Same(text("f")),
            ]
        );
        assert_eq!(text_change("features.sql", old, old), None);
    }

    #[test]
    fn a_long_comparison_is_cut_and_says_so() {
        let new = "a line\n".repeat(200);
        let change = text_change("features.sql", "", &new).expect("a change");
        assert_eq!(change.lines.len(), DIFF_LINES_MAX);
        assert_eq!((change.lines_left_out, change.lines_added), (200 - DIFF_LINES_MAX, 200));
    }
}
