//! The predictions of a sample beside what is served now, drawn in the terminal.

use std::fmt::Write;

use cameo_registry::plan::{Distribution, PredictionSample, SampleRun, Sampled};

use super::{
    human::{LABEL, padded},
    words,
};
use crate::{
    bars::{bar_of, number},
    drawing::wrap,
    output::Output,
};

/// Width of a histogram.
const HISTOGRAM: usize = cameo_registry::plan::BARS;
/// Width of the bar of a word.
const BAR: usize = 16;
/// Width of a word.
const WORD: usize = 18;
/// Width of a number.
const NUMBER: usize = 9;

pub(super) fn describe(run: &SampleRun, width: usize, output: Output) -> String {
    let mut text = String::new();
    let mut told = |label: &str, mark: &str, line: &str, paint: &dyn Fn(&str) -> String| {
        for (at, line) in wrap(line, width - 4 - LABEL).into_iter().enumerate() {
            let (label, mark) = match at {
                0 => (label, mark),
                _ if mark.is_empty() => ("", ""),
                _ => ("", " "),
            };
            let label = output.dim(&format!("{label:<LABEL$}"));
            let line = if mark.is_empty() { line } else { format!("{mark} {line}") };
            let _ = writeln!(text, "  {label}{}", paint(&line));
        }
    };
    let plain = |line: &str| line.to_owned();
    let red = |line: &str| output.red(line);
    let yellow = |line: &str| output.yellow(line);
    match run {
        SampleRun::Halted { reason } => {
            told("sample", "✗", &format!("a run would halt: {reason}"), &red);
        }
        SampleRun::Ran(sampled) => {
            let all = sampled.predictions.iter().all(|one| words::is_as_now(sampled, one));
            let as_now = if all { ": every value as it is now" } else { "" };
            told("sample", "", &format!("{}{as_now}", words::sampled(sampled)), &plain);
            for caution in words::cautions(sampled) {
                told("", "!", &caution, &yellow);
            }
            if !all {
                draw(sampled, output, &mut text);
            }
        }
    }
    text
}

fn draw(sampled: &Sampled, output: Output, text: &mut String) {
    for prediction in &sampled.predictions {
        let name = format!("{} {}", prediction.column.name, prediction.column.data_type);
        let as_now = words::is_as_now(sampled, prediction);
        let shift = if as_now {
            "every value as it is now".to_owned()
        } else {
            words::shift(prediction).unwrap_or_default()
        };
        let shift =
            if words::is_shifted(prediction) { output.yellow(&shift) } else { output.dim(&shift) };
        let line = format!("    {}  {shift}", output.bold(&padded(&name, 30)));
        let _ = writeln!(text, "{}", line.trim_end());
        if as_now {
            continue;
        }
        match &prediction.sampled {
            Distribution::Numbers { .. } => numbers(prediction, output, text),
            Distribution::Words { .. } => shares(prediction, output, text),
        }
    }
}

fn numbers(prediction: &PredictionSample, output: Output, text: &mut String) {
    let header: String = ["min", "median", "p95", "max", "mean", "null"]
        .map(|title| format!("{title:>NUMBER$}"))
        .concat();
    let _ = writeln!(text, "{}", output.dim(&format!("{:1$}{header}", "", 4 + 6 + HISTOGRAM)));
    let both = [("now", prediction.current.as_ref()), ("then", Some(&prediction.sampled))];
    let both = both.map(|(name, side)| (name, side.filter(|side| is_numbers(side))));
    let tallest = words::tallest_share(both.iter().filter_map(|(_, side)| *side));
    for (name, side) in both {
        let Some(Distribution::Numbers { nulls, numbers, histogram, .. }) = side else { continue };
        let line = padded(&words::sparkline(histogram, tallest), HISTOGRAM);
        let line = if name == "then" { output.green(&line) } else { line };
        let shown = numbers.map_or(String::new(), |found| {
            [found.min, found.p50, found.p95, found.max, found.mean]
                .map(|value| format!("{:>NUMBER$}", number(value)))
                .concat()
        });
        let shown = padded(&shown, 5 * NUMBER);
        let _ = writeln!(
            text,
            "    {}{line}{shown}{nulls:>NUMBER$}",
            output.dim(&format!("{name:<6}"))
        );
    }
}

fn is_numbers(distribution: &Distribution) -> bool {
    matches!(distribution, Distribution::Numbers { .. })
}

fn shares(prediction: &PredictionSample, output: Output, text: &mut String) {
    let beside = prediction.current.is_some();
    let width = BAR + 10;
    let header = if beside {
        format!("    {:WORD$}{:width$}{}", "", "now", "then")
    } else {
        format!("    {:WORD$}{}", "", "then")
    };
    let _ = writeln!(text, "{}", output.dim(&header));
    for (word, then, now) in words::word_shares(prediction) {
        let side = |share: f64| {
            format!("{} {:>8}", padded(&bar_of(share, BAR), BAR), words::percent(share))
        };
        let now = now.map_or(String::new(), |share| format!("{} ", side(share)));
        let line = format!("    {}{now}{}", padded(&word, WORD), output.green(&side(then)));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let told = [Some(&prediction.sampled), prediction.current.as_ref()].map(|side| match side {
        Some(Distribution::Words { nulls, different, .. }) => Some((*nulls, *different)),
        _ => None,
    });
    let [Some((nulls, different)), before] = told else { return };
    let was = |old: Option<u64>| old.map_or(String::new(), |old| format!(" (now {old})"));
    let different_before = was(before.map(|(_, different)| different));
    let nulls_before = was(before.map(|(nulls, _)| nulls));
    if nulls > 0 || before.is_some_and(|(nulls, _)| nulls > 0) {
        let _ = writeln!(text, "    {}", output.dim(&format!("null: {nulls}{nulls_before}")));
    }
    if different > cameo_registry::plan::WORDS_MAX as u64 {
        let told = format!("{different} different values{different_before}");
        let _ = writeln!(text, "    {}", output.dim(&told));
    }
}
