//! Who meets a condition.
//!
//! [`count`] and [`Members`] walk the customers of the services that a condition names, in the order of
//! their keys. A customer whom a service does not know has nulls there, as a full outer join gives.

mod expression;
mod join;
mod keys;
mod like;
mod members;
mod plan;
mod table;
#[cfg(test)]
mod tests;
mod truth;
mod vector;
mod walk;

pub use members::Members;
pub use table::Source;

use std::{num::NonZeroUsize, thread};

use arrow::error::ArrowError;
use cameo_domain::ServiceName;

use crate::{Condition, Share};
use walk::{Layout, Walk};

/// Fewer customers than this are not worth a thread of their own.
const ROWS_PER_THREAD_MIN: usize = 100_000;

/// Which customers are chosen.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// They meet this condition,
    pub condition: &'a Condition,
    /// are in this share, where there is one,
    pub sample: Option<&'a Share>,
    /// and are not in this one.
    pub hold_out: Option<&'a Share>,
}

/// How many customers a condition chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Who was chosen.
    pub members: u64,
    /// All whom one of the condition's services knows.
    pub profiles: u64,
}

/// Why a condition cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A service that is named has no predictions here.
    #[error("expected predictions of the service `{0}`, found none")]
    Service(ServiceName),
    /// A column is gone or has another type than it had when the condition was read.
    #[error("the service `{service}` no longer has the column `{column}` as it was; found {found}")]
    Column {
        /// The service.
        service: ServiceName,
        /// Its column.
        column: String,
        /// The type that there is now.
        found: String,
    },
    /// Two services name customers by keys of two types.
    #[error("the services have keys of different types: they cannot be joined")]
    Keys,
    /// The batches are not sound.
    #[error("the predictions are not sound")]
    Arrow(#[from] ArrowError),
}

/// Counts on up to `threads` threads.
pub fn count(
    selection: &Selection<'_>,
    sources: &[Source<'_>],
    threads: NonZeroUsize,
) -> Result<Count, EvaluateError> {
    let layout = Layout::new(selection.condition, &[], sources)?;
    let wanted = layout.rows() / ROWS_PER_THREAD_MIN + 1;
    let ranges = layout.partition(wanted.min(threads.get()));
    let counts = thread::scope(|scope| {
        let running: Vec<_> = ranges
            .iter()
            .map(|range| scope.spawn(|| Walk::new(selection, &layout, range).count()))
            .collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(counts.into_iter().fold(Count { members: 0, profiles: 0 }, |sum, count| Count {
        members: sum.members + count.members,
        profiles: sum.profiles + count.profiles,
    }))
}
