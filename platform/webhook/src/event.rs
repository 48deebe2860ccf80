//! The bodies: CloudEvents 1.0 in structured JSON
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use cameo_domain::{SegmentName, TenantName, WebhookName};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// Media type of a body.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// Type of the event that a segment has other members, or that their attributes changed.
pub const SEGMENT_CHANGED: &str = "cameo.segment.changed";
/// Type of the event that tests a webhook.
pub const PING: &str = "cameo.webhook.ping";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A segment was materialised anew and changed.
    SegmentChanged(SegmentChange),
    /// Somebody tests the webhook.
    Ping {
        /// Which one.
        webhook: WebhookName,
    },
}

/// How a segment changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentChange {
    /// Which segment.
    pub segment: SegmentName,
    /// The new materialisation's number.
    pub materialisation: u32,
    /// The number of the one before; none: it is the first, or the one before is kept no more, so that everybody
    /// entered.
    pub previous: Option<u32>,
    /// As of when it is.
    pub as_of: DateTime<Utc>,
    /// How many members it has.
    pub members: u64,
    /// Members now that were none before.
    pub entered: u64,
    /// Members before that are none now.
    pub left: u64,
    /// Members before and now whose attributes differ.
    pub changed: u64,
}

impl Event {
    /// The body of an event of `tenant` with the id `id`, which happened at `time`. Links lead to the API at
    /// `api`, or are relative to it where it is not known.
    #[must_use]
    pub fn body(
        &self,
        tenant: &TenantName,
        id: &str,
        time: DateTime<Utc>,
        api: Option<&str>,
    ) -> String {
        let base = api.unwrap_or_default().trim_end_matches('/');
        let of_tenant = format!("{base}/v1/tenants/{tenant}");
        let (kind, source, subject, data) = match self {
            Self::SegmentChanged(change) => {
                let source = format!("{of_tenant}/segments/{}", change.segment);
                let data = change.data(tenant, &source);
                (SEGMENT_CHANGED, source, change.segment.to_string(), data)
            }
            Self::Ping { webhook } => {
                let source = format!("{of_tenant}/webhooks/{webhook}");
                let data = json!({ "tenant": tenant, "webhook": webhook });
                (PING, source, webhook.to_string(), data)
            }
        };
        let body = json!({
            "specversion": "1.0",
            "id": id,
            "source": source,
            "type": kind,
            "subject": subject,
            "time": instant(time),
            "datacontenttype": "application/json",
            "data": data,
        });
        body.to_string()
    }
}

impl SegmentChange {
    fn data(&self, tenant: &TenantName, source: &str) -> Value {
        let Self { materialisation, previous, .. } = self;
        let since = previous.unwrap_or_default();
        json!({
            "tenant": tenant,
            "segment": self.segment,
            "materialisation": materialisation,
            "previous": previous,
            "as_of": instant(self.as_of),
            "members": self.members,
            "entered": self.entered,
            "left": self.left,
            "changed": self.changed,
            "links": {
                "changes": format!("{source}/changes?since={since}&materialisation={materialisation}"),
                "members": format!("{source}/members?materialisation={materialisation}"),
            },
        })
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_cloud_event_with_links_to_what_changed() {
        let change = SegmentChange {
            segment: "loyal".parse().expect("a segment"),
            materialisation: 4,
            previous: Some(3),
            as_of: "2026-03-01T02:30:00Z".parse().expect("an instant"),
            members: 120,
            entered: 9,
            left: 2,
            changed: 40,
        };
        let tenant = "crm".parse().expect("a tenant");
        let time = "2026-03-01T02:31:00.5Z".parse().expect("an instant");
        let event = Event::SegmentChanged(change);
        let body: Value =
            serde_json::from_str(&event.body(&tenant, "msg_1", time, Some("https://c.example/")))
                .expect("JSON");
        let source = "https://c.example/v1/tenants/crm/segments/loyal";
        assert_eq!(
            body,
            json!({
                "specversion": "1.0", "id": "msg_1", "source": source, "subject": "loyal",
                "type": "cameo.segment.changed", "time": "2026-03-01T02:31:00.500Z",
                "datacontenttype": "application/json",
                "data": {
                    "tenant": "crm", "segment": "loyal", "materialisation": 4, "previous": 3,
                    "as_of": "2026-03-01T02:30:00Z", "members": 120, "entered": 9, "left": 2,
                    "changed": 40,
                    "links": {
                        "changes": format!("{source}/changes?since=3&materialisation=4"),
                        "members": format!("{source}/members?materialisation=4"),
                    },
                },
            })
        );
        let ping = Event::Ping { webhook: "campaigns".parse().expect("a webhook") };
        let body: Value =
            serde_json::from_str(&ping.body(&tenant, "msg_2", time, None)).expect("JSON");
        assert_eq!(body["source"], "/v1/tenants/crm/webhooks/campaigns");
        assert_eq!(body["type"], PING);
    }
}
