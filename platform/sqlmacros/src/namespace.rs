//! `std` and `team` inside a template: calls of macros, checked and counted.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use minijinja::{
    Error, State, Value,
    value::{Kwargs, Object, from_args},
};

use crate::{
    library::{Definition, Library, Origin},
    problem::{ProblemKind, Refusal, Unknown},
    render::{DEPTH_MAX, MacroUse},
};

/// What one rendering has called so far.
#[derive(Debug, Default)]
pub(crate) struct Session {
    depth: AtomicUsize,
    used: Mutex<BTreeMap<String, MacroUse>>,
}

impl Session {
    /// The macros that were called, directly or by another macro.
    pub(crate) fn used(&self) -> Vec<MacroUse> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn record(&self, definition: &Definition) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.entry(definition.qualified_name()).or_insert_with(|| MacroUse::of(definition));
    }
}

/// A library as a template sees it.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) library: Arc<Library>,
    pub(crate) session: Arc<Session>,
}

impl Object for Namespace {
    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        name: &str,
        arguments: &[Value],
    ) -> Result<Value, Error> {
        let Some(definition) = self.library.find(name) else {
            return Err(self.unknown(name).into());
        };
        check(definition, arguments)?;
        self.session.record(definition);
        if self.session.depth.load(Ordering::Relaxed) >= DEPTH_MAX {
            let message = format!("macros call each other more than {DEPTH_MAX} deep");
            return Err(Refusal::new(ProblemKind::Unbounded, message).into());
        }
        self.session.depth.fetch_add(1, Ordering::Relaxed);
        let result = evaluate(state, definition, arguments);
        self.session.depth.fetch_sub(1, Ordering::Relaxed);
        result.map(Value::from)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.library.origin().namespace())
    }
}

impl Namespace {
    fn unknown(&self, name: &str) -> Refusal {
        let origin = self.library.origin();
        let known = self.library.definitions().map(Definition::qualified_name).collect();
        let found = format!("{origin}.{name}");
        Refusal {
            unknown: Some(Unknown { found: found.clone(), known }),
            ..Refusal::new(ProblemKind::Unknown, format!("there is no macro `{found}`"))
        }
    }
}

/// Calls a macro in a state of its own. What it consumes counts for the caller.
fn evaluate(
    state: &mut State<'_, '_>,
    definition: &Definition,
    arguments: &[Value],
) -> Result<String, Error> {
    let template = state.env().get_template(&definition.qualified_name())?;
    let mut defined = template.render_captured(())?;
    let (result, consumed) = defined.with_state_mut(|inner| {
        let result = inner.call_macro(&definition.name, arguments);
        (result, inner.fuel_levels().map_or(0, |(consumed, _)| consumed))
    });
    let text = result.map_err(|error| seen_by_caller(definition, error))?;
    state.consume_fuel(consumed)?;
    Ok(text)
}

/// Places an error at the call where the macro is not to blame: it refused its arguments, or it is one of
/// the standard library, which its users do not edit.
fn seen_by_caller(definition: &Definition, error: Error) -> Error {
    let name = definition.qualified_name();
    match Refusal::of(&error) {
        Some(refusal) if refusal.is_of_caller => {
            let message = format!("{name}: {}", refusal.message);
            Refusal { message, is_of_caller: false, ..refusal.clone() }.into()
        }
        Some(refusal) if definition.origin == Origin::Standard => refusal.clone().into(),
        None if definition.origin == Origin::Standard => {
            let kind = ProblemKind::of(&error);
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            Refusal::new(kind, format!("{name}: {detail}")).expected(definition.signature()).into()
        }
        _ => error,
    }
}

/// The arguments that are given against those that are taken.
fn check(definition: &Definition, arguments: &[Value]) -> Result<(), Error> {
    let (positional, named): (&[Value], Kwargs) = from_args(arguments)?;
    let name = definition.qualified_name();
    let refuse = |message: String| {
        Refusal::new(ProblemKind::Argument, message).expected(definition.signature())
    };
    if named.has("caller") {
        return Err(refuse(format!("{name} takes no {{% call %}} block")).into());
    }
    let parameters = &definition.parameters;
    if positional.len() > parameters.len() {
        let (found, most) = (positional.len(), parameters.len());
        return Err(refuse(format!("{name} takes at most {most} arguments, found {found}")).into());
    }
    for found in named.args() {
        if !parameters.iter().any(|parameter| parameter.name == found) {
            let known = parameters.iter().map(|parameter| parameter.name.clone()).collect();
            return Err(Refusal {
                unknown: Some(Unknown { found: found.to_owned(), known }),
                ..refuse(format!("{name} takes no argument `{found}`"))
            }
            .into());
        }
    }
    for (index, parameter) in parameters.iter().enumerate() {
        let by_name: Option<Value> =
            if named.has(&parameter.name) { Some(named.peek(&parameter.name)?) } else { None };
        let argument = &parameter.name;
        match (positional.get(index), &by_name) {
            (Some(_), Some(_)) => {
                return Err(refuse(format!("{name} is given `{argument}` twice")).into());
            }
            (Some(value), None) | (None, Some(value)) if value.is_undefined() => {
                let message = format!("the argument `{argument}` of {name} has no value");
                return Err(Refusal::new(ProblemKind::Undefined, message)
                    .expected("a value; a column or an expression of SQL is quoted: 'amount_usd'")
                    .into());
            }
            (None, None) if parameter.default.is_none() => {
                return Err(refuse(format!("{name} needs the argument `{argument}`")).into());
            }
            _ => {}
        }
    }
    Ok(())
}
