//! A model for people: a picture of the pipeline, then the facts.

use std::fmt::Write;

use cameo_bundle::Bundle;
use cameo_scoring::{Anatomy, ModelSignature};

use super::{
    inspect::{Inspected, OutputColumns},
    speed::Speed,
    steps,
};
use crate::{
    drawing::{Frame, draw, wrap},
    output::{Output, grouped, table},
};

/// Width where the output is no terminal, and the widest picture on one.
const WIDTH: usize = 100;
/// Length of a list of names, from which on the rest is counted.
const NAMES_LENGTH: usize = 60;
/// Space before everything below a heading.
const INDENT: &str = "  ";

pub(super) fn describe(inspected: &Inspected, bundle: Option<&Bundle>, output: Output) -> String {
    let width = output.width().unwrap_or(WIDTH).min(WIDTH);
    let mut text = format!(
        "{}   {}\n",
        output.bold(&inspected.file.display().to_string()),
        head(&inspected.model)
    );
    let picture = draw(&picture(inspected, bundle), width - INDENT.len());
    let _ = write!(text, "\n{}\n", indented(&coloured(&picture, output)));
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            let _ = write!(text, "\n{}\n{}\n", output.dim(title), indented(body.trim_end()));
        }
    };
    section("inputs", inputs(inspected));
    section("outputs and the columns that they become", outputs(&inspected.outputs_become));
    if let Some(predictions) = &inspected.predictions {
        let rows = predictions.iter().map(|bound| {
            let from = bound.from.clone().unwrap_or_else(|| output.red("nothing gives it"));
            vec![bound.prediction.clone(), bound.data_type.clone(), format!("← {from}")]
        });
        section("predictions", table(&["name", "type", "from"], rows));
    }
    section("operators", operators(inspected));
    section("trees", trees(&inspected.model));
    section("runs on", inspected.runs_on.clone().unwrap_or_default());
    section("speed", speed(inspected));
    let warnings: Vec<String> = inspected
        .preprocess
        .iter()
        .chain([&inspected.model])
        .flat_map(|model| &model.warnings)
        // With a preprocess model the features feed that one.
        .filter(|warning| inspected.preprocess.is_none() || !warning.contains("features.sql"))
        .map(|warning| hanging(warning, width - INDENT.len()))
        .collect();
    section("warnings", warnings.join("\n"));
    text
}

/// Size and origin in one line.
fn head(model: &Anatomy) -> String {
    let mut parts = vec![size(model.bytes)];
    if !model.producer.is_empty() {
        parts.push(format!("written by {}", model.producer));
    }
    let sets = model.operator_sets.iter().map(|(domain, version)| format!("{domain} {version}"));
    parts.extend(sets);
    parts.join(", ")
}

fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{} bytes", grouped(bytes as u64)),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn picture(inspected: &Inspected, bundle: Option<&Bundle>) -> Vec<Vec<Frame>> {
    let mut rows = vec![vec![features(inspected)]];
    let model_title = "model";
    let parts =
        [("preprocess", inspected.preprocess.as_ref()), (model_title, Some(&inspected.model))];
    for (title, model) in parts {
        for step in model.map(steps::of).unwrap_or_default() {
            let frames = step.into_iter().map(|lines| Frame { title: title.to_owned(), lines });
            rows.push(frames.collect());
        }
    }
    let columns = inspected.outputs_become.iter().map(|output| match &output.columns {
        Some(columns) => few(columns),
        None => format!("{}…", output.output),
    });
    let outputs = columns.collect();
    let title = if bundle.is_some() { "model_outputs" } else { "columns" };
    rows.push(vec![Frame { title: title.to_owned(), lines: outputs }]);
    if let Some(predictions) = &inspected.predictions {
        let names: Vec<String> = predictions.iter().map(|bound| bound.prediction.clone()).collect();
        if bundle.is_some_and(|bundle| bundle.predictions_sql.is_some()) {
            let lines = vec!["one row per scored row".to_owned()];
            rows.push(vec![Frame { title: "predictions.sql".to_owned(), lines }]);
        }
        rows.push(vec![Frame { title: "predictions".to_owned(), lines: vec![few(&names)] }]);
    }
    rows
}

fn features(inspected: &Inspected) -> Frame {
    let entry = inspected.preprocess.as_ref().unwrap_or(&inspected.model);
    let ports = &entry.signature.inputs;
    let lines = match &ports[..] {
        [port] => vec![format!("{} {port}", port.name), bound_by(&entry.signature).to_owned()],
        ports => {
            let names: Vec<String> =
                ports.iter().map(|port| format!("{} {}", port.name, port.kind)).collect();
            vec![few(&names), bound_by(&entry.signature).to_owned()]
        }
    };
    Frame { title: "features.sql".to_owned(), lines }
}

