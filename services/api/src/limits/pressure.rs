//! Whether requests wait too long before anything looks at them, and how many are refused then.
//!
//! What counts is the time in the queue, as in CoDel, rather than a number of requests in flight, which fast
//! requests never reach; and how long is too long follows from the rate that the server has shown. A *mean* wait in
//! which it works off [`QUEUE_MAX_PER_CORE`] connections per core is overload, unless it was a single tick: then the
//! system took the processor away for a moment. Under overload the target is the time for
//! [`QUEUE_KEPT_PER_CORE`]: fewer would leave it idle, more only wait. A request that waited `w` is served with
//! probability `target / w`, so the population of connections that ask is thinned out until the wait is
//! the target, and no further: while fewer than that are left, the target is raised. It ends when those that wait
//! for their turn and those that stand in line for their refusals are together no more than a full house.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// How often it is decided whether to shed.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// A queue of so many connections per core is no overload, only a full house.
const QUEUE_MAX_PER_CORE: f64 = 32.0;
/// A queue of so many keeps a core busy.
const QUEUE_KEPT_PER_CORE: f64 = 8.0;
/// Longest target, for a server that does little or nothing.
const TARGET_MAX: Duration = Duration::from_millis(20);
/// Wait from which on there is overload, for such a server; and in targets for a very fast one.
const WAIT_MAX: Duration = Duration::from_millis(50);
const WAIT_MIN_TARGETS: u32 = 5;
/// While fewer are kept than should be, requests may wait longer and longer before they may be refused: so many times
/// at each tick, and at most.
const SLACK_STEP: f64 = 1.12;
const SLACK_MAX: f64 = 4.0;
/// How much of the rate so far counts at each tick.
const KEPT: f64 = 0.84;
/// Odd, and its bits as random as the golden ratio's: its multiples fill the range evenly.
const STEP: u32 = 0x9E37_79B9;

/// See the module.
pub(super) struct Pressure {
    target_min: Duration,
    cores: f64,
    target_nanos: AtomicU64,
    shedding: AtomicBool,
    /// Whether the last tick's wait was too long.
    was_long: AtomicBool,
    requests: AtomicU32,
    refused: AtomicU32,
    waited_nanos: AtomicU64,
    /// Bits of a number: requests per second that were not refused.
    rate: AtomicU64,
    /// Bits of a number, from 1: how many times as long as the target a request may wait before it may be refused.
    slack: AtomicU64,
    draws: AtomicU32,
}

impl Pressure {
    pub(super) fn new(target_min: Duration) -> Self {
        Self {
            // The bounds that follow from it stay in order.
            target_min: target_min.min(TARGET_MAX / 2),
            cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            target_nanos: AtomicU64::new(nanos(TARGET_MAX)),
            shedding: AtomicBool::new(false),
            was_long: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            waited_nanos: AtomicU64::new(0),
            rate: AtomicU64::new(0_f64.to_bits()),
            slack: AtomicU64::new(1_f64.to_bits()),
            draws: AtomicU32::new(0),
        }
    }

    /// Notes how long a request waited.
    pub(super) fn note(&self, waited: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.waited_nanos.fetch_add(nanos(waited), Ordering::Relaxed);
    }

    /// Whether to refuse a request that waited so long, of a tenant with this weight: above 1 it asks for less than
    /// its share, below 1 for more.
    pub(super) fn refuses(&self, waited: Duration, weight: f32) -> bool {
        if !self.is_shedding() {
            return false;
        }
        let target = self.target();
        if waited <= target {
            return false;
        }
        let admitted = target.as_secs_f64() / waited.as_secs_f64() * f64::from(weight);
        let draw = self.draws.fetch_add(STEP, Ordering::Relaxed);
        let is_refused = f64::from(draw) / f64::from(u32::MAX) >= admitted;
        if is_refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_refused
    }

