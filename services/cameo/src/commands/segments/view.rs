//! Segments as the API tells of them, from wherever they were asked for.

use std::collections::BTreeMap;

use cameo_segment::Share;
use cameo_serving::segments::Counted;
use cameo_store::segments::{Materialisation, SegmentRecord};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A segment.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "a member is named as in the API")]
pub(crate) struct Segment {
    pub(crate) segment: String,
    pub(crate) version: u32,
    pub(crate) defined_by: Option<String>,
    pub(crate) condition: String,
    pub(crate) description: String,
    pub(crate) attributes: Vec<String>,
    pub(crate) sample: Option<Share>,
    pub(crate) hold_out: Option<Share>,
    pub(crate) services: Vec<String>,
    pub(crate) changed_by: String,
    pub(crate) changed_at: DateTime<Utc>,
    pub(crate) reason: Option<String>,
    pub(crate) latest: Option<Made>,
}

/// Who was a member at one time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) number: u32,
    pub(crate) version: u32,
    pub(crate) as_of: DateTime<Utc>,
    pub(crate) age_seconds: i64,
    pub(crate) generations: BTreeMap<String, i64>,
    pub(crate) members: u64,
    pub(crate) profiles: u64,
    pub(crate) bytes: u64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) readable: bool,
}

/// A segment with what was made of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) segment: Segment,
    pub(crate) materialisations: Vec<Made>,
}

/// Whom a condition chooses.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) condition: String,
    pub(crate) members: u64,
    pub(crate) profiles: u64,
    pub(crate) as_of: DateTime<Utc>,
    pub(crate) generations: BTreeMap<String, i64>,
}

impl Segment {
    pub(crate) fn new(record: SegmentRecord, latest: Option<&Materialisation>) -> Self {
        let definition = record.definition;
        Self {
            segment: record.segment.to_string(),
            version: record.version,
            defined_by: record.service.map(String::from),
            condition: definition.condition,
            description: definition.description,
            attributes: definition.attributes.iter().map(ToString::to_string).collect(),
            sample: definition.sample,
            hold_out: definition.hold_out,
            services: record.services.into_iter().map(String::from).collect(),
            changed_by: record.changed_by,
            changed_at: record.changed_at,
            reason: record.reason,
            latest: latest.map(Made::new),
        }
    }
}

impl Made {
    pub(crate) fn new(one: &Materialisation) -> Self {
        let generations = one.generations.iter();
        Self {
            number: one.number,
            version: one.version,
            as_of: one.as_of,
            age_seconds: (Utc::now() - one.as_of).num_seconds().max(0),
            generations: generations.map(|(service, id)| (service.to_string(), id.0)).collect(),
            members: one.members,
            profiles: one.profiles,
            bytes: one.bytes,
            created_at: one.created_at,
            readable: one.dropped_at.is_none(),
        }
    }
}

impl From<Counted> for Count {
    fn from(counted: Counted) -> Self {
        let generations = counted.generations.iter();
        Self {
            condition: counted.condition,
            members: counted.count.members,
            profiles: counted.count.profiles,
            as_of: counted.as_of,
            generations: generations.map(|(service, id)| (service.to_string(), id.0)).collect(),
        }
    }
}
