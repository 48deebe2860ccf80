//! How many requests per second each key may make.
//!
//! One bucket (GCRA) for each key that was used lately. A bucket that is full again says nothing that a new one would
//! not, so those are dropped; memory is bounded by [`BUCKETS_MAX`].

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::HeaderValue;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::{now, pacer::Pacer};
use crate::{config::RateLimit, values};

/// Most keys that are remembered. Beyond it those that were used longest ago are forgotten.
const BUCKETS_MAX: usize = 100_000;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The buckets of all keys.
#[derive(Default)]
pub(super) struct Buckets {
    by_actor: RwLock<HashMap<String, Arc<Bucket>>>,
}

impl Buckets {
    /// The bucket of a caller; `granted` says what it may do, if that is not known for this `version` of all grants.
    pub(super) fn find(
        &self,
        actor: &str,
        version: u64,
        granted: impl FnOnce() -> RateLimit,
    ) -> Arc<Bucket> {
        let known =
            self.by_actor.read().unwrap_or_else(PoisonError::into_inner).get(actor).cloned();
        if let Some(bucket) = &known
            && bucket.version.load(Ordering::Relaxed) == version
        {
            return Arc::clone(bucket);
        }
        let limit = granted();
        if let Some(bucket) = known
            && bucket.limit == limit
        {
            bucket.version.store(version, Ordering::Relaxed);
            return bucket;
        }
        let bucket = Arc::new(Bucket::new(limit, version));
        let mut buckets = self.by_actor.write().unwrap_or_else(PoisonError::into_inner);
        buckets.insert(actor.to_owned(), Arc::clone(&bucket));
        bucket
    }

    /// Forgets the keys that were not used lately.
    pub(super) fn forget_idle(&self) {
        let mut buckets = self.by_actor.write().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        buckets.retain(|_, bucket| bucket.is_used(now));
        if buckets.len() > BUCKETS_MAX {
            let mut used: Vec<u64> =
                buckets.values().map(|bucket| bucket.used_at.load(Ordering::Relaxed)).collect();
            used.sort_unstable();
            let oldest = used[used.len() - BUCKETS_MAX];
            buckets.retain(|_, bucket| bucket.used_at.load(Ordering::Relaxed) >= oldest);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_actor.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What a key has left.
pub(super) struct Bucket {
    limit: RateLimit,
    limiter: Limiter,
    clock: DefaultClock,
    refusals: Pacer,
    policy: HeaderValue,
    version: AtomicU64,
    used_at: AtomicU64,
}

/// What became of asking a bucket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many are left.
    Allowed(u32),
    /// Not now.
    Refused {
        /// When there will be enough.
        retry_after: Duration,
    },
    /// More than the bucket ever holds.
    Never,
}

impl Bucket {
    fn new(limit: RateLimit, version: u64) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limit.requests_per_second))
            .allow_burst(at_least_one(limit.burst));
        let policy = format!("\"key\";q={};w={}", limit.burst, seconds_to_fill(limit, limit.burst));
        Self {
            limit,
            limiter: RateLimiter::direct(quota).with_middleware(),
            clock: DefaultClock::default(),
            refusals: Pacer::new(),
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("")),
            version: AtomicU64::new(version),
            used_at: AtomicU64::new(now()),
        }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes so many requests out.
    pub(super) fn take(&self, requests: NonZeroU32) -> Taken {
        self.used_at.store(now(), Ordering::Relaxed);
        match self.limiter.check_n(requests) {
            Ok(Ok(state)) => Taken::Allowed(state.remaining_burst_capacity()),
            Ok(Err(not_until)) => {
                Taken::Refused { retry_after: not_until.wait_time_from(self.clock.now()) }
            }
            Err(_) => Taken::Never,
        }
    }

    /// How long to hold a refusal of the key back. The first of many are told at once; a client that goes on
    /// asking without a pause, on any number of connections, waits in a line of its own: refusing costs about what
    /// answering does, and it is others who would pay for it.
    pub(super) fn refusal_delay(&self) -> Duration {
        self.refusals.delay()
    }

    /// How much may be asked in which time, as `RateLimit-Policy`.
    pub(super) fn policy(&self) -> HeaderValue {
        self.policy.clone()
    }

    /// What is left and when all of it is there again, as `RateLimit`.
    pub(super) fn tell(&self, left: u32) -> HeaderValue {
        let missing = self.limit.burst.saturating_sub(left);
        let seconds = seconds_to_fill(self.limit, missing);
        let told = values::short(format_args!("\"key\";r={left};t={seconds}"));
        told.unwrap_or(HeaderValue::from_static(""))
    }

    fn is_used(&self, now: u64) -> bool {
        let idle = now.saturating_sub(self.used_at.load(Ordering::Relaxed)) / 1_000_000_000;
        idle <= u64::from(seconds_to_fill(self.limit, self.limit.burst))
    }
}

