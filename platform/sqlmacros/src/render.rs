//! A template into SQL.

use std::{ops::Range, sync::Arc};

use cameo_domain::Sha256;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

use crate::{
    library::{Definition, Library, Origin, syntax},
    namespace::{Namespace, Session},
    places::Places,
    problem::{Problem, ProblemKind, Refusal, Unknown, Where},
    standard,
};

/// Largest rendered SQL, in bytes: as much as a file may have, and as the query engine takes.
pub const SQL_BYTES_MAX: usize = 256 << 10;
/// Work of one rendering, and of each macro that it calls: an instruction or 64 bytes of text cost 1.
pub const FUEL: u64 = 100_000;
/// Deepest chain of macros that call each other.
pub const DEPTH_MAX: usize = 8;
/// Deepest nesting of blocks, loops and local macros inside one text.
const NESTING_MAX: usize = 60;
/// How the engine calls the text itself; macros are called by their qualified names.
const TEMPLATE: &str = "template";

/// A macro that a text was rendered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacroUse {
    /// As templates call it, such as `std.rfm`.
    pub name: String,
    /// Whose it is.
    pub origin: Origin,
    /// Digest of its text.
    pub hash: Sha256,
}

impl MacroUse {
    pub(crate) fn of(definition: &Definition) -> Self {
        Self {
            name: definition.qualified_name(),
            origin: definition.origin,
            hash: definition.hash(),
        }
    }
}

/// What a template gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `GoogleSQL`.
    pub text: String,
    /// The way back.
    pub places: Places,
    /// The macros that were called, directly or by another macro, by name.
    pub macros: Vec<MacroUse>,
}

/// Whether a text has tags. One without is SQL as it is, and never touched.
#[must_use]
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|tag| text.contains(tag))
}

/// Renders a text with the standard library and the macros of its team.
///
/// # Errors
/// [`Problem`] at the first place that cannot be rendered.
pub fn render(text: &str, team: &Arc<Library>) -> Result<Rendered, Box<Problem>> {
    if !is_template(text) {
        return Ok(Rendered {
            text: text.to_owned(),
            places: Places::default(),
            macros: Vec::new(),
        });
    }
    let session = Arc::new(Session::default());
    let environment = environment(team, &session);
    let rendered = environment
        .template_from_named_str(TEMPLATE, text)
        .and_then(|template| template.render_with_spans(()))
        .map_err(|error| Box::new(problem(&error, text, team)));
    let (sql, spans) = rendered?;
    if sql.len() > SQL_BYTES_MAX {
        let message = format!("the SQL that the tags give has {} bytes", sql.len());
        return Err(Box::new(Problem {
            kind: ProblemKind::Unbounded,
            message,
            expected: Some(format!("at most {SQL_BYTES_MAX} bytes")),
            unknown: None,
            file: Where::Template,
            range: 0..0,
        }));
    }
    Ok(Rendered { text: sql, places: Places::new(&spans), macros: session.used() })
}

fn environment<'text>(team: &Arc<Library>, session: &Arc<Session>) -> Environment<'text> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(NESTING_MAX);
    // Names what is undefined; costs only where something is.
    environment.set_debug(true);
    // Prints the engine's inside into SQL.
    environment.remove_global("debug");
    environment.add_function("refuse", refuse);
    environment.add_filter("literal", literal);
    environment.add_filter("identifier", identifier);
    let libraries = [Arc::clone(standard()), Arc::clone(team)];
    for library in &libraries {
        let namespace = Namespace { library: Arc::clone(library), session: Arc::clone(session) };
        environment.add_global(library.origin().namespace(), Value::from_object(namespace));
    }
    // Each macro is a template of its own, so that it reaches others through their namespace alone.
    environment.set_loader(move |name| {
        let definition = libraries.iter().find_map(|library| definition(library, name));
        Ok(definition.map(|definition| definition.text.clone()))
    });
    environment
}

