//! Reads sections and values out of the tree, collecting every problem on the way.

use std::{fmt, ops::RangeInclusive};

use crate::{
    code::Code,
    diagnostic::{Diagnostic, Located, Span},
    nearest::nearest,
    source::SourceFile,
    yaml::{Entry, Node, Value},
};

/// A key that a section may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    /// How it may look.
    pub(crate) example: &'static str,
}

pub(crate) const fn required(name: &'static str, example: &'static str) -> Key {
    Key { name, required: true, example }
}

pub(crate) const fn optional(name: &'static str) -> Key {
    Key { name, required: false, example: "" }
}

/// A mapping of which the keys were checked; empty where there was none.
#[derive(Default)]
pub(crate) struct Section<'a> {
    entries: Vec<(&'static str, &'a Node)>,
}

impl<'a> Section<'a> {
    /// The value of a key that is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        let node = self.entries.iter().find(|(name, _)| *name == key).map(|(_, node)| *node)?;
        (!is_null(node)).then_some(node)
    }

    /// Where a key stands that is there but says nothing.
    pub(crate) fn blank(&self, key: &str) -> Option<Span> {
        let node = self.entries.iter().find(|(name, _)| *name == key).map(|(_, node)| *node)?;
        is_null(node).then_some(node.span)
    }
}

