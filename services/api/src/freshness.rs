//! How what is answered is named, so that whoever has it need not be told again.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderValue, header};
use cameo_domain::Key;
use cameo_serving::Current;
use chrono::{DateTime, Utc};

use crate::values;

/// Names what is answered: generation, key, and whether it is stale. The number of its rows stands beside
/// the generation: it changes when somebody is erased from it, and what a client keeps is asked for anew.
///
/// Weak, because the age in the body goes on while what is said stays the same.
pub(crate) fn entity_tag(current: &Current, key: &Key, stale: bool) -> Option<HeaderValue> {
    let (generation, rows) = (current.served.generation, current.served.rows);
    let stale = if stale { "-stale" } else { "" };
    match key {
        Key::Int(key) => values::short(format_args!("W/\"{generation}.{rows}-{key}{stale}\"")),
        Key::String(key) => {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            let key = hasher.finish();
            values::short(format_args!("W/\"{generation}.{rows}-{key:x}{stale}\""))
        }
    }
}

/// Names what several services say about a customer. The order of the services is part of it.
pub(crate) fn profile_tag<'a>(
    sources: impl Iterator<Item = &'a Current>,
    asked: &impl Hash,
    now: DateTime<Utc>,
) -> Option<HeaderValue> {
    let mut hasher = DefaultHasher::new();
    asked.hash(&mut hasher);
    for current in sources {
        current.served.path.hash(&mut hasher);
        current.served.generation.0.hash(&mut hasher);
        current.freshness(now).stale.hash(&mut hasher);
    }
    values::short(format_args!("W/\"profile-{:x}\"", hasher.finish()))
}

/// Whether the caller already has what `tag` names. `*` asks for anything and is not decided here:
/// whether there is a prediction at all takes a look-up.
pub(crate) fn is_known(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()).map(opaque) else { return false };
    headers
        .get_all(header::IF_NONE_MATCH)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| opaque(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_tag_is_found_in_a_list_and_by_weak_comparison() {
        let known = |text: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(text))]);
            is_known(&headers, Some(&HeaderValue::from_static("W/\"7-17\"")))
        };
        assert!(known("W/\"7-17\""));
        assert!(known("\"6-17\", \"7-17\""));
        assert!(!known("W/\"7-18\""));
        assert!(!known("*"));
    }
}
