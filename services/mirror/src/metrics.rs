//! What a mirror counts.

use std::sync::atomic::AtomicU64;

use cameo_store::outbox::Lag;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Unit,
};

/// Counters and lag of a mirror.
#[derive(Debug, Clone)]
pub struct MirrorMetrics {
    pub(crate) loaded: Counter,
    pub(crate) errors: Counter,
    pub(crate) mismatches: Counter,
    pending: Gauge,
    age: Gauge<f64, AtomicU64>,
}

impl MirrorMetrics {
    /// Registers the mirror's metrics.
    #[must_use]
    pub fn register(registry: &cameo_runtime::metrics::Metrics) -> Self {
        let metrics = Self {
            loaded: Counter::default(),
            errors: Counter::default(),
            mismatches: Counter::default(),
            pending: Gauge::default(),
            age: Gauge::default(),
        };
        let m = &metrics;
        registry.register("cameo_mirror_loads", "Generations mirrored", m.loaded.clone());
        registry.register("cameo_mirror_errors", "Failed attempts to mirror", m.errors.clone());
        registry.register(
            "cameo_mirror_mismatches",
            "Mirrored generations whose count or checksum differs from the source",
            m.mismatches.clone(),
        );
        registry.register("cameo_mirror_pending", "Generations that wait", m.pending.clone());
        registry.register_with_unit(
            "cameo_mirror_lag",
            "Age of the oldest published generation that is not mirrored",
            Unit::Seconds,
            m.age.clone(),
        );
        metrics
    }

    pub(crate) fn lag(&self, lag: Lag) {
        self.pending.set(i64::try_from(lag.pending).unwrap_or(i64::MAX));
        self.age.set(lag.oldest_seconds);
    }
}