/// Collects the problems of one file.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a SourceFile,
    pub(crate) problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    pub(crate) fn problem(&self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(code, self.source, span, message)
    }

    /// Checks that `node` is a mapping with the right keys; `name` is how people call it.
    pub(crate) fn section<'n>(
        &mut self,
        node: &'n Node,
        name: &str,
        keys: &'static [Key],
    ) -> Option<Section<'n>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "keys with values");
            return None;
        };
        let mut known: Vec<(&'static str, &Node)> = Vec::new();
        let mut near_misses = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|other| other.key == entry.key) {
                let message =
                    format!("`{}` was already given on line {}", entry.key, first.key_span.line);
                let problem = self
                    .problem(Code::DuplicateKey, entry.key_span, message)
                    .help("remove one of them");
                self.report(problem);
            } else if let Some(key) = keys.iter().find(|key| key.name == entry.key) {
                known.push((key.name, &entry.value));
            } else {
                near_misses.extend(self.unknown_key(entry, name, keys));
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            let value = known.iter().find(|(name, _)| *name == key.name);
            // A misspelt key was reported as such; that it is missing as well says nothing new.
            if value.is_none() && !near_misses.contains(&key.name) {
                let message = format!("{name} has no `{}`", key.name);
                let problem = self
                    .problem(Code::MissingKey, node.span, message)
                    .help(format!("add it, for example `{}`", key.example));
                self.report(problem);
            }
            if let Some((_, value)) = value
                && is_null(value)
            {
                let message = format!("`{}` has no value", key.name);
                let problem = self
                    .problem(Code::ValueEmpty, value.span, message)
                    .help(format!("for example `{}`", key.example));
                self.report(problem);
            }
        }
        Some(Section { entries: known })
    }

    fn unknown_key(
        &mut self,
        entry: &Entry,
        section: &str,
        keys: &'static [Key],
    ) -> Option<&'static str> {
        let close = nearest(&entry.key, keys.iter().map(|key| key.name));
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let message = format!("`{}` is not a key of {section}", shorten(&entry.key));
        let problem = self
            .problem(Code::UnknownKey, entry.key_span, message)
            .expected(format!("one of {}", names.join(", ")))
            .did_you_mean(close);
        self.report(problem);
        close
    }

    /// Text; what YAML reads as a number, a truth value or nothing must be quoted to be text.
    pub(crate) fn text(&mut self, node: &Node) -> Option<Located<String>> {
        let Value::Scalar { text, plain } = &node.value else {
            self.wrong_type(node, "text");
            return None;
        };
        if *plain && let Some(kind) = other_kind(text) {
            let problem = self
                .problem(Code::WrongType, node.span, format!("found {kind}"))
                .expected("text")
                .help(format!("quote it: \"{text}\""));
            self.report(problem);
            return None;
        }
        Some(Located { value: text.clone(), span: node.span })
    }

    /// Any single value as it is written, be it text or a number.
    pub(crate) fn written(&mut self, node: &Node) -> Option<Located<String>> {
        match &node.value {
            Value::Scalar { text, .. } => Some(Located { value: text.clone(), span: node.span }),
            _ => self.text(node),
        }
    }

    /// Text that is not blank.
    pub(crate) fn filled_text(&mut self, node: &Node, key: &str) -> Option<Located<String>> {
        let text = self.text(node)?;
        if text.value.trim().is_empty() {
            let problem =
                self.problem(Code::ValueEmpty, text.span, format!("`{key}` has no value"));
            self.report(problem);
            return None;
        }
        Some(text)
    }

    /// Text that parses as `T`; the error becomes a problem with `code`.
    pub(crate) fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
        &mut self,
        node: &Node,
        code: Code,
    ) -> Option<Located<T>> {
        let text = self.text(node)?;
        match text.value.parse() {
            Ok(value) => Some(Located { value, span: text.span }),
            Err(error) => {
                let lower = matches!(code, Code::ServiceNameInvalid | Code::SegmentNameInvalid);
                let name = as_name(&text.value, lower);
                let problem = self
                    .problem(code, text.span, error.to_string())
                    .did_you_mean(name.filter(|name| name.parse::<T>().is_ok()));
                self.report(problem);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(
        &mut self,
        node: &Node,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => text.parse::<i128>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_type(node, "a whole number");
            return None;
        };
        let value = u32::try_from(number).ok().filter(|value| range.contains(value));
        if value.is_none() {
            let problem = self
                .problem(Code::ValueOutOfRange, node.span, format!("`{key}` is {number}"))
                .expected(format!("{} to {}", range.start(), range.end()));
            self.report(problem);
        }
        value
    }

    /// A finite number within bounds.
    pub(crate) fn decimal(
        &mut self,
        node: &Node,
        key: &str,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => text.parse::<f64>().ok(),
            _ => None,
        };
        let Some(number) = number.filter(|number| number.is_finite()) else {
            self.wrong_type(node, "a number such as 0.15");
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let problem = self
            .problem(Code::ValueOutOfRange, node.span, format!("`{key}` is {number}"))
            .expected(format!("{} to {}", range.start(), range.end()));
        self.report(problem);
        None
    }

    /// `true` or `false`.
    pub(crate) fn truth(&mut self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.wrong_type(node, "true or false");
                None
            }
        }
    }

    /// The items of a list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        if let Value::List(items) = &node.value {
            Some(items)
        } else {
            self.wrong_type(node, "a list such as [a, b]");
            None
        }
    }

    /// The entries of a mapping of which the keys are names that the user chose.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n [Entry]> {
        if let Value::Map(entries) = &node.value {
            Some(entries)
        } else {
            self.wrong_type(node, expected);
            None
        }
    }

    /// A word that is none of the choices.
    pub(crate) fn unknown_choice(&self, span: Span, found: &str, choices: &[&str]) -> Diagnostic {
        let message = format!("`{}` is none of the choices", shorten(found));
        self.problem(Code::ChoiceUnknown, span, message)
            .expected(format!("one of {}", choices.join(", ")))
            .did_you_mean(nearest(found, choices.iter().copied()))
    }

    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str) {
        let found = match &node.value {
            Value::Refused => return,
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "keys with values".to_owned(),
            Value::Scalar { text, .. } if text.is_empty() => "nothing".to_owned(),
            Value::Scalar { text, plain } => match other_kind(text).filter(|_| *plain) {
                Some(kind) => kind,
                None => format!("the text `{}`", shorten(text)),
            },
        };
        let problem =
            self.problem(Code::WrongType, node.span, format!("found {found}")).expected(expected);
        self.report(problem);
    }
}

/// Longest quotation of a bundle in a message, in characters.
const QUOTED_CHARACTERS_MAX: usize = 60;

/// A quotation that fits a line.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARACTERS_MAX && !text.contains(char::is_control) {
        return text.to_owned();
    }
    let start: String =
        text.chars().filter(|c| !c.is_control()).take(QUOTED_CHARACTERS_MAX).collect();
    format!("{start}…")
}

/// The name that is left of a text when what names may not hold becomes an underscore.
fn as_name(text: &str, lower: bool) -> Option<String> {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = if lower { name.to_ascii_lowercase() } else { name };
    name.contains(|c: char| c.is_ascii_alphanumeric()).then_some(name)
}

/// Whether a value says nothing.
pub(crate) fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, plain: true }
        if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
}

/// What YAML 1.2's core schema reads in unquoted text that is not text.
fn other_kind(text: &str) -> Option<String> {
    match text {
        "" => Some("nothing".to_owned()),
        "~" | "null" | "Null" | "NULL" => Some(format!("the null `{text}`")),
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => {
            Some(format!("the truth value `{text}`"))
        }
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
            && text.parse::<f64>().is_ok() =>
        {
            Some(format!("the number {}", shorten(text)))
        }
        _ => None,
    }
}
