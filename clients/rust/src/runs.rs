//! The executions that make predictions.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde::Deserialize;

use crate::{client::ServiceClient, error::Error, http::Ask, retry::random};

/// How often a run that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// One execution of a release for one due instant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// Its number.
    pub run: i64,
    /// What it executes.
    pub release: String,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// Where it stands.
    pub state: RunState,
    /// Which attempt is the latest, from 1; 0 before the first.
    pub attempt: u32,
    /// How many attempts it has.
    pub attempts_max: u32,
    /// Why it ended without publishing, or why it was tried again.
    pub reason: Option<Reason>,
    /// Rows that the features query gave; once complete.
    pub rows_read: Option<u64>,
    /// Rows with predictions; once complete.
    pub rows_scored: Option<u64>,
    /// Rows set aside with a reason; once complete.
    pub rows_quarantined: Option<u64>,
    /// What it produced; once complete.
    pub generation: Option<i64>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a worker first took it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Run {
    /// Whether it has ended, well or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished_at.is_some()
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Waits for a worker.
    Queued,
    /// Is being executed.
    Running,
    /// Its predictions are served, or were.
    Published,
    /// Something newer was published first.
    Superseded,
    /// Ran beside production.
    Shadowed,
    /// Stopped by a fault of the bundle or its data.
    Halted,
    /// Ran out of attempts.
    Failed,
    /// Taken back before it began.
    Cancelled,
    /// A state that a newer server knows.
    #[serde(other)]
    Other,
}

impl RunState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Published => "published",
            Self::Superseded => "superseded",
            Self::Shadowed => "shadowed",
            Self::Halted => "halted",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }
}

/// Why a run ended as it did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Reason {
    /// Stable code.
    pub code: String,
    /// What was expected, what was found, where, what to do next.
    pub message: String,
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only runs in this state.
    pub state: Option<RunState>,
    /// Most runs of the page, 1 to 200; 50 unless given.
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Run>,
    /// Ask for the next page with it.
    pub next_cursor: Option<String>,
}

impl ServiceClient {
    /// Asks for a run now. The request has a name of its own, so it starts one run however often it has to be sent.
    pub async fn run_now(&self) -> Result<Run, Error> {
        self.run_named(&format!("{:016x}{:016x}", random(), random())).await
    }

    /// Asks for a run with a name of the caller's: the same name gives the same run.
    ///
    /// # Errors
    /// The name is not 1 to 128 visible ASCII characters.
    pub async fn run_named(&self, name: &str) -> Result<Run, Error> {
        let name = HeaderValue::try_from(name).map_err(|_| {
            Error::Configuration("expected a name of 1 to 128 visible ASCII characters".into())
        })?;
        let header = HeaderName::from_static("idempotency-key");
        let ask = Ask::change(Method::POST, self.path(&["runs"])).harmless();
        self.http.json(ask.header(header, name)).await
    }

    /// One run.
    pub async fn run(&self, run: i64) -> Result<Run, Error> {
        self.http.json(Ask::get(self.path(&["runs", &run.to_string()]))).await
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, filter: &RunFilter) -> Result<RunPage, Error> {
        let ask = Ask::get(self.path(&["runs"]))
            .query("state", filter.state.map(RunState::as_str))
            .query("limit", filter.limit)
            .query("cursor", filter.cursor.as_ref());
        self.http.json(ask).await
    }

    /// Waits until a run has ended.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where it has not within `limit`; it goes on all the same.
    pub async fn wait_for_run(&self, run: i64, limit: Duration) -> Result<Run, Error> {
        let wait = async {
            loop {
                let found = self.run(run).await?;
                if found.is_finished() {
                    return Ok(found);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or(Err(Error::TimedOut { limit }))
    }
}
