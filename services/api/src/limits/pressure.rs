//! Whether requests wait too long before anything looks at them, and how many are refused then.
//!
//! The target is a time in the queue, as in CoDel, rather than a number of requests: it needs no knowledge of
//! how many requests the machine can do. One request that waited long says little (the system took the thread
//! away for a moment); shedding begins when over a tick the *mean* wait is above the target and, by Little's law, the queue
//! is long enough to be ours. Then a request that waited `w` is served with probability `target / w`: the
//! population of connections that ask is thinned out until the wait is the target, and no further, so
//! that the server stays as busy as it can be.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// How often it is decided whether to shed.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Mean number of waiting connections per core from which on a queue is long.
const QUEUE_PER_CORE: f64 = 2.0;
/// Shedding ends when the mean wait is below this share of the target.
const CALM: f64 = 0.25;
/// Odd, and its bits as random as the golden ratio's: its multiples fill the range evenly.
const STEP: u32 = 0x9E37_79B9;

/// See the module.
pub(super) struct Pressure {
    target: Duration,
    cores: f64,
    shedding: AtomicBool,
    requests: AtomicU32,
    waited_nanos: AtomicU64,
    draws: AtomicU32,
}

impl Pressure {
    pub(super) fn new(target: Duration) -> Self {
        Self {
            target,
            cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            shedding: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            waited_nanos: AtomicU64::new(0),
            draws: AtomicU32::new(0),
        }
    }

    /// Notes how long a request waited.
    pub(super) fn note(&self, waited: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.waited_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Whether to refuse a request that waited so long, of a tenant with this weight: above 1 it asks for less than
    /// its share, below 1 for more.
    pub(super) fn refuses(&self, waited: Duration, weight: f32) -> bool {
        if waited <= self.target || !self.is_shedding() {
            return false;
        }
        let admitted = self.target.as_secs_f64() / waited.as_secs_f64() * f64::from(weight);
        let draw = self.draws.fetch_add(STEP, Ordering::Relaxed);
        f64::from(draw) / f64::from(u32::MAX) >= admitted
    }

    /// Whether more is asked than can be served.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Relaxed)
    }

    /// Decides what holds until the next tick.
    pub(super) fn tick(&self, elapsed: Duration) {
        let requests = self.requests.swap(0, Ordering::Relaxed);
        let waited = self.waited_nanos.swap(0, Ordering::Relaxed) as f64 / 1e9;
        let mean = waited / f64::from(requests.max(1));
        let queued = waited / elapsed.as_secs_f64();
        let target = self.target.as_secs_f64();
        if mean > target && queued > QUEUE_PER_CORE * self.cores {
            self.shedding.store(true, Ordering::Relaxed);
        } else if mean < target * CALM || queued < QUEUE_PER_CORE * self.cores * CALM {
            self.shedding.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(1);

    fn under(wait: Duration, requests: u32) -> Pressure {
        let pressure = Pressure { cores: 2.0, ..Pressure::new(TARGET) };
        for _ in 0..requests {
            pressure.note(wait);
            assert!(!pressure.refuses(wait, 1.0), "nothing is refused before it is known");
        }
        pressure.tick(TICK);
        pressure
    }

    #[test]
    fn a_long_queue_is_shed_in_proportion_and_tenants_by_their_share() {
        let pressure = under(TARGET * 4, 1_000);
        let served = |weight| (0..1_000).filter(|_| !pressure.refuses(TARGET * 4, weight)).count();
        assert!((245..=255).contains(&served(1.0)), "a quarter");
        assert!((120..=130).contains(&served(0.5)), "less of whoever asks for more than a share");
        assert_eq!(served(8.0), 1_000, "whoever asks for little is served");
        assert!(!pressure.refuses(TARGET, 0.1), "who did not wait is served");
    }

    #[test]
    fn a_moment_without_the_processor_is_no_overload() {
        // Few requests, each long delayed: the queue is the system's, not ours.
        assert!(!under(TARGET * 10, 3).is_shedding());
        // Many requests, a handful long delayed.
        let pressure = under(Duration::from_micros(50), 1_000);
        for _ in 0..5 {
            pressure.note(TARGET * 20);
        }
        for _ in 0..1_000 {
            pressure.note(Duration::from_micros(50));
        }
        pressure.tick(TICK);
        assert!(!pressure.is_shedding());
    }

    #[test]
    fn shedding_ends_with_the_queue() {
        let pressure = under(TARGET * 4, 1_000);
        pressure.tick(TICK);
        assert!(!pressure.is_shedding());
    }
}