/// How columns find their input.
fn bound_by(signature: &ModelSignature) -> &'static str {
    match (&signature.inputs[..], &signature.feature_names) {
        ([_], Some(_)) => "columns by the names in the model",
        ([_], None) => "columns in the order of the query",
        _ => "each input takes the column of its name",
    }
}

fn inputs(inspected: &Inspected) -> String {
    let entry = inspected.preprocess.as_ref().unwrap_or(&inspected.model);
    let lone = entry.signature.inputs.len() == 1;
    table(
        &["name", "type", "takes"],
        entry.signature.inputs.iter().map(|port| {
            let takes = match &entry.signature.feature_names {
                Some(names) if lone => few(names),
                _ if lone && inspected.predictions.is_some() => few(&inspected.features),
                _ if lone => bound_by(&entry.signature).to_owned(),
                _ => format!("column {}", port.name),
            };
            vec![port.name.clone(), port.to_string(), takes]
        }),
    )
}

fn outputs(outputs: &[OutputColumns]) -> String {
    table(
        &["output", "type", "columns"],
        outputs.iter().map(|output| {
            let columns = match &output.columns {
                Some(columns) => few(columns),
                None => format!(
                    "{0} or {0}_0, {0}_1, … (the file leaves the width open)",
                    output.output
                ),
            };
            vec![output.output.clone(), output.kind.clone(), columns]
        }),
    )
}

fn operators(inspected: &Inspected) -> String {
    let rows = inspected.preprocess.iter().chain([&inspected.model]).flat_map(|model| {
        model.operator_uses.iter().map(|operator| {
            let by = if operator.native { "Cameo" } else { "tract" };
            vec![operator.name.clone(), operator.count.to_string(), by.to_owned()]
        })
    });
    table(&["operator", "nodes", "by"], rows)
}

fn trees(model: &Anatomy) -> String {
    if model.ensembles.is_empty() {
        return String::new();
    }
    table(
        &["node", "trees", "leaves", "most", "depth", "features", "scores", "kernel"],
        model.ensembles.iter().map(|ensemble| {
            vec![
                ensemble.node.clone(),
                grouped(ensemble.trees as u64),
                grouped(ensemble.leaves as u64),
                ensemble.leaves_max.to_string(),
                ensemble.depth_max.to_string(),
                ensemble.features.to_string(),
                ensemble.targets.to_string(),
                ensemble.kernel.clone(),
            ]
        }),
    )
}

fn speed(inspected: &Inspected) -> String {
    match (&inspected.speed, &inspected.not_measured) {
        (Some(Speed { rows_per_second, single_row_us, how, .. }), _) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
            let rate = grouped(two_digits(*rows_per_second as u64));
            format!("about {rate} rows/s; one row alone {single_row_us:.1} µs\n{how}")
        }
        (None, Some(reason)) => format!("not measured: {reason}"),
        (None, None) => String::new(),
    }
}

/// An estimate with no more digits than it deserves.
fn two_digits(rate: u64) -> u64 {
    let unit = 10_u64.pow(rate.max(1).ilog10().saturating_sub(1));
    (rate + unit / 2) / unit * unit
}

/// The first of many names.
fn few(names: &[String]) -> String {
    let mut shown = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 && shown.chars().count() + name.chars().count() > NAMES_LENGTH {
            return format!("{shown} and {} more", names.len() - index);
        }
        if index > 0 {
            shown.push_str(", ");
        }
        shown.push_str(name);
    }
    shown
}

/// A warning whose further lines stand below its first word.
fn hanging(warning: &str, width: usize) -> String {
    format!("! {}", wrap(warning, width.saturating_sub(2)).join("\n  "))
}

fn indented(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| format!("{INDENT}{line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The frames step back behind what they hold.
fn coloured(picture: &str, output: Output) -> String {
    if !output.has_colour() {
        return picture.to_owned();
    }
    let mut text = String::new();
    for part in picture.split_inclusive(|c: char| !is_frame(c)) {
        let (frame, rest) = part.split_at(part.find(|c: char| !is_frame(c)).unwrap_or(part.len()));
        if !frame.is_empty() {
            text.push_str(&output.dim(frame));
        }
        text.push_str(rest);
    }
    text
}

fn is_frame(c: char) -> bool {
    matches!(c, '─' | '│' | '┌' | '┐' | '└' | '┘' | '▼')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_keep_two_digits() {
        assert_eq!([0, 9, 987, 2_674_321].map(two_digits), [0, 9, 990, 2_700_000]);
    }

    #[test]
    fn many_names_become_a_few() {
        let names: Vec<String> = (0..100).map(|index| format!("f{index}")).collect();
        assert_eq!(few(&names[..3]), "f0, f1, f2");
        assert!(few(&names).ends_with(", f12, f13 and 86 more"), "{}", few(&names));
        let long = [vec!["x".repeat(100)], names].concat();
        assert!(few(&long).ends_with("xxx and 100 more"), "a first name is always shown");
    }
}
