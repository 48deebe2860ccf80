//! Releases and what is served.

use cameo_domain::{GenerationId, ServicePath, Stage, StageError};
use chrono::{DateTime, Utc};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which release: at least 4 digits of its hash, or its version.
    pub(crate) release: String,
    /// Where to: candidate, shadow, canary, production or archived. By default production, or shadow for a release
    /// that has still to be compared.
    #[arg(long, value_parser = stage)]
    pub(crate) to: Option<Stage>,
    /// Why, for the ledger.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

fn stage(text: &str) -> Result<Stage, StageError> {
    text.parse()
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which release: at least 4 digits of its hash, or its version.
    pub(crate) release: String,
    /// Why, for the ledger.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verdicts {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which release: at least 4 digits of its hash, or its version.
    pub(crate) release: String,
    /// How many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// What was in production and served at this instant, such as 2026-03-01T18:00:00Z.
    #[arg(long, value_name = "INSTANT", conflicts_with = "limit")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// How many entries.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Why, for the ledger.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Which service, as `tenant/service`.
    pub(crate) service: ServicePath,
    /// Which generation; by default the one that was served before.
    #[arg(long)]
    pub(crate) to: Option<GenerationId>,
    /// Leave the release that is in production there: the next run publishes its predictions again.
    #[arg(long)]
    pub(crate) keep_release: bool,
}
