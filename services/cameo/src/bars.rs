//! Numbers as bars in the terminal.

use std::fmt::Write;

use crate::output::Output;

/// Width of the longest bar, in characters.
const WIDTH: usize = 40;
/// Longest label; a longer one is cut.
const LABEL_MAX: usize = 36;
/// A bar's last character, by eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A number with four digits that matter.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() || size == 0.0 => format!("{value}"),
        1e6.. => format!("{value:.3e}"),
        1e3.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        10.0.. => format!("{value:.2}"),
        1.0.. => format!("{value:.3}"),
        1e-4.. => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

/// One line of a ranking.
pub(crate) struct Bar<'a> {
    pub(crate) label: &'a str,
    pub(crate) size: f64,
    pub(crate) note: String,
}

/// Bars from a common start, as long as their sizes.
pub(crate) fn ranking(bars: Vec<Bar<'_>>) -> String {
    let longest = bars.iter().map(|bar| bar.size).fold(0.0, f64::max);
    let width = label_width(bars.iter().map(|bar| bar.label));
    let lines = bars.into_iter().map(|bar| {
        let drawn = bar_of(if longest > 0.0 { bar.size / longest } else { 0.0 }, WIDTH);
        let (label, size) = (cut(bar.label), number(bar.size));
        format!("  {label:<width$} {size:>9}  {drawn:<WIDTH$} {}", bar.note).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A bar of a share of a width, exact to an eighth of a character.
pub(crate) fn bar_of(share: f64, width: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8 × width")]
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// One step of a waterfall.
pub(crate) struct Step {
    pub(crate) label: String,
    pub(crate) change: f64,
}

/// How steps lead from one number to another: each bar begins where the one before ended.
pub(crate) fn waterfall(
    (first, start): (&str, f64),
    steps: &[Step],
    (last, end): (&str, f64),
    output: Output,
) -> String {
    let mut level = start;
    let levels = steps.iter().map(|step| {
        level += step.change;
        level
    });
    let (low, high) =
        levels.chain([end]).fold((start, start), |(low, high), at| (low.min(at), high.max(at)));
    let place = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to WIDTH")]
        let place = (share * (WIDTH - 1) as f64).round() as usize;
        place.min(WIDTH - 1)
    };
    let labels = steps.iter().map(|step| step.label.as_str()).chain([first, last]);
    let width = label_width(labels);
    let mark = |label: &str, value: f64| {
        let (label, number) = (cut(label), number(value));
        format!("  {label:<width$} {number:>10}  {}│\n", " ".repeat(place(value)))
    };
    let mut text = mark(first, start);
    let mut level = start;
    for step in steps {
        let (from, to) = (place(level), place(level + step.change));
        level += step.change;
        let bar = "█".repeat(from.abs_diff(to).max(1));
        let bar = if step.change < 0.0 { output.red(&bar) } else { output.green(&bar) };
        let sign = if step.change < 0.0 { "−" } else { "+" };
        let change = format!("{sign}{}", number(step.change.abs()));
        let label = cut(&step.label);
        let _ = writeln!(text, "  {label:<width$} {change:>10}  {}{bar}", " ".repeat(from.min(to)));
    }
    text.push_str(&mark(last, end));
    text
}

fn label_width<'a>(labels: impl Iterator<Item = &'a str>) -> usize {
    labels.map(|label| label.chars().count()).max().unwrap_or_default().min(LABEL_MAX)
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    let start: String = label.chars().take(LABEL_MAX - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;

    #[test]
    fn numbers_keep_four_digits_that_matter() {
        let shown = [0.0, 1.2345e-4, 0.12344, -1.2345, 12.345, 123.45, 1234.4, 1.5e7, 1e-9];
        assert_eq!(
            shown.map(number),
            ["0", "0.0001", "0.1234", "-1.234", "12.35", "123.5", "1234", "1.500e7", "1.00e-9"]
        );
    }

    #[test]
    fn a_waterfall_starts_each_bar_where_the_one_before_ended() {
        let steps = [("visits = 3", 2.0), ("tenure = 1", -1.0), ("no effect", 0.0)]
            .map(|(label, change)| Step { label: label.to_owned(), change });
        let output = Output::new(Some(Format::Human));
        let drawn = waterfall(("expected", 1.0), &steps, ("score", 2.0), output);
        let bars: Vec<(usize, usize)> = drawn
            .lines()
            .map(|line| {
                let start = line.chars().position(|c| c == '█' || c == '│').expect("a bar");
                (start, line.chars().filter(|c| *c == '█').count())
            })
            .collect();
        let left = bars[0].0;
        assert_eq!(bars[1], (left, 39), "{drawn}");
        assert_eq!(bars[2], (left + 20, 19), "{drawn}");
        assert_eq!(bars[3].1, 1, "a step is always seen: {drawn}");
        assert_eq!(bars[4].0, left + 20, "{drawn}");
        assert!(drawn.contains("−1.000") && drawn.contains("+2.000"), "{drawn}");
    }

    #[test]
    fn the_longest_bar_fills_the_width_and_nothing_is_drawn_for_nothing() {
        let bar = |size| Bar { label: "visits", size, note: String::new() };
        let drawn = ranking(vec![bar(2.0), bar(1.0), bar(0.0)]);
        let lengths: Vec<_> =
            drawn.lines().map(|line| line.chars().filter(|c| *c == '█').count()).collect();
        assert_eq!(lengths, [WIDTH, WIDTH / 2, 0]);
    }
}
