//! What workers may be given to do, and what a run may use.

use std::time::Duration;

use cameo_store::generations::SMALL_ROWS_MAX;
use cameo_worker::{Ceilings, Config};
use clap::Args;

/// What a run may use at most, whatever its bundle's `RUN_CONFIG` asks for, and how many there are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Workers {
    /// Runs that a worker executes at the same time; a tenant has at most half of these places.
    #[arg(
        long = "runs-at-once",
        id = "runs_at_once",
        env = "CAMEO_RUNS_AT_ONCE",
        default_value_t = 4,
        value_name = "N",
        hide_short_help = true,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    runs_at_once: u16,
    /// Cores that runs and mirrors leave to requests, where they share a machine.
    #[arg(
        long = "cores-for-requests",
        id = "cores_for_requests",
        env = "CAMEO_CORES_FOR_REQUESTS",
        default_value_t = 0,
        value_name = "N",
        hide_short_help = true
    )]
    pub(crate) cores_for_requests: usize,
    /// Most memory of a run, in MiB.
    #[arg(
        long = "run-memory-max-mb",
        id = "run_memory_max_mb",
        env = "CAMEO_RUN_MEMORY_MAX_MB",
        default_value_t = 8_192,
        value_name = "MIB",
        hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(64..)
    )]
    memory_max_mb: u64,
    /// Most time of a run, in minutes.
    #[arg(
        long = "run-minutes-max",
        id = "run_minutes_max",
        env = "CAMEO_RUN_MINUTES_MAX",
        default_value_t = 1_440,
        value_name = "N",
        hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..=10_080)
    )]
    minutes_max: u64,
    /// Most rows that a run may read, and that it may write.
    #[arg(
        long = "run-rows-max",
        id = "run_rows_max",
        env = "CAMEO_RUN_ROWS_MAX",
        default_value_t = 1_000_000_000,
        value_name = "N",
        hide_short_help = true,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    rows_max: u64,
    /// A generation of more rows has its snapshot made before it is published, so that readers are never sent to
    /// Postgres for as long as that takes. For smaller ones it takes a fraction of a second.
    #[arg(
        long = "snapshot-first-above",
        id = "snapshot_first_above",
        env = "CAMEO_SNAPSHOT_FIRST_ABOVE",
        default_value_t = SMALL_ROWS_MAX,
        value_name = "ROWS",
        hide_short_help = true
    )]
    snapshot_first_above: u64,
}

impl Workers {
    /// A worker's settings with these.
    pub(crate) fn config(&self) -> Config {
        let usual = Config::default();
        Config {
            runs_max: self.runs_at_once.into(),
            threads: usual.threads.saturating_sub(self.cores_for_requests).max(1),
            ceilings: Ceilings {
                memory_mb: self.memory_max_mb,
                time: Duration::from_secs(self.minutes_max * 60),
                rows: self.rows_max,
            },
            snapshot_first_above: self.snapshot_first_above,
            ..usual
        }
    }
}
