//! Verdicts: how shadow runs compared with production's runs of the same instants.
//!
//! [`decide_next`] compares the generations of both where they lie, in the database, and writes the
//! verdict once. A promotion asks for as many passed ones in a row as its release wants.

mod compare;
mod decide;

pub use decide::decide_next;

use cameo_domain::{GenerationId, ReleaseId, RunId, ServiceName, ServicePath, TenantName};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// Most verdicts that [`list`] gives.
pub const VERDICTS_MAX: u32 = 200;
/// Least share of all keys that both generations must have: customers who arrive between two runs of one
/// instant are few.
pub const SHARED_KEYS_MIN: f64 = 0.99;
/// A run that takes at most this much longer than production's is not too slow, whatever the ratio: so
/// much is noise.
pub const DURATION_NOISE_SECONDS: f64 = 10.0;
/// The same for memory: what an allocator happens to keep.
pub const MEMORY_NOISE_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

/// What a release allows itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Most ratio of its duration to production's.
    pub duration_ratio_max: f64,
    /// Most ratio of its memory to production's.
    pub memory_ratio_max: f64,
    /// Most shift of a mean, as a share of production's mean.
    pub mean_shift_max: f64,
    /// Most population stability index, in nats.
    pub psi_max: f64,
    /// Most share of customers whose text or truth value differs.
    pub changed_share_max: f64,
}

/// One thing that was compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `completed`, `production`, `duration`, `memory`, `columns`, `keys`, `mean`, `distribution`,
    /// `changed`, `constant` or `comparison`.
    pub check: String,
    /// Which column, where it is about one.
    pub subject: Option<String>,
    /// Whether it is within its limit.
    pub passed: bool,
    /// What was found; none where it is no number.
    pub found: Option<f64>,
    /// The limit; none where there is none.
    pub limit: Option<f64>,
    /// What was found, in words.
    pub detail: Option<String>,
}

impl Check {
    fn new(check: &str, subject: Option<&str>, passed: bool) -> Self {
        let (check, subject) = (check.to_owned(), subject.map(str::to_owned));
        Self { check, subject, passed, found: None, limit: None, detail: None }
    }

    /// Something that is at most its limit. What is no finite number never passes.
    fn at_most(check: &str, subject: Option<&str>, found: f64, limit: f64) -> Self {
        let found = Some(found).filter(|found| found.is_finite());
        let passed = found.is_some_and(|found| found <= limit);
        Self { found, limit: Some(limit), ..Self::new(check, subject, passed) }
    }

    fn saying(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// How a shadow run compared.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The shadow run.
    pub run: RunId,
    /// Whose.
    pub path: ServicePath,
    /// Which release.
    pub release: ReleaseId,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// What the shadow run made.
    pub generation: Option<GenerationId>,
    /// Production's run of the instant.
    pub production_run: Option<RunId>,
    /// What that made.
    pub production_generation: Option<GenerationId>,
    /// Whether every check passed.
    pub passed: bool,
    /// What was compared.
    pub checks: Vec<Check>,
    /// When it was decided.
    pub at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Verdict {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let number = |column: &str| row.try_get::<Option<i64>, _>(column);
        Ok(Self {
            run: get(row, "run", RunId)?,
            path: row.path()?,
            release: row.parsed("release")?,
            due_at: row.try_get("due_at")?,
            generation: number("generation")?.map(GenerationId),
            production_run: number("production_run")?.map(RunId),
            production_generation: number("production_generation")?.map(GenerationId),
            passed: row.try_get("passed")?,
            checks: row.json("checks")?.unwrap_or_default(),
            at: row.try_get("at")?,
        })
    }
}

/// The verdicts of a release, or of all of a service, newest instant first.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    release: Option<ReleaseId>,
    limit: u32,
) -> Result<Vec<Verdict>, StoreError> {
    let verdicts = sqlx::query_as(
        "select * from cameo.verdicts
         where tenant = $1 and service = $2 and ($3::text is null or release = $3)
         order by due_at desc, run desc limit $4",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(release.map(|release| release.to_string()))
    .bind(i64::from(limit.min(VERDICTS_MAX)))
    .fetch_all(store.control())
    .await?;
    Ok(verdicts)
}
