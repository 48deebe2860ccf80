//! What becomes of a run whose attempt did not publish.

use std::time::Duration;

use cameo_domain::Reason;
use cameo_pipeline::RunError;
use cameo_runtime::backoff::Backoff;

/// Between attempts at a run.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(5), max: Duration::from_mins(5) };

/// The next state of a run after an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ends as halted: the bundle or the data is at fault.
    Halt(Reason),
    /// Waits for another attempt, or fails where none is left: the store counts them.
    Retry(Reason, Duration),
    /// Goes back to the queue at once, for another worker.
    HandBack,
    /// Belongs to another worker already: nothing to write.
    Leave,
}

pub(crate) fn judge(error: RunError, attempt: u32) -> Verdict {
    match error {
        RunError::Halt(reason) => Verdict::Halt(reason),
        RunError::Transient(reason) => Verdict::Retry(reason, BACKOFF.after(attempt)),
        RunError::Cancelled => Verdict::HandBack,
        RunError::StaleEpoch => Verdict::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason() -> Reason {
        Reason::new("store", "connection refused")
    }

    #[test]
    fn a_fault_of_the_bundle_is_not_retried() {
        assert_eq!(judge(RunError::Halt(reason()), 1), Verdict::Halt(reason()));
    }

    #[test]
    fn a_transient_error_is_retried_ever_later() {
        let wait = |attempt| match judge(RunError::Transient(reason()), attempt) {
            Verdict::Retry(_, wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 8].map(wait), [5, 10, 20, 300]);
    }

    #[test]
    fn a_lost_lease_writes_nothing() {
        assert_eq!(judge(RunError::StaleEpoch, 1), Verdict::Leave);
    }
}