fn seconds_to_fill(limit: RateLimit, requests: u32) -> u32 {
    requests.div_ceil(limit.requests_per_second.max(1)).max(u32::from(requests > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn limit(requests_per_second: u32, burst: u32) -> RateLimit {
        RateLimit { requests_per_second, burst }
    }

    #[test]
    fn a_key_that_goes_on_asking_hears_of_its_refusals_ever_later() {
        let bucket = Bucket::new(limit(1, 1), 0);
        let delays: Vec<Duration> = (0..1_000).map(|_| bucket.refusal_delay()).collect();
        assert!(delays[..50].iter().all(Duration::is_zero), "the first ones at once");
        assert!(delays[200] > Duration::from_millis(500), "{:?}", delays[200]);
        let other = Bucket::new(limit(1, 1), 0);
        assert_eq!(other.refusal_delay(), Duration::ZERO, "another key has a line of its own");
    }

    #[test]
    fn a_key_may_use_its_burst_and_then_its_rate() {
        let bucket = Bucket::new(limit(2, 5), 0);
        assert_eq!(bucket.policy(), "\"key\";q=5;w=3");
        assert_eq!(bucket.take(ONE), Taken::Allowed(4));
        assert_eq!(bucket.take(NonZeroU32::new(4).expect("four")), Taken::Allowed(0));
        let Taken::Refused { retry_after } = bucket.take(ONE) else { panic!("the burst is used") };
        assert!(retry_after <= Duration::from_millis(500), "{retry_after:?}");
        assert_eq!(bucket.take(NonZeroU32::new(6).expect("six")), Taken::Never);
        assert_eq!(bucket.tell(0), "\"key\";r=0;t=3");
        assert_eq!(bucket.tell(5), "\"key\";r=5;t=0");
    }

    #[test]
    fn a_changed_grant_takes_effect_and_an_unchanged_one_keeps_what_was_used() {
        let buckets = Buckets::default();
        let take = |version, granted| buckets.find("key:a", version, || granted).take(ONE);
        assert_eq!(take(1, limit(1, 2)), Taken::Allowed(1));
        assert_eq!(take(1, limit(9, 9)), Taken::Allowed(0), "asked for only once per version");
        assert!(matches!(take(2, limit(1, 2)), Taken::Refused { .. }));
        assert_eq!(take(3, limit(1, 10)), Taken::Allowed(9));
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn keys_that_are_idle_for_as_long_as_they_need_to_fill_are_forgotten() {
        let buckets = Buckets::default();
        buckets.find("key:a", 1, || limit(1, 2)).take(ONE);
        buckets.forget_idle();
        assert_eq!(buckets.len(), 1);
        buckets.find("key:a", 1, || limit(1, 2)).used_at.store(0, Ordering::Relaxed);
        let bucket = buckets.find("key:a", 1, || limit(1, 2));
        assert!(!bucket.is_used(4_000_000_000) && bucket.is_used(2_000_000_000));
    }
}
