//! How every answer with predictions says from when it is: in its body and in its headers.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use cameo_domain::Key;
use cameo_serving::{Current, Freshness};
use chrono::{DateTime, Utc};

/// How long a client may reuse an answer without asking: well below the time between publications,
/// short enough that a rollback takes effect at once for people.
pub(crate) const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=5");

const GENERATION: HeaderName = HeaderName::from_static("cameo-generation");
const RELEASE: HeaderName = HeaderName::from_static("cameo-release");
const VERSION: HeaderName = HeaderName::from_static("cameo-version");
const PREDICTED_AT: HeaderName = HeaderName::from_static("cameo-predicted-at");
const AGE_SECONDS: HeaderName = HeaderName::from_static("cameo-age-seconds");
const STALE: HeaderName = HeaderName::from_static("cameo-stale");

/// The headers of an answer from `current`.
pub(crate) fn headers(
    current: &Current,
    freshness: &Freshness,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let stale = if freshness.stale { "true" } else { "false" };
    // The texts are shared, not copied; one that cannot be a header is in the body all the same.
    let shared = [
        (GENERATION, current.generation_text.clone()),
        (RELEASE, current.release_text.clone()),
        (VERSION, current.version_text.clone()),
        (PREDICTED_AT, current.predicted_at_text.clone()),
    ];
    let own = [
        (AGE_SECONDS, HeaderValue::from(freshness.age_seconds)),
        (STALE, HeaderValue::from_static(stale)),
        (header::CACHE_CONTROL, CACHE_CONTROL),
    ];
    let shared = shared
        .into_iter()
        .filter_map(|(name, text)| Some((name, HeaderValue::from_maybe_shared(text).ok()?)));
    shared.chain(own)
}

/// Writes the members that say from when an answer is, without braces.
pub(crate) fn write_members(body: &mut Vec<u8>, current: &Current, freshness: &Freshness) {
    body.extend_from_slice(&current.members);
    body.extend_from_slice(b",\"age_seconds\":");
    // Writing into memory does not fail.
    let _ = write!(body, "{}", freshness.age_seconds);
    body.extend_from_slice(if freshness.stale { b",\"stale\":true" } else { b",\"stale\":false" });
}

/// Names what is answered: generation, key, and whether it is stale. The number of its rows stands beside
/// the generation: it changes when somebody is erased from it, and what a client keeps is asked for anew.
///
/// Weak, because the age in the body goes on while what is said stays the same.
pub(crate) fn entity_tag(current: &Current, key: &Key, freshness: &Freshness) -> String {
    let generation = format!("{}.{}", current.served.generation, current.served.rows);
    let stale = if freshness.stale { "-stale" } else { "" };
    match key {
        Key::Int(key) => format!("W/\"{generation}-{key}{stale}\""),
        Key::String(key) => {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            format!("W/\"{generation}-{:x}{stale}\"", hasher.finish())
        }
    }
}

/// Names what several services say about a customer. The order of the services is part of it.
pub(crate) fn profile_tag<'a>(
    sources: impl Iterator<Item = &'a Current>,
    asked: &impl Hash,
    now: DateTime<Utc>,
) -> String {
    let mut hasher = DefaultHasher::new();
    asked.hash(&mut hasher);
    for current in sources {
        current.served.path.hash(&mut hasher);
        current.served.generation.0.hash(&mut hasher);
        current.freshness(now).stale.hash(&mut hasher);
    }
    format!("W/\"profile-{:x}\"", hasher.finish())
}

/// Whether the caller already has what `tag` names. `*` asks for anything and is not decided here:
/// whether there is a prediction at all takes a look-up.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = opaque(tag);
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
            is_known(&headers, "W/\"7-17\"")
        };
        assert!(known("W/\"7-17\""));
        assert!(known("\"6-17\", \"7-17\""));
        assert!(!known("W/\"7-18\""));
        assert!(!known("*"));
    }
}
