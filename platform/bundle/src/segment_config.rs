//! `SEGMENT_CONFIG`: the segments that a service defines over its own predictions and those of others.

use cameo_domain::SegmentName;
use cameo_segment::{
    ATTRIBUTES_MAX, CONDITION_BYTES_MAX, ConditionError, DESCRIPTION_BYTES_MAX, Declared,
    DefinitionError, Draft, Fault, SALT_BYTES_MAX, Share, ShareError,
};
use schemars::JsonSchema;

use crate::{
    code::Code,
    config::PredictionConfig,
    diagnostic::{Diagnostic, Located, Span},
    folded,
    reader::{Key, Reader, optional, required},
    source::SourceFile,
    yaml::Node,
};

/// Most segments of a bundle.
pub const SEGMENTS_MAX: usize = 100;

/// The keys of each segment.
pub(crate) const KEYS: &[Key] = &[
    required("NAME", "NAME: loyal"),
    required("CONDITION", "CONDITION: tier = 'High'"),
    optional("DESCRIPTION"),
    optional("ATTRIBUTES"),
    optional("SAMPLE"),
    optional("HOLD_OUT"),
];
/// The keys of `SAMPLE` and of `HOLD_OUT`.
pub(crate) const SHARE_KEYS: &[Key] =
    &[required("PERCENT", "PERCENT: 10"), required("SALT", "SALT: spring_2026")];

/// A segment as the config has it.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentSection {
    /// What is declared.
    pub declared: Declared,
    name: Span,
    condition: Span,
    attributes: Vec<Span>,
}

impl SegmentSection {
    /// What is wrong with it, at its place in the config; the message says which segment.
    #[must_use]
    pub fn problem(&self, source: &SourceFile, error: &DefinitionError) -> Diagnostic {
        let (name, draft) = (&self.declared.name, &self.declared.draft);
        let message = format!("the segment `{name}`: {error}");
        match error {
            DefinitionError::Condition(error) => self.problem_of_condition(source, error),
            DefinitionError::Attribute { attribute, .. } => {
                let at = draft.attributes.iter().position(|written| written == attribute);
                let span = at.and_then(|at| self.attributes.get(at)).unwrap_or(&self.name);
                Diagnostic::at(Code::SegmentNameUnknown, source, *span, message)
            }
            DefinitionError::TooMuch { .. } => {
                Diagnostic::at(Code::ValueOutOfRange, source, self.name, message)
            }
            DefinitionError::OneSalt(_) => {
                Diagnostic::at(Code::SegmentShareInvalid, source, self.name, message)
            }
        }
    }

    /// Somebody else defines a segment of the name; `place` says who.
    #[must_use]
    pub fn taken(&self, source: &SourceFile, place: &str) -> Diagnostic {
        let message = format!("the segment `{}` is defined in {place}", self.declared.name);
        Diagnostic::at(Code::SegmentNameTaken, source, self.name, message)
            .help("choose another name, or remove it there first")
    }

    /// The place inside of the condition becomes one of the file, whatever YAML did to the text.
    fn problem_of_condition(&self, source: &SourceFile, error: &ConditionError) -> Diagnostic {
        let code = match error.fault {
            Fault::Syntax => Code::SegmentSyntax,
            Fault::Name => Code::SegmentNameUnknown,
            Fault::Type => Code::SegmentTypeWrong,
        };
        let (name, text) = (&self.declared.name, &self.declared.draft.condition);
        let target = offset_of(text, error.line, error.column);
        let at = folded::place(&source.text, self.condition.offset, text, target);
        let problem = if let Some(at) = at {
            let word = source.text[at..].find(|c: char| !c.is_alphanumeric() && c != '_');
            let span = source.span(at..at + word.unwrap_or_default().max(1));
            let message = format!("the condition of `{name}`: {}", error.message);
            Diagnostic::at(code, source, span, message)
        } else {
            let (line, column) = (error.line, error.column);
            let message = format!(
                "the condition of `{name}`, its line {line}, column {column}: {}",
                error.message
            );
            Diagnostic::at(code, source, self.condition, message)
        };
        match &error.help {
            Some(help) => problem.help(help.clone()),
            None => problem,
        }
    }
}

/// A line and a column in characters, both from 1, in bytes.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = before.map(str::len).sum();
    let skipped = text[start..].chars().take(column.saturating_sub(1));
    start + skipped.map(char::len_utf8).sum::<usize>()
}

/// Reads the list. Conditions are checked as far as the service's own predictions go; what others have is
/// checked beside the server.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    prediction: Option<&PredictionConfig>,
) -> Vec<SegmentSection> {
    let Some(nodes) = reader.list(node) else { return Vec::new() };
    if let Some(beyond) = nodes.get(SEGMENTS_MAX) {
        let message = format!("`SEGMENT_CONFIG` has {} segments", nodes.len());
        let problem = reader
            .problem(Code::ValueOutOfRange, beyond.span, message)
            .expected(format!("at most {SEGMENTS_MAX}"));
        reader.report(problem);
    }
    let mut sections: Vec<SegmentSection> = Vec::new();
    for node in nodes.iter().take(SEGMENTS_MAX) {
        let Some(section) = segment(reader, node) else { continue };
        let name = &section.declared.name;
        if let Some(twin) = sections.iter().find(|other| other.declared.name == *name) {
            let message =
                format!("the segment `{name}` was already defined on line {}", twin.name.line);
            let problem = reader
                .problem(Code::SegmentNameTaken, section.name, message)
                .help("give one of them another name");
            reader.report(problem);
            continue;
        }
        if let Some(prediction) = prediction {
            let (service, schema) = (&prediction.service_name.value, prediction.sealed_schema());
            if let Err(error) = section.declared.read(service, &schema) {
                let problem = section.problem(reader.source, &error);
                reader.report(problem);
            }
        }
        sections.push(section);
    }
    sections
}

