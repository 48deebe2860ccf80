//! When refusals are answered: those of a key that asks for more than it may, and all of them under overload.
//!
//! A connection asks for one thing at a time, so a refusal that is answered late also keeps its client from asking
//! again. Up to a small share of what is served they are answered at once: a client with another server to
//! turn to loses no time. Above it they stand in line, and what refusing costs stays bounded whatever is
//! asked. A line that follows nothing answers the least rate.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::now;

/// Refusals per second that are answered, as a share of the requests that are served. One costs as much as several
/// answers: its connection has been idle, and asks again at once.
const SHARE: f64 = 0.005;
/// Bounds of that rate.
const RATE_MIN: f64 = 100.0;
const RATE_MAX: f64 = 5_000.0;
/// Longest that a refusal is held back.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// How many refusals may come at once after a while without.
const BURST: u64 = 50;

/// See the module.
pub(super) struct Pacer {
    interval_nanos: AtomicU64,
    /// When the last refusal in line is answered.
    last: AtomicU64,
}

impl Pacer {
    pub(super) fn new() -> Self {
        let pacer = Self { interval_nanos: AtomicU64::new(0), last: AtomicU64::new(0) };
        pacer.follow(0.0);
        pacer
    }

    /// Takes up how many requests per second are served.
    pub(super) fn follow(&self, served_per_second: f64) {
        let rate = (served_per_second * SHARE).clamp(RATE_MIN, RATE_MAX);
        let interval = Duration::from_secs_f64(1.0 / rate);
        self.interval_nanos.store(nanos(interval), Ordering::Relaxed);
    }

    /// How long to hold a refusal back.
    pub(super) fn delay(&self) -> Duration {
        self.delay_at(now())
    }

    /// How many refusals stand in line.
    pub(super) fn in_line(&self) -> f64 {
        self.in_line_at(now())
    }

    fn in_line_at(&self, now: u64) -> f64 {
        let held = self.last.load(Ordering::Relaxed).saturating_sub(now);
        held as f64 / self.interval_nanos.load(Ordering::Relaxed) as f64
    }

    fn delay_at(&self, now: u64) -> Duration {
        let interval = self.interval_nanos.load(Ordering::Relaxed);
        let step = |last: u64| {
            let next = last.max(now.saturating_sub(interval * BURST)) + interval;
            // The line does not grow beyond what anyone is made to wait.
            Some(next.min(now + nanos(DELAY_MAX)))
        };
        let last = match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(before) | Err(before) => step(before).unwrap_or(now),
        };
        Duration::from_nanos(last.saturating_sub(now))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_refusals_come_at_once_and_many_stand_in_line() {
        let pacer = Pacer::new();
        pacer.follow(200_000.0);
        let now = 10_000_000_000;
        let delays: Vec<Duration> = (0..1_050).map(|_| pacer.delay_at(now)).collect();
        assert!(delays[..50].iter().all(Duration::is_zero));
        assert!(delays[549].abs_diff(Duration::from_millis(500)) < Duration::from_millis(1));
        assert!(delays.is_sorted());
        assert!((pacer.in_line_at(now) - 1_000.0).abs() < 1.5);
        assert!((pacer.in_line_at(now + 500_000_000) - 500.0).abs() < 1.5);
        for _ in 0..10_000 {
            assert!(pacer.delay_at(now) <= DELAY_MAX);
        }
        assert_eq!(pacer.delay_at(now + 6_000_000_000), Duration::ZERO, "the line is gone");
    }
}
