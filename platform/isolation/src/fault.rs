//! Why a model gave no answer.

use std::time::Duration;

/// Longest text of a refusal, in characters: a reason is kept, and an operator may have a name of megabytes.
const PROBLEM_CHARACTERS_MAX: usize = 2_000;

/// Why a model gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The model is refused, or fails on these values, in the words of `cameo_scoring`.
    #[error("{0}")]
    Model(String),
    /// It asked for more memory than it may have.
    #[error(
        "the model used more than {limit_mb} MB of memory, all that its process may have; make it smaller, \
         or raise MEMORY_LIMIT_MB in RUN_CONFIG"
    )]
    Memory {
        /// What it may have, in MiB.
        limit_mb: u64,
    },
    /// One call took too long.
    #[error("the model took longer than {} s {doing}; make it smaller", .limit.as_secs_f64())]
    Time {
        /// What it was to do.
        doing: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// All calls together took too much CPU time.
    #[error("the model used more than {} s of CPU time; make it smaller", .limit.as_secs())]
    CpuTime {
        /// What it may use.
        limit: Duration,
    },
    /// Its process died of it.
    #[error("the model crashed ({how}); export it again, or report it with the model")]
    Crashed {
        /// The signal or the code, and the last that its process said.
        how: String,
    },
    /// Its process was killed, and not by us: by the system, which was out of memory, or by a person.
    #[error("the model's process was killed from outside, as a system does that is out of memory")]
    Killed,
    /// Its process answered what was not asked.
    #[error("the model's process broke the protocol: {0}")]
    Protocol(String),
    /// Its process was stopped because its run has ended.
    #[error("the model's process was stopped with its run")]
    Stopped,
    /// There is no process for it.
    #[error("no process could be started for the model: {0}")]
    Start(String),
}

impl Fault {
    /// Whether the model is at fault, so that another attempt would end the same way.
    #[must_use]
    pub fn is_of_model(&self) -> bool {
        match self {
            Self::Model(_)
            | Self::Memory { .. }
            | Self::Time { .. }
            | Self::CpuTime { .. }
            | Self::Crashed { .. }
            | Self::Protocol(_) => true,
            Self::Killed | Self::Stopped | Self::Start(_) => false,
        }
    }

    /// A stable name for this kind of fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Model(_) => "model",
            Self::Memory { .. } => "model_memory",
            Self::Time { .. } | Self::CpuTime { .. } => "model_time",
            Self::Crashed { .. } => "model_crashed",
            Self::Protocol(_) => "model_protocol",
            Self::Killed | Self::Stopped | Self::Start(_) => "model_process",
        }
    }

    pub(crate) fn of_model(error: &impl std::error::Error) -> Self {
        Self::refused(&error.to_string())
    }

    /// A refusal in the words of the model's process, which repeat names that its author chose.
    pub(crate) fn refused(problem: &str) -> Self {
        match problem.char_indices().nth(PROBLEM_CHARACTERS_MAX) {
            None => Self::Model(problem.to_owned()),
            Some((end, _)) => Self::Model(format!("{}…", &problem[..end])),
        }
    }
}
