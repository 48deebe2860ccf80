//! `NULL_DEFAULTS` of `FEATURE_CONFIG`: what stands for the nulls of a feature.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    code::Code,
    config::PredictionConfig,
    diagnostic::{Diagnostic, Located},
    reader::{Reader, shorten},
    yaml::{Node, Value},
};

/// Most features with a default of their own.
pub(crate) const NULL_DEFAULTS_MAX: usize = 4_096;

/// A value that stands for the nulls of one feature column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum NullDefault {
    /// `true` or `false`; 1 or 0 for a column of numbers.
    Boolean(bool),
    /// A whole number; for a column of dates the days since 1970-01-01.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// Text.
    Text(String),
}

impl NullDefault {
    /// What it is, in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Boolean(value) => format!("the truth value {value}"),
            Self::Integer(value) => format!("the whole number {value}"),
            Self::Number(value) => format!("the number {value}"),
            Self::Text(text) => format!("the text `{}`", shorten(text)),
        }
    }
}

/// Values that stand for nulls, by feature column without regard to case.
pub type NullDefaults = BTreeMap<String, NullDefault>;

/// One entry of `NULL_DEFAULTS`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredDefault {
    /// The feature column and where it is named.
    pub column: Located<String>,
    /// What stands for its nulls and where that is said.
    pub value: Located<NullDefault>,
}

/// Reads the entries; `prediction` has the key, as far as it could be read.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    prediction: Option<&PredictionConfig>,
) -> Vec<DeclaredDefault> {
    let Some(entries) = reader.entries(node, "columns with values, such as {visits: 0}") else {
        return Vec::new();
    };
    if let Some(first) = entries.get(NULL_DEFAULTS_MAX) {
        let message = format!("`NULL_DEFAULTS` has {} columns", entries.len());
        let problem = reader
            .problem(Code::ValueOutOfRange, first.key_span, message)
            .expected(format!("at most {NULL_DEFAULTS_MAX}"));
        reader.report(problem);
    }
    let mut seen = BTreeMap::new();
    let mut declared = Vec::new();
    for entry in entries.iter().take(NULL_DEFAULTS_MAX) {
        let column = Located { value: entry.key.clone(), span: entry.key_span };
        if let Some(line) = seen.insert(entry.key.to_ascii_lowercase(), entry.key_span.line) {
            let message = format!("`{}` was already given on line {line}", shorten(&entry.key));
            let problem = reader
                .problem(Code::DuplicateKey, entry.key_span, message)
                .help("remove one of them; SQL ignores case");
            reader.report(problem);
        } else if let Some(problem) = key(reader, &column, prediction) {
            reader.report(problem);
        } else if let Some(value) = value(reader, &entry.value) {
            declared.push(DeclaredDefault { column, value });
        }
    }
    declared
}

/// A customer without a key is nobody, whatever stands in its place.
fn key(
    reader: &Reader<'_>,
    column: &Located<String>,
    prediction: Option<&PredictionConfig>,
) -> Option<Diagnostic> {
    let key = prediction?.names.first()?.value.as_str();
    if !key.eq_ignore_ascii_case(&column.value) {
        return None;
    }
    let message = format!("`{key}` is the key: a row without it belongs to no customer");
    let problem = reader.problem(Code::NullDefaultUnusable, column.span, message);
    Some(problem.expected("a feature that the model reads").help("remove it"))
}

fn value(reader: &mut Reader<'_>, node: &Node) -> Option<Located<NullDefault>> {
    let Value::Scalar { text, plain } = &node.value else {
        reader.wrong_type(node, "one value: a number, true, false or text");
        return None;
    };
    let value = match text.as_str() {
        _ if !plain => NullDefault::Text(text.clone()),
        "" | "~" | "null" | "Null" | "NULL" => {
            let problem = reader
                .problem(Code::ValueEmpty, node.span, "a default for nulls is not null itself")
                .help(
                    "give a value, or remove the column: its nulls stay nulls; quote a text: \"\"",
                );
            reader.report(problem);
            return None;
        }
        "true" | "True" | "TRUE" => NullDefault::Boolean(true),
        "false" | "False" | "FALSE" => NullDefault::Boolean(false),
        text => return number_or_text(reader, node, text),
    };
    Some(Located { value, span: node.span })
}

/// Reads unquoted text as YAML does: what looks like a number is one.
fn number_or_text(
    reader: &mut Reader<'_>,
    node: &Node,
    text: &str,
) -> Option<Located<NullDefault>> {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let unsigned = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let value = match text.parse::<f64>().ok().filter(|_| numeric) {
        Some(number) if number.is_finite() => {
            text.parse().map_or(NullDefault::Number(number), NullDefault::Integer)
        }
        Some(_) => return infinite(reader, node, text),
        None if matches!(unsigned.as_str(), ".inf" | ".nan") => {
            return infinite(reader, node, text);
        }
        None => NullDefault::Text(text.to_owned()),
    };
    Some(Located { value, span: node.span })
}

fn infinite(reader: &mut Reader<'_>, node: &Node, text: &str) -> Option<Located<NullDefault>> {
    let message = format!("`{}` is not a finite number", shorten(text));
    let problem = reader
        .problem(Code::ValueOutOfRange, node.span, message)
        .expected("a finite number of 64 bits")
        .help("a null of a float input is NaN without a default");
    reader.report(problem);
    None
}