    /// Whether more is asked than can be served.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Relaxed)
    }

    /// Requests per second that were let through lately.
    pub(super) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    fn target(&self) -> Duration {
        Duration::from_nanos(self.target_nanos.load(Ordering::Relaxed))
    }

    /// Decides what holds until the next tick, while so many refusals stand `in_line`.
    pub(super) fn tick(&self, elapsed: Duration, in_line: f64) {
        let requests = self.requests.swap(0, Ordering::Relaxed);
        let refused = self.refused.swap(0, Ordering::Relaxed);
        let waited = self.waited_nanos.swap(0, Ordering::Relaxed) as f64 / 1e9;
        let served = f64::from(requests.saturating_sub(refused)) / elapsed.as_secs_f64();
        let rate = self.rate() * KEPT + served * (1.0 - KEPT);
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
        let time_for = |queue: f64| Duration::from_secs_f64(queue * self.cores / rate.max(1.0));
        let target = time_for(QUEUE_KEPT_PER_CORE).clamp(self.target_min, TARGET_MAX);
        let wait_min = self.target_min * WAIT_MIN_TARGETS;
        let overload = time_for(QUEUE_MAX_PER_CORE).clamp(wait_min, WAIT_MAX);
        let is_long = waited / f64::from(requests.max(1)) > overload.as_secs_f64();
        let was_long = self.was_long.swap(is_long, Ordering::Relaxed);
        // How many waited at a time, by Little's law.
        let in_queue = waited / elapsed.as_secs_f64();
        let slack = self.next_slack(in_queue);
        self.target_nanos.store(nanos(target.mul_f64(slack)), Ordering::Relaxed);
        if is_long && was_long {
            self.shedding.store(true, Ordering::Relaxed);
        } else if !is_long && in_queue + in_line < QUEUE_MAX_PER_CORE * self.cores {
            self.shedding.store(false, Ordering::Relaxed);
        }
    }

    fn next_slack(&self, in_queue: f64) -> f64 {
        let before = f64::from_bits(self.slack.load(Ordering::Relaxed));
        let slack = if !self.is_shedding() {
            1.0
        } else if in_queue < QUEUE_KEPT_PER_CORE * self.cores {
            (before * SLACK_STEP).min(SLACK_MAX)
        } else {
            (before / SLACK_STEP).max(1.0)
        };
        self.slack.store(slack.to_bits(), Ordering::Relaxed);
        slack
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(1);

    /// Requests of a tick of two cores that do 16,000 per second: 16 of them take a millisecond.
    const AT_WORK: u32 = 800;

    fn under(wait: Duration) -> Pressure {
        let pressure = Pressure { cores: 2.0, ..Pressure::new(Duration::from_micros(300)) };
        for _ in 0..60 {
            tick(&pressure, wait, AT_WORK);
        }
        pressure
    }

    fn tick(pressure: &Pressure, wait: Duration, requests: u32) {
        tick_with(pressure, wait, requests, 0.0);
    }

    fn tick_with(pressure: &Pressure, wait: Duration, requests: u32, in_line: f64) {
        for _ in 0..requests {
            pressure.note(wait);
        }
        pressure.tick(TICK, in_line);
    }

    #[test]
    fn a_long_queue_is_shed_in_proportion_and_tenants_by_their_share() {
        let pressure = under(TARGET * 8);
        let served = |weight| (0..1_000).filter(|_| !pressure.refuses(TARGET * 4, weight)).count();
        assert!((240..=260).contains(&served(1.0)), "a quarter");
        assert!((115..=135).contains(&served(0.5)), "less of whoever asks for more than a share");
        assert_eq!(served(8.0), 1_000, "whoever asks for little is served");
        assert!(!pressure.refuses(TARGET / 2, 0.1), "who did not wait is served");
    }

    #[test]
    fn the_target_follows_what_the_machine_can_do() {
        let pressure = under(Duration::from_micros(10));
        assert!(pressure.target().abs_diff(TARGET) < Duration::from_micros(20));
        for _ in 0..60 {
            tick(&pressure, Duration::from_micros(10), AT_WORK / 10);
        }
        assert!(pressure.target().abs_diff(TARGET * 10) < Duration::from_micros(200));
        assert!(!pressure.is_shedding());
    }

    #[test]
    fn a_moment_without_the_processor_is_no_overload() {
        // Few requests, each long delayed: the queue is the system's, not ours.
        let pressure = under(Duration::from_micros(10));
        for _ in 0..10 {
            tick(&pressure, Duration::from_micros(10), 20);
        }
        tick(&pressure, TARGET * 10, 3);
        assert!(!pressure.is_shedding());
        // Many requests, a handful long delayed.
        let pressure = under(Duration::from_micros(50));
        for _ in 0..5 {
            pressure.note(TARGET * 20);
        }
        tick(&pressure, Duration::from_micros(50), AT_WORK);
        assert!(!pressure.is_shedding());
    }

    #[test]
    fn a_full_house_is_no_overload() {
        // 60 connections that ask as fast as they are answered.
        let pressure = under(Duration::from_micros(3_700));
        assert!(!pressure.is_shedding() && !pressure.refuses(TARGET * 5, 1.0));
    }

    #[test]
    fn shedding_ends_with_the_queue() {
        let pressure = under(TARGET * 8);
        assert!(pressure.is_shedding());
        tick_with(&pressure, TARGET, AT_WORK, 100.0);
        assert!(pressure.is_shedding(), "at the target it goes on: the others still ask");
        tick_with(&pressure, TARGET, AT_WORK, 30.0);
        assert!(!pressure.is_shedding(), "all who ask are a full house");
    }

    #[test]
    fn whoever_comes_back_is_served_while_the_queue_is_short() {
        let pressure = under(TARGET * 8);
        let served = || (0..1_000).filter(|_| !pressure.refuses(TARGET * 2, 1.0)).count();
        assert!((480..=520).contains(&served()), "half");
        for _ in 0..10 {
            tick_with(&pressure, TARGET / 2, AT_WORK, 400.0);
        }
        assert_eq!(served(), 1_000);
        for _ in 0..20 {
            tick_with(&pressure, TARGET * 2, AT_WORK, 400.0);
        }
        assert!((480..=520).contains(&served()), "half again");
    }

    #[test]
    fn a_full_house_that_lost_the_processor_is_not_refused_for_long() {
        let pressure = under(Duration::from_micros(3_400));
        tick(&pressure, TARGET * 200, 64);
        assert!(!pressure.is_shedding(), "one tick says little");
        tick(&pressure, TARGET * 200, 64);
        assert!(pressure.is_shedding());
        // A quarter waits for its turn, the rest for refusals.
        tick_with(&pressure, TARGET, AT_WORK, 43.0);
        assert!(!pressure.is_shedding());
    }
}
