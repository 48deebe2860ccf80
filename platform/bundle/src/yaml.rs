//! YAML into a tree in which every node knows its place.
//!
//! A typed reading stops at the first error. The tree lets [`crate::reader`] go on and report all
//! of them. Hostile input is bounded: the size by [`crate::source::TEXT_BYTES_MAX`], the depth by
//! [`NESTING_MAX`], growth by refusing aliases.

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle};

use crate::{
    code::Code,
    diagnostic::{Diagnostic, Span},
    source::SourceFile,
};

/// Deepest nesting of lists and mappings.
pub const NESTING_MAX: usize = 32;
/// Problems of one file after which reading stops.
const PROBLEMS_MAX: usize = 100;

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// `plain` means without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Was reported already: readers pass over it.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

/// Reads the one document of a file. `None` where it does not parse or is empty.
pub(crate) fn parse(source: &SourceFile, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        emit_comments: false,
    };
    let mut builder = Builder { source, problems, open: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str_with_options(&source.text, options) {
        match event {
            Ok((event, span)) => {
                let tag = span.tag_span().map(|tag| builder.place(&tag));
                let span = builder.place(&span);
                if !builder.take(event, span, tag) || builder.problems.len() >= PROBLEMS_MAX {
                    return None;
                }
            }
            Err(error) => {
                let at = builder.offset(error.marker());
                let message = format!("the YAML does not parse: {}", error.info());
                let span = source.span(at..at + 1);
                let advice = if source.line(span.line).starts_with('\t') {
                    "indent with spaces"
                } else {
                    "look for an unclosed bracket or quote and for uneven indentation, here and above"
                };
                let problem = Diagnostic::at(Code::YamlSyntax, source, span, message);
                builder.problems.push(problem.help(advice));
                return None;
            }
        }
    }
    builder.root
}

struct Builder<'a> {
    source: &'a SourceFile,
    problems: &'a mut Vec<Diagnostic>,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

enum Open {
    List { items: Vec<Node>, span: Span },
    Map { entries: Vec<Entry>, key: Option<(Option<String>, Span)>, span: Span },
}

impl Builder<'_> {
    fn report(&mut self, code: Code, span: Span, message: impl Into<String>, help: &str) {
        self.problems.push(Diagnostic::at(code, self.source, span, message).help(help));
    }

    fn offset(&self, marker: &granit_parser::Marker) -> usize {
        marker.byte_offset().unwrap_or_else(|| {
            self.source.text.chars().take(marker.index()).map(char::len_utf8).sum()
        })
    }

    fn place(&self, span: &granit_parser::Span) -> Span {
        self.source.span(self.offset(&span.start)..self.offset(&span.end))
    }

    /// Takes one event; false ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span, tag_span: Option<Span>) -> bool {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.report(
                        Code::YamlDocuments,
                        span,
                        "a second document starts here",
                        "keep one document in a file",
                    );
                    return false;
                }
            }
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.as_deref(), tag_span.unwrap_or(span));
                let plain = style == ScalarStyle::Plain;
                self.put(Node { value: Value::Scalar { text: text.into_owned(), plain }, span });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.report(
                    Code::YamlAlias,
                    span,
                    "aliases are not accepted",
                    "write the value out",
                );
                self.put(Node { value: Value::Refused, span });
            }
            Event::SequenceStart(_, _, tag) => {
                self.refuse_tag(tag.as_deref(), tag_span.unwrap_or(span));
                self.open.push(Open::List { items: Vec::new(), span });
            }
            Event::MappingStart(_, _, tag) => {
                self.refuse_tag(tag.as_deref(), tag_span.unwrap_or(span));
                self.open.push(Open::Map { entries: Vec::new(), key: None, span });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => {}
        }
        if self.open.len() > NESTING_MAX {
            self.problems.push(
                Diagnostic::at(Code::YamlTooDeep, self.source, span, "nested too deeply")
                    .expected(format!("at most {NESTING_MAX} levels")),
            );
            return false;
        }
        true
    }

    fn refuse_tag(&mut self, tag: Option<&granit_parser::Tag>, span: Span) {
        if let Some(tag) = tag {
            let message = format!("the tag `{}` is not accepted", tag.original());
            self.report(Code::YamlTag, span, message, "remove the tag");
        }
    }

    fn close(&mut self) {
        let node = match self.open.pop() {
            Some(Open::List { items, span }) => Node { value: Value::List(items), span },
            Some(Open::Map { entries, span, .. }) => Node { value: Value::Map(entries), span },
            None => return,
        };
        self.put(node);
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some((Some(name), key_span)) => entries.push(entry(name, key_span, node)),
                // The key was refused, and its value with it.
                Some((None, _)) => {}
                None => {
                    let span = node.span;
                    if let Value::Scalar { text, .. } = node.value {
                        *key = Some((Some(text), span));
                    } else {
                        *key = Some((None, span));
                        if !matches!(node.value, Value::Refused) {
                            self.problems.push(
                                Diagnostic::at(
                                    Code::WrongType,
                                    self.source,
                                    span,
                                    "a list or a mapping cannot be a key",
                                )
                                .expected("a name"),
                            );
                        }
                    }
                }
            },
        }
    }
}

/// Nothing after a colon has no place of its own: the key stands for it.
fn entry(key: String, key_span: Span, mut value: Node) -> Entry {
    let nothing = match &value.value {
        Value::Scalar { text, plain } => *plain && text.is_empty(),
        Value::Map(_) => true,
        _ => value.span.len == 0,
    };
    if nothing {
        value.span = key_span;
    }
    Entry { key, key_span, value }
}
