//! When refusals are answered.
//!
//! A connection asks for one thing at a time, so a refusal that is answered late also keeps its client from asking
//! again. Up to a rate they are answered at once: a client with another server to turn to loses no
//! time. Above it they stand in line, and what refusing costs stays bounded whatever is asked.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::now;

/// Longest that a refusal is held back.
const DELAY_MAX: Duration = Duration::from_secs(2);
/// For how long refusals at the full rate may come at once.
const BURST: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Pacer {
    interval_nanos: u64,
    /// When the last refusal in line is answered.
    last: AtomicU64,
}

impl Pacer {
    pub(super) fn new(refusals_per_second: u32) -> Self {
        Self {
            interval_nanos: 1_000_000_000 / u64::from(refusals_per_second.max(1)),
            last: AtomicU64::new(0),
        }
    }

    /// How long to hold a refusal back.
    pub(super) fn delay(&self) -> Duration {
        self.delay_at(now())
    }

    fn delay_at(&self, now: u64) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (burst, delay_max) = (nanos(BURST), nanos(DELAY_MAX));
        let step = |last: u64| {
            let next = last.max(now.saturating_sub(burst)) + self.interval_nanos;
            // The line does not grow beyond what anyone is made to wait.
            Some(next.min(now + delay_max))
        };
        let last = match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(before) | Err(before) => step(before).unwrap_or(now),
        };
        Duration::from_nanos(last.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_refusals_come_at_once_and_many_stand_in_line() {
        let pacer = Pacer::new(1_000);
        let now = 10_000_000_000;
        let delays: Vec<Duration> = (0..1_050).map(|_| pacer.delay_at(now)).collect();
        assert!(delays[..50].iter().all(Duration::is_zero));
        assert_eq!(delays[549], Duration::from_millis(500));
        assert!(delays.is_sorted());
        for _ in 0..10_000 {
            assert!(pacer.delay_at(now) <= DELAY_MAX);
        }
        assert_eq!(pacer.delay_at(now + 3_000_000_000), Duration::ZERO, "the line is gone");
    }
}
