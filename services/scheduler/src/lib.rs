//! Turns due instants into runs.
//!
//! The database decides: one transaction locks a service, records the outcome of each due instant,
//! creates the runs and moves the service's next due instant. A unique row per service and instant
//! makes any number of schedulers safe. This loop only nudges; a late or missing nudge delays a
//! run, it never loses or doubles one.

mod metrics;

use std::sync::Arc;

use cameo_domain::{
    Schedule, ServicePath,
    schedule::{Decision, DueOutcome},
};
use cameo_runtime::clock::Clock;
use cameo_store::{
    By, Store,
    schedule::{self, DECISION_INSTANTS_MAX, DueService},
};
use chrono::{DateTime, Duration, Utc};
use tokio_util::sync::CancellationToken;

pub use metrics::SchedulerMetrics;

/// Most decisions in one look; the next look goes on.
const DECISIONS_PER_TICK: usize = 10_000;

/// How a scheduler behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often due services are looked for.
    pub poll: std::time::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll: std::time::Duration::from_secs(1) }
    }
}

/// What a scheduler works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Schedules and runs.
    pub store: Store,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: SchedulerMetrics,
}

/// Looks for due services until `shutdown`.
pub async fn run(config: Config, dependencies: Dependencies, shutdown: CancellationToken) {
    tracing::info!(poll_seconds = config.poll.as_secs_f64(), "scheduler started");
    loop {
        if let Err(error) = tick(&dependencies).await {
            dependencies.metrics.errors.inc();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look for due services"
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(config.poll) => {}
        }
    }
    tracing::info!("scheduler stopped");
}

/// Decides everything that is due now.
///
/// # Errors
/// Only when the database cannot be asked; what was decided before stays decided.
pub async fn tick(dependencies: &Dependencies) -> Result<(), cameo_store::StoreError> {
    let now = dependencies.clock.now();
    let decide = move |due: &DueService| decide(due, now);
    let store = dependencies.store.acting(By::new("scheduler", "scheduler"));
    let decided = schedule::advance(&store, now, DECISIONS_PER_TICK, decide).await?;
    for service in &decided {
        for (due_at, outcome) in &service.due {
            report(dependencies, &service.path, *due_at, outcome, now);
        }
    }
    Ok(())
}

fn report(
    dependencies: &Dependencies,
    path: &ServicePath,
    due_at: DateTime<Utc>,
    outcome: &DueOutcome,
    now: DateTime<Utc>,
) {
    let metrics = &dependencies.metrics;
    match outcome {
        DueOutcome::Run => {
            metrics.created.inc();
            metrics.lateness.observe((now - due_at).as_seconds_f64().max(0.0));
            tracing::info!(service = %path, %due_at, "a run is due");
        }
        DueOutcome::Coalesced { into } => {
            metrics.coalesced.inc();
            tracing::warn!(service = %path, %due_at, %into, "coalesced");
        }
        DueOutcome::Missed { reason } => {
            metrics.missed.inc();
            tracing::warn!(service = %path, %due_at, reason, "missed");
        }
    }
}

/// The outcome of each due instant of a service. A schedule that cannot be read any more, which
/// `apply` does not let in, decides nothing and stays where it is.
fn decide(due: &DueService, now: DateTime<Utc>) -> Decision {
    let window =
        Duration::seconds(i64::try_from(due.missed_run_window_seconds).unwrap_or(i64::MAX / 1000));
    Schedule::parse(&due.cron, &due.timezone)
        .and_then(|schedule| {
            schedule.decide(
                due.next_due_at,
                now,
                due.missed_run_policy,
                window,
                DECISION_INSTANTS_MAX,
            )
        })
        .unwrap_or_else(|error| {
            tracing::error!(service = %due.path, error = &error as &dyn std::error::Error, "the schedule cannot be read");
            Decision { due: Vec::new(), next: due.next_due_at }
        })
}
