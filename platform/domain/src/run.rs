//! The life of a run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a run stands. The database holds the same table as a trigger, so no code path can leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Its generation was published.
    Published,
    /// Its generation was complete, but a newer due instant had been published before.
    Superseded,
    /// It ran beside production: its generation is complete and only compared.
    Shadowed,
    /// The bundle or the data is at fault: repeating it changes nothing.
    Halted,
    /// Every attempt failed for a transient reason.
    Failed,
    /// A person withdrew it before a worker took it.
    Cancelled,
}

/// What moves a run from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A worker takes it; the epoch rises.
    Claim,
    /// The lease ran out or a transient error occurred and attempts are left.
    Requeue,
    /// The generation is published.
    Publish,
    /// The generation is complete but older than what is published.
    Supersede,
    /// The generation of a run beside production is complete.
    Shadow,
    /// Repeating would not help.
    Halt,
    /// No attempt is left.
    Fail,
    /// A person withdraws it.
    Cancel,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Published,
        Self::Superseded,
        Self::Shadowed,
        Self::Halted,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state after `transition`, or `None` where the table has no such step.
    #[must_use]
    pub fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Queued, Transition::Claim) => Some(Self::Running),
            (Self::Queued, Transition::Cancel) => Some(Self::Cancelled),
            (Self::Running, Transition::Requeue) => Some(Self::Queued),
            (Self::Running, Transition::Publish) => Some(Self::Published),
            (Self::Running, Transition::Supersede) => Some(Self::Superseded),
            (Self::Running, Transition::Shadow) => Some(Self::Shadowed),
            (Self::Running, Transition::Halt) => Some(Self::Halted),
            (Self::Running, Transition::Fail) => Some(Self::Failed),
            _ => None,
        }
    }

    /// Whether the run has ended; a finished run never changes.
    #[must_use]
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The spelling in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Published => "published",
            Self::Superseded => "superseded",
            Self::Shadowed => "shadowed",
            Self::Halted => "halted",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run state")]
pub struct RunStateError(String);

impl FromStr for RunState {
    type Err = RunStateError;

    fn from_str(text: &str) -> Result<Self, RunStateError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| RunStateError(text.to_owned()))
    }
}

/// Why a run ended without publishing, or why it was tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code, such as `CAM0301`, `memory_limit` or `lease_expired`.
    pub code: String,
    /// What was expected, what was found, where, what to do next.
    pub message: String,
}

impl Reason {
    /// A reason with a stable code.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_run_never_changes() {
        use Transition::{Cancel, Claim, Fail, Halt, Publish, Requeue, Shadow, Supersede};
        for state in RunState::ALL.into_iter().filter(|state| state.is_finished()) {
            for transition in [Claim, Requeue, Publish, Supersede, Shadow, Halt, Fail, Cancel] {
                assert_eq!(state.after(transition), None, "{state} moved by {transition:?}");
            }
        }
    }

    #[test]
    fn the_text_form_reads_back() {
        for state in RunState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
