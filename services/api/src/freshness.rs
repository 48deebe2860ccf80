//! How every answer with predictions says in its headers from when it is, and how what is answered is named, so that
//! whoever has it need not be told again.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use cameo_domain::Key;
use cameo_serving::{Current, Repeated, current::instant};
use chrono::{DateTime, Utc};

use crate::values;

/// How long a client may reuse an answer without asking: well below the time between publications,
/// short enough that a rollback takes effect at once for people.
pub(crate) const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=5");

const GENERATION: HeaderName = HeaderName::from_static("cameo-generation");
const RELEASE: HeaderName = HeaderName::from_static("cameo-release");
const VERSION: HeaderName = HeaderName::from_static("cameo-version");
const PREDICTED_AT: HeaderName = HeaderName::from_static("cameo-predicted-at");
const AGE_SECONDS: HeaderName = HeaderName::from_static("cameo-age-seconds");
const STALE: HeaderName = HeaderName::from_static("cameo-stale");
/// Headers of an answer, at most.
const HEADERS: usize = 14;

/// The headers of an answer from `current`: made once a second, and copied whole.
pub(crate) fn headers(current: &Current, repeated: &Repeated) -> HeaderMap {
    repeated.keep(|| headers_of(current, repeated)).cloned().unwrap_or_default()
}

/// A text that cannot be a header is in the body all the same.
fn headers_of(current: &Current, repeated: &Repeated) -> HeaderMap {
    let served = &current.served;
    let texts = [
        (GENERATION, served.generation.to_string()),
        (RELEASE, served.release.to_string()),
        (VERSION, served.version.clone()),
        (PREDICTED_AT, instant(served.predicted_at)),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.try_into().ok()?)));
    // Room in the index for those that an answer adds: a copy has the same.
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.extend(texts);
    let stale = if repeated.freshness.stale { "true" } else { "false" };
    headers.insert(AGE_SECONDS, HeaderValue::from(repeated.freshness.age_seconds));
    headers.insert(STALE, HeaderValue::from_static(stale));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers
}

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
