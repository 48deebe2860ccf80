//! How long what failed waits before it is tried again.

use std::time::Duration;

/// Waits that double from attempt to attempt, up to a longest one.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Wait before the second attempt.
    pub first: Duration,
    /// Longest wait between attempts.
    pub max: Duration,
}

impl Backoff {
    /// The wait after an attempt, counted from 1.
    #[must_use]
    pub fn after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_whatever_the_attempt() {
        let backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(5) };
        let waits = [0, 1, 2, 3, 8, 9, u32::MAX].map(|attempt| backoff.after(attempt).as_secs());
        assert_eq!(waits, [2, 2, 4, 8, 256, 300, 300]);
    }
}
