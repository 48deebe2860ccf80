//! What is counted of snapshots.

use std::sync::atomic::AtomicU64;

use cameo_store::snapshots::Waiting;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

/// Upper bounds of the buckets, in seconds: a million rows take about one.
const SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Counters and lag of the making of snapshots.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotMetrics {
    pub(crate) errors: Counter,
    pub(crate) deleted: Counter,
    bytes: Counter,
    duration: Histogram,
    pending: Gauge,
    age: Gauge<f64, AtomicU64>,
    unwanted: Gauge,
}

impl SnapshotMetrics {
    pub(crate) fn register(registry: &cameo_runtime::metrics::Metrics) -> Self {
        Self {
            errors: registry.register(
                "cameo_snapshot_errors",
                "Failed attempts to make or delete a snapshot",
                Counter::default(),
            ),
            deleted: registry.register(
                "cameo_snapshots_deleted",
                "Snapshots that nobody serves any more, deleted",
                Counter::default(),
            ),
            bytes: registry.register_with_unit(
                "cameo_snapshot_written",
                "Size of the snapshots that were made",
                Unit::Bytes,
                Counter::default(),
            ),
            duration: registry.register_with_unit(
                "cameo_snapshot_duration",
                "Time in which a snapshot was made and stored",
                Unit::Seconds,
                Histogram::new(SECONDS),
            ),
            pending: registry.register(
                "cameo_snapshots_pending",
                "Published generations without a snapshot",
                Gauge::default(),
            ),
            age: registry.register_with_unit(
                "cameo_snapshot_lag",
                "Age of the oldest published generation without a snapshot",
                Unit::Seconds,
                Gauge::default(),
            ),
            unwanted: registry.register(
                "cameo_snapshots_unwanted",
                "Snapshots that are to be deleted",
                Gauge::default(),
            ),
        }
    }

    pub(crate) fn made(&self, bytes: u64, seconds: f64) {
        self.bytes.inc_by(bytes);
        self.duration.observe(seconds);
    }

    pub(crate) fn waiting(&self, waiting: Waiting) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.pending.set(number(waiting.pending));
        self.age.set(waiting.oldest_seconds);
        self.unwanted.set(number(waiting.unwanted));
    }
}
