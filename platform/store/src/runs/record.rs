//! A run as the control plane knows it.

use cameo_domain::{Epoch, GenerationId, Reason, ReleaseId, RunId, RunState, ServicePath};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::row::{Columns, get};

/// What asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTrigger {
    /// A due instant of the schedule.
    Schedule,
    /// A person or program, with an idempotency key.
    Manual,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPurpose {
    /// Its generation is published.
    Publish,
    /// It runs beside production, and its generation is compared with production's.
    Shadow,
}

impl RunPurpose {
    pub(super) fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let purpose: &str = row.try_get("purpose")?;
        Ok(match purpose {
            "shadow" => Self::Shadow,
            _ => Self::Publish,
        })
    }
}

/// How far a running run is; replaced with every heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The stage that is working, such as `scoring`.
    pub stage: String,
    /// Rows that the features query gave.
    pub rows_read: u64,
    /// Rows with predictions.
    pub rows_scored: u64,
    /// Rows set aside with a reason.
    pub rows_quarantined: u64,
    /// Rows of customers who were erased, and are left out.
    pub rows_suppressed: u64,
    /// Rows sent to the generation's table.
    pub rows_written: u64,
    /// Rows scored per second.
    pub rows_per_second: f64,
    /// Time by step, in order.
    pub steps: Vec<StepTime>,
    /// The most memory that the worker's process had while the run ran, by samples; all that the process
    /// did at the time is in it.
    pub memory_peak_bytes: Option<u64>,
}

/// How long a step took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// The step's name.
    pub name: String,
    /// Busy time, in seconds.
    pub seconds: f64,
}

/// The final counts of a run: `rows_read = rows_scored + rows_quarantined + rows_suppressed`. They count customers: a service
/// that ranks writes several rows for each one that was scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Rows that the features query gave.
    pub rows_read: u64,
    /// Rows with predictions; as many are in the generation.
    pub rows_scored: u64,
    /// Rows set aside with a reason.
    pub rows_quarantined: u64,
    /// Rows of customers who were erased: neither scored nor set aside.
    pub rows_suppressed: u64,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRecord {
    /// Its number.
    pub run: RunId,
    /// Whose.
    pub path: ServicePath,
    /// What it executes.
    pub release: ReleaseId,
    /// What it is for.
    pub purpose: RunPurpose,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// What asked for it.
    pub trigger: RunTrigger,
    /// Who asked for it, when a person or program did.
    pub requested_by: Option<String>,
    /// Where it stands.
    pub state: RunState,
    /// How often it was claimed.
    pub epoch: Epoch,
    /// Which attempt is the latest, from 1; 0 before the first.
    pub attempt: u32,
    /// How many attempts it has.
    pub attempts_max: u32,
    /// When it may be claimed.
    pub not_before: DateTime<Utc>,
    /// When its worker must have reported again.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// The worker that holds it, or held it last.
    pub worker: Option<String>,
    /// Why it ended without publishing, or why it was tried again.
    pub reason: Option<Reason>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// The final counts, once it published or was superseded.
    pub counts: Option<RunCounts>,
    /// What it produced, once complete.
    pub generation: Option<GenerationId>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The most memory that the worker's process had during the latest attempt, by samples.
    pub memory_peak_bytes: Option<u64>,
}

impl FromRow<'_, PgRow> for RunRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let trigger: &str = row.try_get("trigger")?;
        let counts = match (
            row.count("rows_read")?,
            row.count("rows_scored")?,
            row.count("rows_quarantined")?,
        ) {
            (Some(rows_read), Some(rows_scored), Some(rows_quarantined)) => {
                let rows_suppressed = row.count("rows_suppressed")?.unwrap_or_default();
                Some(RunCounts { rows_read, rows_scored, rows_quarantined, rows_suppressed })
            }
            _ => None,
        };
        let generation: Option<i64> = row.try_get("generation")?;
        Ok(Self {
            run: get(row, "run", RunId)?,
            path: row.path()?,
            release: row.parsed("release")?,
            purpose: RunPurpose::of(row)?,
            due_at: row.try_get("due_at")?,
            trigger: match trigger {
                "manual" => RunTrigger::Manual,
                _ => RunTrigger::Schedule,
            },
            requested_by: row.try_get("requested_by")?,
            state: row.parsed("state")?,
            epoch: get(row, "epoch", Epoch)?,
            attempt: get(row, "attempt", i32::unsigned_abs)?,
            attempts_max: get(row, "attempts_max", i32::unsigned_abs)?,
            not_before: row.try_get("not_before")?,
            lease_expires_at: row.try_get("lease_expires_at")?,
            worker: row.try_get("worker")?,
            reason: row.json("reason")?,
            progress: row.json("progress")?,
            counts,
            generation: generation.map(GenerationId),
            created_at: row.try_get("created_at")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            memory_peak_bytes: row.count("memory_peak_bytes")?,
        })
    }
}
