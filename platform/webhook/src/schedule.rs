//! When a delivery that failed is tried again.

use std::time::Duration;

/// Pause after the first failure.
const FIRST: Duration = Duration::from_secs(5);
/// Longest pause.
const LONGEST: Duration = Duration::from_hours(6);

/// The pause after a delivery's `attempt`-th failure, from 1: it grows fourfold from 5 seconds to 6 hours.
#[must_use]
pub fn pause(attempt: u32) -> Duration {
    let growth = 4_u32.saturating_pow(attempt.saturating_sub(1));
    FIRST.saturating_mul(growth).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_seconds_to_hours_and_no_further() {
        let pauses: Vec<u64> = (1..=8).map(|attempt| pause(attempt).as_secs()).collect();
        assert_eq!(pauses, [5, 20, 80, 320, 1_280, 5_120, 20_480, 21_600]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
