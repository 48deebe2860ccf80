//! What a run may use, and how it ends beyond.

use std::time::Duration;

use cameo_bundle::RunConfig;

use crate::error::RunError;

/// What the platform lets any run use, whatever its bundle asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Memory, in MiB.
    pub memory_mb: u64,
    /// Time from the claim to the publication.
    pub time: Duration,
    /// Rows that are read, and as many that are written.
    pub rows: u64,
}

impl Default for Ceilings {
    /// 8 GiB, a day, a thousand million rows.
    fn default() -> Self {
        Self { memory_mb: 8 * 1024, time: Duration::from_hours(24), rows: 1_000_000_000 }
    }
}

/// What a run may use: what its bundle says, or the platform's ceiling where that is lower.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory, in MiB.
    pub memory_mb: u64,
    time: Limit<Duration>,
    rows_read: Limit<u64>,
    rows_written: Limit<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Limit<T> {
    value: T,
    set_by: SetBy,
}

#[derive(Debug, Clone, Copy)]
enum SetBy {
    Bundle,
    Platform,
}

impl<T: Ord> Limit<T> {
    fn lower(bundle: T, ceiling: T) -> Self {
        if bundle <= ceiling {
            Self { value: bundle, set_by: SetBy::Bundle }
        } else {
            Self { value: ceiling, set_by: SetBy::Platform }
        }
    }

    /// Who can allow more, and where.
    fn cure(&self, key: &str, variable: &str) -> String {
        match self.set_by {
            SetBy::Bundle => format!("raise {key} in RUN_CONFIG"),
            SetBy::Platform => {
                format!("the platform allows no more: its operators can raise {variable}")
            }
        }
    }
}

impl Limits {
    /// The limits of a run with this config.
    #[must_use]
    pub fn of(config: &RunConfig, ceilings: &Ceilings) -> Self {
        Self {
            memory_mb: u64::from(config.memory_limit_mb).min(ceilings.memory_mb),
            time: Limit::lower(config.time_limit(), ceilings.time),
            rows_read: Limit::lower(config.rows_read_max.into(), ceilings.rows),
            rows_written: Limit::lower(config.rows_written_max.into(), ceilings.rows),
        }
    }

    /// Time from the claim to the publication.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time.value
    }

    /// Lets `work` go on until the time is over. What it had begun is then dropped: queries are interrupted,
    /// tasks end.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        match tokio::time::timeout(self.time.value, work).await {
            Ok(result) => result,
            Err(_) => Err(RunError::halt(
                "time_limit",
                format!(
                    "the run exceeded its time limit of {}; {}, or make features.sql cheaper",
                    in_words(self.time.value),
                    self.time.cure("TIME_LIMIT_MINUTES", "CAMEO_RUN_MINUTES_MAX"),
                ),
            )),
        }
    }

    /// Ends a run that has read too much.
    pub(crate) fn check_read(&self, rows: u64) -> Result<(), RunError> {
        if rows <= self.rows_read.value {
            return Ok(());
        }
        Err(RunError::halt(
            "rows_limit",
            format!(
                "features.sql gives more than {} rows, the most that this run may read; look for a join that \
                 multiplies rows, or {}",
                self.rows_read.value,
                self.rows_read.cure("ROWS_READ_MAX", "CAMEO_RUN_ROWS_MAX"),
            ),
        ))
    }

    /// Ends a run that has written too much.
    pub(crate) fn check_written(&self, rows: u64) -> Result<(), RunError> {
        if rows <= self.rows_written.value {
            return Ok(());
        }
        Err(RunError::halt(
            "rows_limit",
            format!(
                "the run makes more than {} predictions, the most that it may write; look for a join that \
                 multiplies rows, lower TOP_N where the service ranks, or {}",
                self.rows_written.value,
                self.rows_written.cure("ROWS_WRITTEN_MAX", "CAMEO_RUN_ROWS_MAX"),
            ),
        ))
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(error: Result<(), RunError>) -> String {
        match error {
            Err(RunError::Halt(reason)) => format!("{}: {}", reason.code, reason.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_lower_limit_counts_and_the_reason_says_who_set_it() {
        let config = RunConfig { rows_read_max: 10, ..RunConfig::default() };
        let ceilings = Ceilings { rows: 20, memory_mb: 512, ..Ceilings::default() };
        let limits = Limits::of(&config, &ceilings);
        assert_eq!(limits.memory_mb, 512);
        assert!(limits.check_read(10).is_ok() && limits.check_written(20).is_ok());
        let read = message(limits.check_read(11));
        assert!(read.starts_with("rows_limit: features.sql gives more than 10 rows"), "{read}");
        assert!(read.ends_with("or raise ROWS_READ_MAX in RUN_CONFIG"), "{read}");
        let written = message(limits.check_written(21));
        assert!(written.contains("more than 20 predictions"), "{written}");
        assert!(written.ends_with("its operators can raise CAMEO_RUN_ROWS_MAX"), "{written}");
    }

    #[tokio::test]
    async fn what_takes_too_long_ends_with_the_reason() {
        let ceilings = Ceilings { time: Duration::from_millis(1), ..Ceilings::default() };
        let limits = Limits::of(&RunConfig::default(), &ceilings);
        let ended = limits.in_time(std::future::pending()).await;
        let ended = message(ended);
        assert!(ended.starts_with("time_limit: "), "{ended}");
        assert!(ended.contains("CAMEO_RUN_MINUTES_MAX"), "{ended}");
    }
}
