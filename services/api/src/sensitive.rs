//! Sensitive predictions in answers: opened for a caller with the scope, left out for all others.
//!
//! Every route that shows values of predictions passes them through [`show`] first.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, header},
};
use cameo_access::Caller;
use cameo_domain::{Key, KeyRef, Scope};
use cameo_sealing::KeysError;
use cameo_serving::{
    Current, Found, FoundMany,
    render::{Rows, Values},
};
use cameo_store::lookup::{ServedGeneration, Value};

use crate::{
    app::App,
    problem::{Code, Problem},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");

/// What is said of sensitive predictions differs from caller to caller: no cache may keep an answer with these headers.
pub(crate) fn not_to_be_kept(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, NO_STORE);
}

/// Opens the sensitive values for a caller who may see them, and puts nulls in their place for everybody
/// else. Gives the member `withheld` for the answer, with a comma before it; nothing where none is
/// missing.
///
/// A value that does not open is an error, never a wrong answer.
pub(crate) async fn show(
    app: &App,
    caller: &Caller,
    current: &Current,
    rows: Vec<(&Key, &mut Rows)>,
) -> Result<Bytes, Problem> {
    if !current.is_sensitive {
        return Ok(Bytes::new());
    }
    let served = &current.served;
    let mut values: Vec<Values> = rows.iter().map(|(_, rows)| rows.to_values()).collect();
    let opens = caller.may(served.path.tenant.as_str(), Scope::Sensitive);
    if opens {
        let mut sealed: Vec<(&Key, &mut Values)> = Vec::with_capacity(rows.len());
        for ((key, _), values) in rows.iter().zip(&mut values) {
            sealed.push((key, values));
        }
        let opened = app.tenant_keys.open(served, sealed).await;
        opened.map_err(|error| unopened(app, served, &error))?;
    } else {
        let width = served.schema.predictions().len();
        for row in values.iter_mut().flat_map(|values| values.chunks_exact_mut(width)) {
            for sensitive in served.schema.sensitive() {
                row[sensitive.at] = Value::Null;
            }
        }
    }
    for ((_, rows), values) in rows.into_iter().zip(values) {
        *rows = Rows::Values(values);
    }
    if opens {
        return Ok(Bytes::new());
    }
    // A column's name is an identifier and needs no escapes.
    let names: Vec<_> =
        served.schema.sensitive().map(|column| format!("\"{}\"", column.name)).collect();
    Ok(format!(",\"withheld\":[{}]", names.join(",")).into())
}

/// [`show`] for one key.
pub(crate) async fn show_one(
    app: &App,
    caller: &Caller,
    found: &mut Found,
) -> Result<Bytes, Problem> {
    // The rule, and not worth a list.
    if !found.current.is_sensitive {
        return Ok(Bytes::new());
    }
    let rows = vec![(&found.key, &mut found.rows)];
    show(app, caller, &found.current, rows).await
}

/// [`show`] for many keys: the answers as they may be shown, and the member `withheld`.
pub(crate) async fn show_many(
    app: &App,
    caller: &Caller,
    found: FoundMany,
    keys: &[KeyRef<'_>],
) -> Result<(FoundMany, Bytes), Problem> {
    if !found.current.is_sensitive {
        return Ok((found, Bytes::new()));
    }
    let current = Arc::clone(&found.current);
    let keys: Vec<Key> = keys.iter().map(|key| key.to_key()).collect();
    let mut answers = found.into_rows();
    let mut rows: Vec<(&Key, &mut Rows)> = Vec::with_capacity(keys.len());
    for (key, answer) in keys.iter().zip(&mut answers) {
        rows.extend(answer.as_mut().map(|answer| (key, answer)));
    }
    let withheld = show(app, caller, &current, rows).await?;
    Ok((FoundMany::of_rows(current, answers), withheld))
}

fn unopened(app: &App, served: &ServedGeneration, error: &KeysError) -> Problem {
    app.metrics.sealed_unopened.inc();
    let generation = served.generation;
    tracing::error!(
        service = %served.path, %generation, error = error as &dyn std::error::Error,
        "a sensitive prediction does not open"
    );
    match error {
        KeysError::NoMaster | KeysError::Store(_) => Problem::new(
            Code::Unavailable,
            "the sensitive predictions cannot be opened now: the key is not at hand; the platform's \
             operators can tell why",
        ),
        _ => Problem::internal(),
    }
}