fn definition<'a>(library: &'a Library, qualified_name: &str) -> Option<&'a Definition> {
    let (namespace, name) = qualified_name.split_once('.')?;
    library.find(name).filter(|_| namespace == library.origin().namespace())
}

/// `refuse("…")`: a macro says what is wrong with its arguments, and the call is shown.
fn refuse(message: &str) -> Result<Value, Error> {
    Err(Refusal { is_of_caller: true, ..Refusal::new(ProblemKind::Argument, message) }.into())
}

/// A value as a literal of SQL.
fn literal(value: &Value) -> Result<String, Error> {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::None => Ok("NULL".to_owned()),
        ValueKind::Bool => Ok(if value.is_true() { "TRUE" } else { "FALSE" }.to_owned()),
        ValueKind::Number => Ok(value.to_string()),
        ValueKind::String => {
            let text = value.to_string();
            let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
            Ok(format!("'{escaped}'"))
        }
        other => {
            let message = format!("expected text, a number, true, false or none, found {other}");
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
    }
}

/// A name of a column that needs no quotes.
fn identifier(value: &Value) -> Result<String, Error> {
    let name = value.to_string();
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if starts && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(name);
    }
    let message = format!("expected a name of letters, digits and underscores, found `{name}`");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// An error of the engine at the place where it is cured.
fn problem(error: &Error, text: &str, team: &Library) -> Problem {
    let found = error.range().unwrap_or(0..0);
    let called = error.name().and_then(|name| definition(team, name));
    let text = called.map_or(text, |definition| &definition.text);
    let offset = called.map_or(0, |definition| definition.offset);
    let file = called.map_or(Where::Template, |found| Where::MacroFile(found.file.clone()));
    let found = whole(text, found);
    let range = found.start + offset..found.end + offset;
    let text = &text[found];
    if let Some(refusal) = Refusal::of(error) {
        return Problem {
            kind: refusal.kind,
            message: refusal.message.clone(),
            expected: refusal.expected.clone(),
            unknown: refusal.unknown.clone(),
            file,
            range,
        };
    }
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let (message, expected, unknown) = match error.kind() {
        ErrorKind::UndefinedError => {
            let called = [standard(), team].iter().find_map(|library| definition(library, text));
            let expected = match called {
                Some(definition) => format!("a call: {}", definition.signature()),
                None => "a name that was set; SQL stands outside of tags, or in quotes".to_owned(),
            };
            let known = [Origin::Standard, Origin::Team].map(|origin| origin.to_string()).into();
            let found = text.split('.').next().unwrap_or_default().to_owned();
            (detail, Some(expected), Some(Unknown { found, known }))
        }
        ErrorKind::UnknownFunction => {
            let name = text.split('(').next().unwrap_or_default().trim().to_owned();
            let unknown = unqualified(&name, team);
            (format!("there is no function `{name}`"), None, Some(unknown))
        }
        ErrorKind::OutOfFuel => (
            "the template does more work than SQL needs".to_owned(),
            Some(format!("at most {FUEL} steps: fewer or shorter loops")),
            None,
        ),
        _ => (detail, None, None),
    };
    Problem { kind: ProblemKind::of(error), message, expected, unknown, file, range }
}

/// What a name without a namespace may have meant.
fn unqualified(name: &str, team: &Library) -> Unknown {
    let libraries = [&**standard(), team];
    let known = libraries.iter().flat_map(|library| library.definitions());
    let origin = libraries
        .iter()
        .find(|library| library.find(name).is_some())
        .map_or(Origin::Standard, |library| library.origin());
    Unknown {
        found: format!("{origin}.{name}"),
        known: known.map(Definition::qualified_name).collect(),
    }
}

/// A range of the engine's inside of the text, with the name before a dot: it places a call at its dot.
pub(crate) fn whole(text: &str, range: Range<usize>) -> Range<usize> {
    let mut start = text.floor_char_boundary(range.start);
    let end = text.ceil_char_boundary(range.end).max(start);
    if text[start..end].starts_with('.') {
        let before = text[..start].trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
        start = before.len();
    }
    start..end
}
