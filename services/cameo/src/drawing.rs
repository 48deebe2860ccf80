//! Boxes and arrows in a given width.

/// Columns between two boxes of a row, and of a box around its text.
const GAP: usize = 2;
const FRAME: usize = 4;
/// Narrowest text of a box.
const TEXT_MIN: usize = 12;

/// A box: a title in its upper border and lines of text.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
}

impl Frame {
    fn text_width(&self) -> usize {
        let longest = self.lines.iter().map(|line| columns(line)).max().unwrap_or(0);
        longest.max(columns(&self.title) + 1)
    }

    fn width(&self) -> usize {
        self.text_width() + FRAME
    }

    /// The same with no line longer than fits.
    fn wrapped(&self, width: usize) -> Self {
        let room = width.saturating_sub(FRAME).max(TEXT_MIN);
        let lines = self.lines.iter().flat_map(|line| wrap(line, room)).collect();
        Self { title: cut(&self.title, room - 1), lines }
    }

    /// The line of the box at a height; below the box, spaces.
    fn line(&self, height: usize) -> String {
        let width = self.text_width();
        if height == 0 {
            return match self.title.as_str() {
                "" => format!("┌{}┐", "─".repeat(width + 2)),
                title => format!("┌ {title} {}┐", "─".repeat(width - columns(title))),
            };
        }
        match self.lines.get(height - 1) {
            Some(line) => format!("│ {line}{} │", " ".repeat(width - columns(line))),
            None if height == self.lines.len() + 1 => format!("└{}┘", "─".repeat(width + 2)),
            None => " ".repeat(width + FRAME),
        }
    }
}

/// Draws rows of boxes from top to bottom with an arrow into each box.
pub(crate) fn draw(steps: &[Vec<Frame>], width: usize) -> String {
    let rows: Vec<(bool, Vec<Frame>)> =
        steps.iter().flat_map(|step| arranged(step, width)).collect();
    let middle = rows.iter().map(|(_, row)| row_width(row)).max().unwrap_or(0) / 2;
    let mut lines = Vec::new();
    for (index, (starts_step, row)) in rows.iter().enumerate() {
        let indent = middle.saturating_sub(row_width(row) / 2);
        if index > 0 && *starts_step {
            lines.push(arrows(row, indent));
        }
        let height = row.iter().map(|frame| frame.lines.len()).max().unwrap_or(0) + 2;
        for at in 0..height {
            let parts: Vec<String> = row.iter().map(|frame| frame.line(at)).collect();
            let line = format!("{}{}", " ".repeat(indent), parts.join(&" ".repeat(GAP)));
            lines.push(line.trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// The boxes of a step in as many rows as the width asks for; whether a row is the first of its step.
fn arranged(step: &[Frame], width: usize) -> Vec<(bool, Vec<Frame>)> {
    let mut rows: Vec<Vec<Frame>> = vec![vec![]];
    for frame in step.iter().map(|frame| frame.wrapped(width)) {
        let last = rows.len() - 1;
        if !rows[last].is_empty() && row_width(&rows[last]) + GAP + frame.width() > width {
            rows.push(vec![frame]);
        } else {
            rows[last].push(frame);
        }
    }
    rows.into_iter().enumerate().map(|(index, row)| (index == 0, row)).collect()
}

fn row_width(row: &[Frame]) -> usize {
    row.iter().map(Frame::width).sum::<usize>() + GAP * row.len().saturating_sub(1)
}

fn arrows(row: &[Frame], indent: usize) -> String {
    let mut line = " ".repeat(indent);
    for frame in row {
        let before = frame.width() / 2;
        line.push_str(&" ".repeat(before));
        line.push('▼');
        line.push_str(&" ".repeat(frame.width() - before - 1 + GAP));
    }
    line.trim_end().to_owned()
}

/// Breaks a line at spaces so that no part is longer than `room`; a longer word is cut.
pub(crate) fn wrap(line: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let word = cut(word, room);
        let last = lines.len() - 1;
        let current = &mut lines[last];
        if current.is_empty() {
            *current = word;
        } else if columns(current) + 1 + columns(&word) <= room {
            current.push(' ');
            current.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

pub(crate) fn cut(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(title: &str, lines: &[&str]) -> Frame {
        Frame {
            title: title.to_owned(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn boxes_of_a_step_stand_side_by_side_where_they_fit() {
        let steps = [
            vec![frame("features", &["3 columns"])],
            vec![frame("", &["Scaler"]), frame("", &["OneHotEncoder ×2"])],
            vec![frame("model", &["trees"])],
        ];
        insta::assert_snapshot!(draw(&steps, 60), @"
                  ┌ features ─┐
                  │ 3 columns │
                  └───────────┘
             ▼                ▼
        ┌────────┐  ┌──────────────────┐
        │ Scaler │  │ OneHotEncoder ×2 │
        └────────┘  └──────────────────┘
                        ▼
                   ┌ model ─┐
                   │ trees  │
                   └────────┘
        ");
        insta::assert_snapshot!(draw(&steps, 24), @"
            ┌ features ─┐
            │ 3 columns │
            └───────────┘
                  ▼
             ┌────────┐
             │ Scaler │
             └────────┘
        ┌──────────────────┐
        │ OneHotEncoder ×2 │
        └──────────────────┘
                  ▼
             ┌ model ─┐
             │ trees  │
             └────────┘
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long =
            frame("a title that is much too long for it", &["one two three", &"x".repeat(90)]);
        for width in [20, 33, 80] {
            for line in draw(&[vec![long.clone(), long.clone()]], width).lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
    }
}
