//! The generation that a service shows now, with what every answer says about it.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use cameo_domain::{Key, key::KeyError};
use cameo_snapshot::Snapshot;
use cameo_store::lookup::ServedGeneration;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Serialize;
use serde_json::json;

/// How long a client may reuse an answer without asking: well below the time between publications,
/// short enough that a rollback takes effect at once for people.
pub const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=5");

const GENERATION: HeaderName = HeaderName::from_static("cameo-generation");
const RELEASE: HeaderName = HeaderName::from_static("cameo-release");
const VERSION: HeaderName = HeaderName::from_static("cameo-version");
const PREDICTED_AT: HeaderName = HeaderName::from_static("cameo-predicted-at");
const AGE_SECONDS: HeaderName = HeaderName::from_static("cameo-age-seconds");
const STALE: HeaderName = HeaderName::from_static("cameo-stale");
/// Headers of an answer, at most.
const HEADERS: usize = 14;

/// A published generation, with the texts that every answer repeats rendered once.
#[derive(Debug)]
pub struct Current {
    /// What the store says.
    pub served: ServedGeneration,
    /// Whether some of its predictions are sealed.
    pub is_sensitive: bool,
    /// The JSON members `tenant` and `service`, without braces.
    pub path_members: Bytes,
    /// For each prediction column: its JSON name with what stands before and after it, so that the
    /// names and the values in turn, and a closing brace, are an object.
    pub column_members: Vec<Bytes>,
    /// The JSON members from `generation` to `watermark`, without braces.
    members: String,
    /// The headers that do not change with time.
    headers: HeaderMap,
    /// What answers repeated last.
    repeated: ArcSwap<Repeated>,
    /// Its snapshot, from the moment on at which it is here.
    snapshot: OnceLock<Arc<Snapshot>>,
}

/// How an answer says from when it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// Seconds since the predictions were made.
    pub age_seconds: i64,
    /// Whether that is more than the service allows.
    pub stale: bool,
}

/// What all answers from a generation repeat within a second.
#[derive(Debug)]
pub struct Repeated {
    /// How old the generation is.
    pub freshness: Freshness,
    /// The headers.
    pub headers: HeaderMap,
    /// The JSON members from `generation` to `stale`, without braces.
    pub members: Bytes,
}

impl Current {
    /// Renders what answers repeat.
    #[must_use]
    pub fn new(served: ServedGeneration) -> Self {
        let text = |text: String| Bytes::from(text.into_bytes());
        let predicted_at = instant(served.predicted_at);
        let path = &served.path;
        let members = json!({
            "generation": served.generation,
            "release": served.release,
            "version": served.version,
            "predicted_at": predicted_at,
            "watermark": served.watermark.map(instant),
        });
        let columns = served.schema.predictions().iter().enumerate();
        let column_members = columns.map(|(at, column)| {
            let before = if at == 0 { '{' } else { ',' };
            // A column's name is an identifier and needs no escapes.
            text(format!("{before}\"{}\":", column.name))
        });
        let (members, headers) = (members_of(&members), headers_of(&served, predicted_at));
        let is_sensitive = served.schema.sensitive().next().is_some();
        let fresh = Freshness { age_seconds: 0, stale: false };
        Self {
            is_sensitive,
            path_members: text(members_of(&json!({
                "tenant": path.tenant,
                "service": path.service,
            }))),
            column_members: column_members.collect(),
            repeated: ArcSwap::from_pointee(Repeated::new(fresh, &members, &headers)),
            members,
            headers,
            snapshot: OnceLock::new(),
            served,
        }
    }

    /// The generation as a mapped file; where it is not here, Postgres answers.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.get()
    }

    /// From now on look-ups are answered from `snapshot`, which must be of this generation and have its columns.
    pub(crate) fn attach(&self, snapshot: Arc<Snapshot>) -> bool {
        let fits = snapshot.generation() == self.served.generation
            && *snapshot.schema() == self.served.schema;
        fits && self.snapshot.set(snapshot).is_ok()
    }

    /// Age and staleness at `now`.
    #[must_use]
    pub fn freshness(&self, now: DateTime<Utc>) -> Freshness {
        // A clock that runs behind the worker's must not show a negative age.
        let age_seconds = (now - self.served.predicted_at).num_seconds().max(0);
        let stale = age_seconds.cast_unsigned() > self.served.stale_after_seconds;
        Freshness { age_seconds, stale }
    }

    /// What answers at `now` repeat.
    #[must_use]
    pub fn repeated(&self, now: DateTime<Utc>) -> Guard<Arc<Repeated>> {
        let (repeated, at) = (self.repeated.load(), self.freshness(now));
        if repeated.freshness == at {
            return repeated;
        }
        let repeated = Arc::new(Repeated::new(at, &self.members, &self.headers));
        self.repeated.store(Arc::clone(&repeated));
        Guard::from_inner(repeated)
    }

    /// Reads a key as the service declares it.
    pub fn key(&self, text: &str) -> Result<Key, KeyError> {
        Key::parse(text, self.served.schema.key().data_type)
    }
}

impl Repeated {
    fn new(freshness: Freshness, members: &str, headers: &HeaderMap) -> Self {
        let Freshness { age_seconds, stale } = freshness;
        let members = format!("{members},\"age_seconds\":{age_seconds},\"stale\":{stale}");
        let mut headers = headers.clone();
        headers.insert(AGE_SECONDS, HeaderValue::from(age_seconds));
        headers.insert(STALE, HeaderValue::from_static(if stale { "true" } else { "false" }));
        Self { freshness, headers, members: members.into() }
    }
}

/// The headers of every answer. A text that cannot be one is in the body all the same.
fn headers_of(served: &ServedGeneration, predicted_at: String) -> HeaderMap {
    let texts = [
        (GENERATION, served.generation.to_string()),
        (RELEASE, served.release.to_string()),
        (VERSION, served.version.clone()),
        (PREDICTED_AT, predicted_at),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.try_into().ok()?)));
    // Room in the index for those that an answer adds: a copy has the same.
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.extend(texts);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers
}

/// An object without its braces.
fn members_of(object: &serde_json::Value) -> String {
    let text = object.to_string();
    text[1..text.len() - 1].to_owned()
}

/// How answers write an instant: RFC 3339 in UTC, as precise as needed.
#[must_use]
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
