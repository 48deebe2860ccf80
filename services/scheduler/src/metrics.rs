//! What a scheduler counts.

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Unit,
};

/// Counters of a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerMetrics {
    pub(crate) created: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) missed: Counter,
    pub(crate) errors: Counter,
    pub(crate) lateness: Histogram,
}

impl SchedulerMetrics {
    /// Registers the scheduler's metrics.
    #[must_use]
    pub fn register(registry: &cameo_runtime::metrics::Metrics) -> Self {
        let metrics = Self {
            created: Counter::default(),
            coalesced: Counter::default(),
            missed: Counter::default(),
            errors: Counter::default(),
            lateness: Histogram::new(exponential_buckets(0.1, 4.0, 10)),
        };
        let m = &metrics;
        registry.register(
            "cameo_schedule_runs_created",
            "Due instants with a run",
            m.created.clone(),
        );
        registry.register(
            "cameo_schedule_coalesced",
            "Due instants that a later run stands for",
            m.coalesced.clone(),
        );
        registry.register(
            "cameo_schedule_missed",
            "Due instants that nothing ran for, by policy or window",
            m.missed.clone(),
        );
        registry.register(
            "cameo_schedule_errors",
            "Failed looks for due services",
            m.errors.clone(),
        );
        registry.register_with_unit(
            "cameo_schedule_lateness",
            "From the due instant to the creation of its run",
            Unit::Seconds,
            m.lateness.clone(),
        );
        metrics
    }
}
