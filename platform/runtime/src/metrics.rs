//! The metrics of the process, in the text form that Prometheus scrapes.
//!
//! Names begin with `cameo_`, carry base units (`_seconds`, `_bytes`) and have labels with a
//! bounded set of values only: a tenant or a service, never a key or a run.

use std::fs;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::Utc;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry, Unit};

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<RwLock<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The metrics that every process has: CPU seconds, memory, open files, threads, start time.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let process = Process { started_at_seconds: Utc::now().timestamp() };
        registry.register_collector(Box::new(process));
        Self(Arc::new(RwLock::new(registry)))
    }

    /// Adds a metric and returns it: clones of a metric share their value.
    ///
    /// Register a name once; the names of counters are given without `_total`.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.0.write().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    /// The same with a unit, which is appended to the name.
    pub fn register_with_unit<M: Metric + Clone>(
        &self,
        name: &str,
        help: &str,
        unit: Unit,
        metric: M,
    ) -> M {
        let mut registry = self.0.write().unwrap_or_else(PoisonError::into_inner);
        registry.register_with_unit(name, help, unit, metric.clone());
        metric
    }

    /// Adds metrics that are computed when they are scraped.
    pub fn register_collector(&self, collector: impl Collector) {
        let mut registry = self.0.write().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(collector));
    }

    /// All metrics as text of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let registry = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut encoded = String::new();
        if let Err(failure) = text::encode(&mut encoded, &registry) {
            // Writing into a string cannot fail, so a collector did.
            tracing::error!(error = %failure, "a metrics collector failed");
        }
        encoded
    }
}

/// What the operating system knows about this process, under the names that dashboards expect.
#[derive(Debug)]
struct Process {
    started_at_seconds: i64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let cpu_seconds = seconds(usage.user_time()) + seconds(usage.system_time());
            let counter = ConstCounter::new(cpu_seconds);
            let described = encoder.encode_descriptor(
                "process_cpu",
                "CPU time that the process used",
                Some(&Unit::Seconds),
                counter.metric_type(),
            )?;
            counter.encode(described)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM",
                status_value(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024),
            ),
            ("process_threads", "Threads of the process", status_value(&status, "Threads:")),
            ("process_open_fds", "Open file descriptors", open_files()),
            ("process_max_fds", "Limit on open file descriptors", open_files_max()),
            (
                "process_start_time_seconds",
                "When the process started, in seconds since 1970",
                Some(self.started_at_seconds),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                let described = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
                gauge.encode(described)?;
            }
        }
        Ok(())
    }
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// Memory of this process that is in RAM, where the system tells.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status_value(&status, "VmRSS:")?;
    u64::try_from(kibibytes).ok()?.checked_mul(1024)
}

/// The number in a line like `VmRSS:     12345 kB`.
fn status_value(status: &str, name: &str) -> Option<i64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

fn open_files_max() -> Option<i64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    i64::try_from(soft).ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in:\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }

    #[test]
    fn a_registered_counter_and_the_process_itself_are_in_the_text() {
        let metrics = Metrics::new();
        let runs: Counter =
            metrics.register("cameo_runs_started", "Runs that were started", Counter::default());
        runs.inc_by(3);
        let text = metrics.clone().encode();
        assert!((value(&text, "cameo_runs_started_total") - 3.0).abs() < f64::EPSILON);
        assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
        assert!(value(&text, "process_resident_memory_bytes") > 1e6);
        assert!(value(&text, "process_open_fds") > 2.0);
        assert!(value(&text, "process_max_fds") > 2.0);
        assert!(value(&text, "process_threads") >= 1.0);
        assert!(value(&text, "process_start_time_seconds") > 1.7e9);
        assert!(text.ends_with("# EOF\n"));
    }
}
