//! The generation that a service shows now, with what every answer says about it.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use cameo_domain::{Key, key::KeyError};
use cameo_snapshot::Snapshot;
use cameo_store::lookup::ServedGeneration;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::json;

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
    /// The JSON members from `generation` to `stale`, without braces.
    pub members: Bytes,
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
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
        let members = members_of(&members);
        let is_sensitive = served.schema.sensitive().next().is_some();
        let fresh = Freshness { age_seconds: 0, stale: false };
        Self {
            is_sensitive,
            path_members: text(members_of(&json!({
                "tenant": path.tenant,
                "service": path.service,
            }))),
            column_members: column_members.collect(),
            repeated: ArcSwap::from_pointee(Repeated::new(fresh, &members)),
            members,
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
        let repeated = Arc::new(Repeated::new(at, &self.members));
        self.repeated.store(Arc::clone(&repeated));
        Guard::from_inner(repeated)
    }

    /// Reads a key as the service declares it.
    pub fn key(&self, text: &str) -> Result<Key, KeyError> {
        Key::parse(text, self.served.schema.key().data_type)
    }
}

impl Repeated {
    fn new(freshness: Freshness, members: &str) -> Self {
        let Freshness { age_seconds, stale } = freshness;
        let members = format!("{members},\"age_seconds\":{age_seconds},\"stale\":{stale}");
        Self { freshness, members: members.into(), kept: OnceLock::new() }
    }

    /// What whoever answers makes once of it, such as headers; nothing where something of another type was made.
    pub fn keep<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.kept.get_or_init(|| Box::new(make())).downcast_ref()
    }
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
