//! Files of macros, taken apart.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, LazyLock},
};

use cameo_domain::Sha256;
use minijinja::{
    machinery::{
        ast::{Expr, Macro, Spanned, Stmt},
        parse,
    },
    syntax::SyntaxConfig,
};
use serde::{Deserialize, Serialize};

use crate::{
    problem::{Problem, ProblemKind, Where},
    render::whole,
};

/// Most macros of one library.
pub const MACROS_MAX: usize = 500;

/// Tags on lines of their own leave no trace, and a file keeps its last line end.
pub(crate) fn syntax() -> SyntaxConfig {
    static SYNTAX: LazyLock<SyntaxConfig> = LazyLock::new(|| {
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
        // Fails only for delimiters, which are the usual ones here.
        syntax.build().unwrap_or_default()
    });
    SYNTAX.clone()
}

/// Whose macros they are; in a template, the namespace they are called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Cameo's: `std`.
    Standard,
    /// The tenant's own: `team`.
    Team,
}

impl Origin {
    /// The namespace in templates.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Standard => "std",
            Self::Team => "team",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.namespace())
    }
}

/// A text with macros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroFile {
    /// What its author calls it, such as `macros/orders.sql`.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
}

/// An argument that a macro takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it is where the call says nothing, as written; `None` where the call must say it.
    pub default: Option<String>,
}

/// One macro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name, without the namespace.
    pub name: String,
    /// Whose it is.
    pub origin: Origin,
    /// The name of its file.
    pub file: String,
    /// Its text, from `{% macro` to the end of `{% endmacro %}`.
    pub text: String,
    /// Where the text begins in the file.
    pub offset: usize,
    /// The comment before it, without its signs.
    pub documentation: Option<String>,
    /// What it takes, in order.
    pub parameters: Vec<Parameter>,
}

impl Definition {
    /// As templates call it, such as `std.rfm`.
    #[must_use]
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.origin, self.name)
    }

    /// As its documentation shows it, such as `std.capped(value, low=none, high=none)`.
    #[must_use]
    pub fn signature(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| match &parameter.default {
            Some(default) => format!("{}={default}", parameter.name),
            None => parameter.name.clone(),
        });
        format!("{}({})", self.qualified_name(), parameters.collect::<Vec<_>>().join(", "))
    }

    /// Digest of its text.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.text.as_bytes())
    }
}

/// The macros of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    origin: Origin,
    definitions: BTreeMap<String, Definition>,
}

impl Library {
    /// A library without macros.
    #[must_use]
    pub fn empty(origin: Origin) -> Self {
        Self { origin, definitions: BTreeMap::new() }
    }

    /// Takes files apart into macros, and says everything that is wrong with them.
    #[must_use]
    pub fn parse(origin: Origin, files: &[MacroFile]) -> (Self, Vec<Problem>) {
        let mut library = Self::empty(origin);
        let mut problems = Vec::new();
        for file in files {
            match parse(&file.text, &file.name, syntax()) {
                Ok(Stmt::Template(template)) => {
                    for statement in &template.children {
                        problems.extend(library.add(file, statement));
                    }
                }
                Ok(_) => {}
                Err(error) => problems.push(unparsed(&error, file)),
            }
        }
        (library, problems)
    }

    fn add(&mut self, file: &MacroFile, statement: &Stmt<'_>) -> Option<Problem> {
        let problem = |message: String, range: Range<usize>| Problem {
            kind: ProblemKind::File,
            message,
            expected: None,
            unknown: None,
            file: Where::MacroFile(file.name.clone()),
            range,
        };
        let definition = match statement {
            Stmt::Macro(found) => define(self.origin, file, found),
            Stmt::EmitRaw(raw) if raw.raw.trim().is_empty() => return None,
            other => {
                let range = statement_range(other, &file.text);
                let other = problem("a file of macros holds something else".to_owned(), range);
                let expected = "only {% macro … %} … {% endmacro %} and {# comments #}";
                return Some(Problem { expected: Some(expected.to_owned()), ..other });
            }
        };
        let range = definition.offset..definition.offset + definition.text.len();
        if let Some(twin) = self.definitions.get(&definition.name) {
            let message =
                format!("the macro `{}` is also defined in {}", definition.name, twin.file);
            return Some(problem(message, range));
        }
        if self.definitions.len() >= MACROS_MAX {
            return Some(problem(format!("there are more than {MACROS_MAX} macros"), range));
        }
        self.definitions.insert(definition.name.clone(), definition);
        None
    }

    /// Whose macros they are.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// A macro, by its name without the namespace.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// The macros, by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }
}

fn define(origin: Origin, file: &MacroFile, found: &Spanned<Macro<'_>>) -> Definition {
    let text = &*file.text;
    let span = found.span();
    let (keyword, end) = (span.start_offset as usize, span.end_offset as usize);
    let offset = text[..keyword].rfind("{%").unwrap_or(keyword);
    let end = text[end..].find("%}").map_or(end, |at| end + at + 2);
    let required = found.args.len() - found.defaults.len();
    let parameters = found.args.iter().enumerate().map(|(index, argument)| Parameter {
        name: match argument {
            Expr::Var(name) => name.id.to_owned(),
            other => text[range(other.span())].to_owned(),
        },
        default: index
            .checked_sub(required)
            .map(|index| text[range(found.defaults[index].span())].to_owned()),
    });
    Definition {
        name: found.name.to_owned(),
        origin,
        file: file.name.clone(),
        text: text[offset..end].to_owned(),
        offset,
        documentation: comment_before(&text[..offset]),
        parameters: parameters.collect(),
    }
}

/// The comment that a text ends with.
fn comment_before(text: &str) -> Option<String> {
    let inside = text.trim_end().strip_suffix("#}")?;
    let (_, comment) = inside.rsplit_once("{#")?;
    Some(comment.trim_matches('-').trim().to_owned())
}

fn range(span: minijinja::machinery::Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

fn statement_range(statement: &Stmt<'_>, text: &str) -> Range<usize> {
    match statement {
        Stmt::EmitExpr(inner) => range(inner.span()),
        Stmt::EmitRaw(inner) => {
            let all = range(inner.span());
            let blank = text[all.clone()].len() - text[all.clone()].trim_start().len();
            all.start + blank..all.end
        }
        Stmt::ForLoop(inner) => range(inner.span()),
        Stmt::IfCond(inner) => range(inner.span()),
        Stmt::WithBlock(inner) => range(inner.span()),
        Stmt::Set(inner) => range(inner.span()),
        Stmt::SetBlock(inner) => range(inner.span()),
        Stmt::AutoEscape(inner) => range(inner.span()),
        Stmt::FilterBlock(inner) => range(inner.span()),
        Stmt::CallBlock(inner) => range(inner.span()),
        Stmt::Do(inner) => range(inner.span()),
        Stmt::Template(_) | Stmt::Macro(_) => 0..0,
    }
}

fn unparsed(error: &minijinja::Error, file: &MacroFile) -> Problem {
    Problem {
        kind: ProblemKind::Syntax,
        message: error.detail().unwrap_or("the tag does not parse").to_owned(),
        expected: None,
        unknown: None,
        file: Where::MacroFile(file.name.clone()),
        range: whole(&file.text, error.range().unwrap_or(0..0)),
    }
}
