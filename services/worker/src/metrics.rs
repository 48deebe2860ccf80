//! What a worker counts. Labels are tenants and services, which are bounded by what is applied.

use std::{sync::atomic::AtomicU64, time::Duration};

use cameo_domain::{RunState, ServicePath};
use cameo_openlineage::Counters;
use cameo_store::runs::Progress;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Unit,
};

use crate::{
    queue_metrics::QueueMetrics, segment_metrics::SegmentMetrics, snapshot_metrics::SnapshotMetrics,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    tenant: String,
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    tenant: String,
    service: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rows {
    tenant: String,
    service: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepOf {
    tenant: String,
    service: String,
    step: String,
}

/// Counters and histograms of a worker.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    pub(crate) running: Gauge,
    pub(crate) claim_errors: Counter,
    pub(crate) leases_expired: Counter,
    pub(crate) retries: Counter,
    pub(crate) audit_conflicts: Counter,
    pub(crate) erasures: Counter,
    pub(crate) erasure_errors: Counter,
    pub(crate) openlineage: Counters,
    pub(crate) queue: QueueMetrics,
    pub(crate) segments: SegmentMetrics,
    pub(crate) snapshots: SnapshotMetrics,
    pub(crate) webhooks_delivered: Counter,
    pub(crate) webhooks_failed: Counter,
    ended: Family<Ended, Counter>,
    duration: Family<Service, Histogram, fn() -> Histogram>,
    rows: Family<Rows, Counter>,
    in_progress: Family<Service, Gauge>,
    rate: Family<Service, Gauge<f64, AtomicU64>>,
    steps: Family<StepOf, Gauge<f64, AtomicU64>>,
}

impl WorkerMetrics {
    /// Registers the worker's metrics.
    #[must_use]
    pub fn register(registry: &cameo_runtime::metrics::Metrics) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.5, 2.0, 15));
        let metrics = Self {
            running: Gauge::default(),
            claim_errors: Counter::default(),
            leases_expired: Counter::default(),
            retries: Counter::default(),
            audit_conflicts: Counter::default(),
            erasures: Counter::default(),
            erasure_errors: Counter::default(),
            openlineage: Counters::default(),
            queue: QueueMetrics::register(registry),
            segments: SegmentMetrics::register(registry),
            snapshots: SnapshotMetrics::register(registry),
            webhooks_delivered: Counter::default(),
            webhooks_failed: Counter::default(),
            ended: Family::default(),
            duration: Family::new_with_constructor(buckets),
            rows: Family::default(),
            in_progress: Family::default(),
            rate: Family::default(),
            steps: Family::default(),
        };
        let m = &metrics;
        registry.register("cameo_worker_runs_active", "Runs in execution", m.running.clone());
        registry.register(
            "cameo_worker_claim_errors",
            "Failed asks for work",
            m.claim_errors.clone(),
        );
        registry.register(
            "cameo_run_leases_expired",
            "Runs whose worker stopped renewing its lease",
            m.leases_expired.clone(),
        );
        registry.register("cameo_run_retries", "Attempts that will be repeated", m.retries.clone());
        registry.register(
            "cameo_audit_anchor_conflicts",
            "Anchors of the audit trail that contradict an earlier one: it was written anew",
            m.audit_conflicts.clone(),
        );
        registry.register(
            "cameo_erasures_completed",
            "Customers who were erased everywhere",
            m.erasures.clone(),
        );
        registry.register(
            "cameo_erasure_errors",
            "Turns of erasing that failed and will be repeated",
            m.erasure_errors.clone(),
        );
        registry.register(
            "cameo_openlineage_events_sent",
            "OpenLineage events that the receiver took",
            m.openlineage.sent.clone(),
        );
        registry.register(
            "cameo_openlineage_events_dropped",
            "OpenLineage events that were given up: the receiver is dead, slow or refuses them",
            m.openlineage.dropped.clone(),
        );
        registry.register(
            "cameo_webhooks_delivered",
            "Messages to webhooks that their receivers took",
            m.webhooks_delivered.clone(),
        );
        registry.register(
            "cameo_webhooks_failed",
            "Attempts to tell a webhook that failed; they are repeated",
            m.webhooks_failed.clone(),
        );
        registry.register("cameo_runs", "Finished runs by final state", m.ended.clone());
        registry.register_with_unit(
            "cameo_run_duration",
            "Duration of the last attempt of a run",
            Unit::Seconds,
            m.duration.clone(),
        );
        registry.register("cameo_run_rows", "Rows of finished runs by outcome", m.rows.clone());
        registry.register(
            "cameo_run_rows_in_progress",
            "Rows that the current run has read so far",
            m.in_progress.clone(),
        );
        registry.register(
            "cameo_run_rows_per_second",
            "Rows scored per second in the current or latest run",
            m.rate.clone(),
        );
        registry.register_with_unit(
            "cameo_run_step",
            "Wall time of each step of the latest run; steps overlap",
            Unit::Seconds,
            m.steps.clone(),
        );
        metrics
    }

    pub(crate) fn ended(&self, path: &ServicePath, state: RunState, duration: Duration) {
        let (tenant, service) = names(path);
        let labels =
            Ended { tenant: tenant.clone(), service: service.clone(), state: state.as_str() };
        self.ended.get_or_create(&labels).inc();
        let labels = Service { tenant, service };
        self.duration.get_or_create(&labels).observe(duration.as_secs_f64());
        self.in_progress.get_or_create(&labels).set(0);
    }

    pub(crate) fn progress(&self, path: &ServicePath, progress: &Progress) {
        let (tenant, service) = names(path);
        let labels = Service { tenant, service };
        let read = i64::try_from(progress.rows_read).unwrap_or(i64::MAX);
        self.in_progress.get_or_create(&labels).set(read);
        self.rate.get_or_create(&labels).set(progress.rows_per_second);
    }

    pub(crate) fn rows(&self, path: &ServicePath, progress: &Progress) {
        self.progress(path, progress);
        let (tenant, service) = names(path);
        for (outcome, rows) in [
            ("read", progress.rows_read),
            ("scored", progress.rows_scored),
            ("quarantined", progress.rows_quarantined),
            ("suppressed", progress.rows_suppressed),
        ] {
            let labels = Rows { tenant: tenant.clone(), service: service.clone(), outcome };
            self.rows.get_or_create(&labels).inc_by(rows);
        }
        for step in &progress.steps {
            let labels = StepOf {
                tenant: tenant.clone(),
                service: service.clone(),
                step: step.name.clone(),
            };
            self.steps.get_or_create(&labels).set(step.seconds);
        }
    }
}

fn names(path: &ServicePath) -> (String, String) {
    (path.tenant.to_string(), path.service.to_string())
}
