//! What the model gives: the predictions, their names and types.

use anyhow::bail;
use arrow::datatypes::{DataType as ArrowType, Field};
use cameo_bundle::COLUMNS_MAX;
use cameo_domain::{ColumnName, DataType, ServicePath};
use cameo_scoring::{Anatomy, Port};
use serde::Serialize;

use super::answers::Key;

/// Longest name, as [`ColumnName`] allows it.
const NAME_BYTES_MAX: usize = 63;
/// What exporters call the only output of a regressor: it tells a reader nothing.
const MEANINGLESS: [&str; 4] = ["variable", "variable1", "output", "output1"];

/// One prediction and the column of the model's outputs that it is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Prediction {
    pub(super) name: ColumnName,
    #[serde(rename = "type")]
    pub(super) data_type: DataType,
    pub(super) column: String,
    /// The class of which it is the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
}

impl Prediction {
    /// Whether `predictions.sql` must give it its name.
    pub(super) fn is_renamed(&self) -> bool {
        !self.name.as_str().eq_ignore_ascii_case(&self.column)
    }
}

/// The predictions of a model whose outputs became `columns`.
pub(super) fn of_model(
    model: &Anatomy,
    columns: &[Field],
    service: &ServicePath,
    key: &Key,
) -> anyhow::Result<Vec<Prediction>> {
    if columns.is_empty() || columns.len() >= COLUMNS_MAX {
        bail!(
            "the model gives {} columns; expected 1 to {}: a service publishes the key and at most as many \
             predictions, so export the model with the outputs that are of use",
            columns.len(),
            COLUMNS_MAX - 1
        );
    }
    let mut predictions: Vec<Prediction> = Vec::new();
    let mut rest = columns;
    for port in &model.signature.outputs {
        let count = width(port, rest);
        let (mine, others) = rest.split_at(count);
        rest = others;
        let classes = classes(model, port, mine);
        for (index, field) in mine.iter().enumerate() {
            let class = classes.and_then(|classes| classes.get(index)).cloned();
            let wanted = match &class {
                Some(class) => format!("{}_{class}", stem(port)),
                None if is_label(model, port, mine) => "label".to_owned(),
                None if columns.len() == 1 && MEANINGLESS.contains(&port.name.as_str()) => {
                    service.service.to_string()
                }
                None => field.name().clone(),
            };
            let taken = |name: &str| {
                name.eq_ignore_ascii_case(key.name.as_str())
                    || predictions
                        .iter()
                        .any(|other| other.name.as_str().eq_ignore_ascii_case(name))
            };
            predictions.push(Prediction {
                name: free_name(&wanted, taken)?,
                data_type: data_type(field)?,
                column: field.name().clone(),
                class,
            });
        }
    }
    Ok(predictions)
}

/// How many of the columns, which follow one another in the order of the outputs, are this one's.
fn width(port: &Port, columns: &[Field]) -> usize {
    let known = port.columns();
    let belongs = |name: &str| {
        name == port.name || name.strip_prefix(&port.name).is_some_and(|rest| rest.starts_with('_'))
    };
    match known {
        Some(known) if known.iter().zip(columns).all(|(a, b)| a == b.name()) => known.len(),
        _ => columns.iter().take_while(|field| belongs(field.name())).count(),
    }
    .min(columns.len())
}

/// The classes whose scores the columns are.
fn classes<'a>(model: &'a Anatomy, port: &'a Port, columns: &[Field]) -> Option<&'a [String]> {
    let of_model = model.classes.as_ref().filter(|classes| {
        classes.len() == columns.len()
            && columns.len() > 1
            && columns.iter().all(|field| field.data_type().is_floating())
    });
    port.classes.as_ref().or(of_model).map(Vec::as_slice)
}

/// What the scores of classes are called.
fn stem(port: &Port) -> &str {
    if port.name.to_ascii_lowercase().contains("prob") { "probability" } else { &port.name }
}

/// Whether the output is the class that a classifier chose.
fn is_label(model: &Anatomy, port: &Port, columns: &[Field]) -> bool {
    model.classes.is_some()
        && columns.len() == 1
        && !columns[0].data_type().is_floating()
        && port.name.to_ascii_lowercase().contains("label")
}

/// `wanted` as a column name that is not taken.
fn free_name(wanted: &str, taken: impl Fn(&str) -> bool) -> anyhow::Result<ColumnName> {
    let mut name = match wanted.parse::<ColumnName>() {
        Ok(name) => name.to_string(),
        Err(_) => spelt(wanted),
    };
    let plain = name.clone();
    for number in 2.. {
        if !taken(&name) {
            break;
        }
        let suffix = format!("_{number}");
        name = format!("{}{suffix}", &plain[..plain.len().min(NAME_BYTES_MAX - suffix.len())]);
    }
    Ok(name.parse()?)
}

/// A text in the letters of a column name: `Sehr gut!` becomes `sehr_gut`.
fn spelt(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        match character {
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c.to_ascii_lowercase()),
            // A minus sets a class apart from its opposite, as in -1 and 1.
            '-' if name.ends_with('_') => name.push_str("minus_"),
            _ if !name.ends_with('_') => name.push('_'),
            _ => {}
        }
    }
    let name = name.trim_end_matches('_');
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        format!("output_{name}")
    } else {
        name.to_owned()
    };
    name[..name.len().min(NAME_BYTES_MAX)].trim_end_matches('_').to_owned()
}

fn data_type(field: &Field) -> anyhow::Result<DataType> {
    Ok(match field.data_type() {
        kind if kind.is_floating() => DataType::Float64,
        kind if kind.is_integer() => DataType::Int,
        ArrowType::Boolean => DataType::Bool,
        kind if kind.is_string() => DataType::String,
        other => bail!(
            "the model's output `{}` is {other}; expected numbers, truth values or text",
            field.name()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{free_name, spelt};

    #[test]
    fn any_text_becomes_a_column_name() {
        for (text, name) in [
            ("probability_Very good!", "probability_very_good"),
            ("probability_-1", "probability_minus_1"),
            ("0", "output_0"),
            ("…", "output"),
            ("größer", "gr_er"),
        ] {
            assert_eq!(spelt(text).trim_end_matches('_'), name);
            assert!(free_name(text, |_| false).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number_and_stays_short_enough() {
        let long = "x".repeat(63);
        let name = free_name(&long, |name| name == long).expect("a name");
        assert_eq!((name.as_str().len(), name.as_str().ends_with("_2")), (63, true));
    }
}
