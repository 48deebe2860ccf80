//! What is measured of the queue: how long runs waited that were claimed, and how long those have that are not.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use cameo_domain::TenantName;
use cameo_store::runs::Waiting;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

/// Upper bounds of the buckets, in seconds: a look of the scheduler, a minute, a run that is in the way, a day.
const SECONDS: [f64; 12] =
    [0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Tenant {
    tenant: String,
}

/// Waiting times and lengths by tenant.
#[derive(Debug, Clone)]
pub(crate) struct QueueMetrics {
    wait: Family<Tenant, Histogram, fn() -> Histogram>,
    length: Family<Tenant, Gauge>,
    oldest: Family<Tenant, Gauge<f64, AtomicU64>>,
    shown: Arc<Mutex<BTreeSet<Tenant>>>,
}

impl QueueMetrics {
    pub(crate) fn register(registry: &cameo_runtime::metrics::Metrics) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(SECONDS);
        Self {
            wait: registry.register_with_unit(
                "cameo_run_queue_wait",
                "From the moment a run was due, asked for or ready to be tried again until it was claimed",
                Unit::Seconds,
                Family::new_with_constructor(buckets),
            ),
            length: registry.register(
                "cameo_run_queue_length",
                "Runs that wait, because of their tenant's quota too",
                Family::default(),
            ),
            oldest: registry.register_with_unit(
                "cameo_run_queue_oldest",
                "How long the run has waited that waits longest",
                Unit::Seconds,
                Family::default(),
            ),
            shown: Arc::default(),
        }
    }

    pub(crate) fn claimed(&self, tenant: &TenantName, waited_seconds: f64) {
        let labels = Tenant { tenant: tenant.to_string() };
        self.wait.get_or_create(&labels).observe(waited_seconds.max(0.0));
    }

    /// Replaces what is known of the queue. A tenant's figures never disappear while it has some: an alert
    /// that waits for minutes would begin anew.
    pub(crate) fn waiting(&self, waiting: &[Waiting]) {
        let mut now = BTreeSet::new();
        for Waiting { tenant, runs, oldest_seconds } in waiting {
            let labels = Tenant { tenant: tenant.to_string() };
            let runs = i64::try_from(*runs).unwrap_or(i64::MAX);
            self.length.get_or_create(&labels).set(runs);
            self.oldest.get_or_create(&labels).set(*oldest_seconds);
            now.insert(labels);
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *shown, now);
        for gone in before.difference(&shown) {
            self.length.remove(gone);
            self.oldest.remove(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_shown_for_as_long_as_something_of_it_waits() {
        let registry = cameo_runtime::metrics::Metrics::new();
        let metrics = QueueMetrics::register(&registry);
        let of = |tenant: &str, runs| Waiting {
            tenant: tenant.parse().expect("a tenant name"),
            runs,
            oldest_seconds: 7.5,
        };
        metrics.waiting(&[of("crm", 2), of("search", 1)]);
        metrics.waiting(&[of("crm", 3)]);
        metrics.claimed(&"crm".parse().expect("a tenant name"), 0.7);
        let shown = registry.encode();
        for line in [
            "cameo_run_queue_length{tenant=\"crm\"} 3",
            "cameo_run_queue_oldest_seconds{tenant=\"crm\"} 7.5",
            "cameo_run_queue_wait_seconds_bucket{le=\"0.5\",tenant=\"crm\"} 0",
            "cameo_run_queue_wait_seconds_bucket{le=\"1.0\",tenant=\"crm\"} 1",
        ] {
            assert!(shown.contains(line), "{line} is missing:\n{shown}");
        }
        assert!(!shown.contains("search"), "{shown}");
    }
}