fn segment(reader: &mut Reader<'_>, node: &Node) -> Option<SegmentSection> {
    let section = reader.section(node, "a segment", KEYS)?;
    let name: Option<Located<SegmentName>> =
        section.get("NAME").and_then(|node| reader.parsed(node, Code::SegmentNameInvalid));
    let condition = section.get("CONDITION").and_then(|node| reader.filled_text(node, "CONDITION"));
    let description = section.get("DESCRIPTION").and_then(|node| description(reader, node));
    let attributes = section.get("ATTRIBUTES").map(|node| attributes(reader, node));
    let (attributes, spans) = attributes
        .unwrap_or_default()
        .into_iter()
        .map(|attribute| (attribute.value, attribute.span))
        .unzip();
    let sample = section.get("SAMPLE").and_then(|node| share(reader, node, "SAMPLE"));
    let hold_out = section.get("HOLD_OUT").and_then(|node| share(reader, node, "HOLD_OUT"));
    let (name, condition) = (name?, condition?);
    let description = description.unwrap_or_default();
    let draft = Draft { condition: condition.value, description, attributes, sample, hold_out };
    Some(SegmentSection {
        declared: Declared { name: name.value, draft },
        name: name.span,
        condition: condition.span,
        attributes: spans,
    })
}

fn description(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.value.len() > DESCRIPTION_BYTES_MAX {
        let message = format!("`DESCRIPTION` has {} bytes", text.value.len());
        let problem = reader
            .problem(Code::ValueOutOfRange, text.span, message)
            .expected(format!("at most {DESCRIPTION_BYTES_MAX}"));
        reader.report(problem);
        return None;
    }
    Some(text.value)
}

fn attributes(reader: &mut Reader<'_>, node: &Node) -> Vec<Located<String>> {
    let Some(nodes) = reader.list(node) else { return Vec::new() };
    if let Some(beyond) = nodes.get(ATTRIBUTES_MAX) {
        let message = format!("`ATTRIBUTES` has {} columns", nodes.len());
        let problem = reader
            .problem(Code::ValueOutOfRange, beyond.span, message)
            .expected(format!("at most {ATTRIBUTES_MAX}"));
        reader.report(problem);
    }
    let nodes = nodes.iter().take(ATTRIBUTES_MAX);
    nodes.filter_map(|node| reader.filled_text(node, "ATTRIBUTES")).collect()
}

fn share(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<Share> {
    let section = reader.section(node, name, SHARE_KEYS)?;
    let percent = section.get("PERCENT").and_then(|node| {
        let value = reader.decimal(node, "PERCENT", 0.01..=100.0)?;
        Some(Located { value, span: node.span })
    });
    let salt = section.get("SALT").and_then(|node| reader.filled_text(node, "SALT"));
    let (percent, salt) = (percent?, salt?);
    Share::new(percent.value, &salt.value)
        .map_err(|error| {
            let span = match error {
                ShareError::Percent(_) => percent.span,
                ShareError::Salt(_) => salt.span,
            };
            let message = format!("`{name}`: {error}");
            let problem = reader.problem(Code::SegmentShareInvalid, span, message);
            reader.report(problem);
        })
        .ok()
}

/// A segment as a JSON Schema is made from it; a test holds its keys to those that the reader knows.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct SegmentDocument {
    /// What it is called, among all segments of the tenant.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,39}$"))]
    name: String,
    /// SQL over predictions: those of this service by name, those of others as `service.column`. Whom it makes
    /// NULL is no member.
    #[schemars(length(min = 1, max = CONDITION_BYTES_MAX))]
    condition: String,
    /// What it is, in words.
    #[schemars(default, length(max = DESCRIPTION_BYTES_MAX))]
    description: String,
    /// Columns that members are handed on with.
    #[schemars(default, length(max = ATTRIBUTES_MAX), inner(length(min = 1)))]
    attributes: Vec<String>,
    /// Only customers in this share are members.
    sample: Option<ShareDocument>,
    /// Customers in this share are no members.
    hold_out: Option<ShareDocument>,
}

/// A share of all customers: the same ones whenever it is asked for.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ShareDocument {
    /// How much, in steps of 0.01.
    #[schemars(range(min = 0.01, max = 100.0))]
    percent: f64,
    /// What chooses: shares with different salts are independent of one another.
    #[schemars(length(min = 1, max = SALT_BYTES_MAX), regex(pattern = r"^[A-Za-z0-9_.-]+$"))]
    salt: String,
}
