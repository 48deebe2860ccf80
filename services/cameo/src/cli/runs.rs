//! Runs and their predictions.

use cameo_domain::{GenerationId, ServicePath};
use chrono::{DateTime, Utc};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ServiceArgument {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Due now instead of at the next scheduled instant. Required, so that nobody runs by mistake.
    #[arg(long, required = true)]
    pub(crate) now: bool,
    /// Show the progress and return when the run has ended.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Repeating the command with the same key finds the same run.
    #[arg(long)]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// Only runs of this service, as `tenant/service`.
    pub(crate) service: Option<ServicePath>,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Importance {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which generation; by default the one that is served.
    #[arg(long)]
    pub(crate) generation: Option<GenerationId>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Whose prediction.
    #[arg(long)]
    pub(crate) key: String,
}

#[derive(Debug, Args)]
pub(crate) struct Lineage {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Whose prediction.
    #[arg(long)]
    pub(crate) key: String,
    /// What was served at this instant, such as 2026-03-01T18:00:00Z; by default what is served now.
    #[arg(long, value_name = "INSTANT", value_parser = super::access::instant)]
    pub(crate) at: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoData {
    /// How many customers, up to 100 million.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) customers: u64,
}
