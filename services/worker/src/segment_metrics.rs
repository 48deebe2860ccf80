//! What is counted of segments.

use std::sync::atomic::AtomicU64;

use cameo_domain::TenantName;
use cameo_store::segments::Standing;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

/// Upper bounds of the buckets, in seconds: ten million customers take about one.
const SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tenant {
    tenant: String,
}

/// Counters, and how far the segments of each tenant are. Labels are tenants alone: segments are many.
#[derive(Debug, Clone)]
pub(crate) struct SegmentMetrics {
    pub(crate) errors: Counter,
    pub(crate) refused: Counter,
    materialisations: Counter,
    members: Counter,
    duration: Histogram,
    newest: Family<Tenant, Gauge<f64, AtomicU64>>,
    oldest: Family<Tenant, Gauge<f64, AtomicU64>>,
    stuck: Family<Tenant, Gauge>,
}

impl SegmentMetrics {
    pub(crate) fn register(registry: &cameo_runtime::metrics::Metrics) -> Self {
        Self {
            errors: registry.register(
                "cameo_segment_errors",
                "Failed attempts to make the members of a segment; they are repeated",
                Counter::default(),
            ),
            refused: registry.register(
                "cameo_segments_refused",
                "Segments that no longer fit what their services predict; their last members stay",
                Counter::default(),
            ),
            materialisations: registry.register(
                "cameo_segment_materialisations",
                "Files of members that were made",
                Counter::default(),
            ),
            members: registry.register(
                "cameo_segment_members",
                "Members in the files that were made",
                Counter::default(),
            ),
            duration: registry.register_with_unit(
                "cameo_segment_duration",
                "Time in which the members of a segment were made and stored",
                Unit::Seconds,
                Histogram::new(SECONDS),
            ),
            newest: registry.register_with_unit(
                "cameo_segment_newest_age",
                "Time since the newest members of any segment of the tenant were made",
                Unit::Seconds,
                Family::default(),
            ),
            oldest: registry.register_with_unit(
                "cameo_segment_wait",
                "How long the segment of the tenant that waits longest has been due for other members",
                Unit::Seconds,
                Family::default(),
            ),
            stuck: registry.register(
                "cameo_segments_without_new_members",
                "Segments of which no members can be made from what their services show now",
                Family::default(),
            ),
        }
    }

    pub(crate) fn made(&self, members: u64, seconds: f64) {
        self.materialisations.inc();
        self.members.inc_by(members);
        self.duration.observe(seconds);
    }

    /// How far the segments are. A tenant that has none any more is told of no longer.
    pub(crate) fn standing(&self, standing: &[Standing]) {
        self.newest.clear();
        self.oldest.clear();
        self.stuck.clear();
        for of in standing {
            let labels = of_tenant(&of.tenant);
            if let Some(seconds) = of.newest_age_seconds {
                self.newest.get_or_create(&labels).set(seconds);
            }
            self.oldest.get_or_create(&labels).set(of.wait_seconds);
            let stuck = i64::try_from(of.refused).unwrap_or(i64::MAX);
            self.stuck.get_or_create(&labels).set(stuck);
        }
    }
}

fn of_tenant(tenant: &TenantName) -> Tenant {
    Tenant { tenant: tenant.to_string() }
}
