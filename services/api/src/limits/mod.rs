//! What a caller may use of the server, and what happens when there is not enough for everybody.
//!
//! After a request's caller is known it passes, in this order:
//!
//! 1. [`pressure`]: while requests wait too long before anything looks at them, some are refused, more of
//!    those tenants that ask for more than their share;
//! 2. [`rate`]: each key may make so many requests per second;
//! 3. [`tenants`]: each tenant may have so many requests in flight, and less while others need places.
//!
//! All of them answer without asking anything but memory. [`follow`] keeps what was granted as fresh as a few
//! seconds. Refusing must stay cheaper than serving, so refusals are [paced](pacer): above a rate they are
//! answered late, which keeps a client that ignores `Retry-After` from costing the others anything.

mod follow;
mod pacer;
mod places;
mod pressure;
pub(crate) mod queue;
mod rate;
mod tenants;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use cameo_access::Caller;
use cameo_store::Store;
use tokio_util::sync::CancellationToken;

use places::Places;
pub(crate) use places::{Held, Place};
use tenants::{Entered, Tenant};

use crate::{
    config::Config,
    metrics::{Metrics, Refusal},
    problem::{Code, Problem},
};

/// What is granted per time, after draft-ietf-httpapi-ratelimit-headers-11.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of it.
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// How many keys of a batch look-up count as one request.
pub(crate) const KEYS_PER_REQUEST: usize = 50;

/// Everything that limits; one per process.
pub(crate) struct Limits {
    pressure: pressure::Pressure,
    buckets: rate::Buckets,
    tenants: tenants::Tenants,
    pacer: pacer::Pacer,
    places: Places,
    metrics: Metrics,
}

impl Limits {
    pub(crate) fn new(config: &Config, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            pressure: pressure::Pressure::new(config.queue_target),
            buckets: rate::Buckets::default(),
            tenants: tenants::Tenants::new(config.tenant_limits),
            pacer: pacer::Pacer::new(),
            places: Places::new(
                config.requests_in_flight_max,
                config.bodies_in_flight_max,
                config.body_bytes_max,
            ),
            metrics: metrics.clone(),
        })
    }

    /// Follows what is granted, and the load, until `shutdown`.
    pub(crate) fn start(self: &Arc<Self>, store: Store, shutdown: CancellationToken) {
        tokio::spawn(follow::grants(Arc::clone(self), store, shutdown.clone()));
        tokio::spawn(follow::load(Arc::clone(self), shutdown));
    }

    /// Whether more is asked than can be served.
    pub(crate) fn is_shedding(&self) -> bool {
        self.pressure.is_shedding()
    }

    /// A place for a request that has just come, whoever it is from.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Place, Problem> {
        self.pressure.note(queue::waited());
        Place::take(self).ok_or_else(|| self.busy())
    }

    /// The refusal where all places are taken.
    pub(crate) fn busy(&self) -> Problem {
        let problem = Problem::new(
            Code::Overloaded,
            "the server has as many requests in flight as it can bear; try again later",
        );
        self.refuse(Refusal::InFlight, "", problem)
    }

    /// Waits until a refusal may be answered: as long as it is to be held back for its caller's own sake, and
    /// under overload until its turn among all has come. Nothing holds a place meanwhile.
    pub(crate) async fn pace(&self, paced: Paced) {
        let Paced { held } = paced;
        let delay = if self.is_shedding() { self.pacer.delay().max(held) } else { held };
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
    }

    /// A refusal, counted.
    pub(crate) fn refuse(&self, refusal: Refusal, tenant: &str, problem: Problem) -> Problem {
        self.metrics.refuse(refusal, tenant);
        problem
    }

    fn too_many_at_once(&self, tenant: &Tenant) -> Problem {
        let detail = format!(
            "{} has as many requests in flight as it may; wait for answers before asking for more",
            tenant.told()
        );
        self.refuse(Refusal::Concurrency, &tenant.name, Problem::new(Code::TooManyAtOnce, detail))
    }

    /// Charges a caller for what a request turned out to cost beside itself.
    pub(crate) fn charge(
        &self,
        caller: &Caller,
        tenant: &str,
        requests: u32,
    ) -> Result<(), Problem> {
        let Some(requests) = std::num::NonZeroU32::new(requests) else { return Ok(()) };
        let tenant = self.tenants.find(tenant);
        let bucket = self.bucket(caller, &tenant);
        match bucket.take(requests) {
            rate::Taken::Allowed(_) => Ok(()),
            rate::Taken::Refused { retry_after } => {
                Err(self.refuse(Refusal::Rate, &tenant.name, too_many(&bucket, retry_after)))
            }
            rate::Taken::Never => {
                let detail = format!(
                    "this costs as much as {requests} requests, and the key may make {} at once; ask for less at once",
                    bucket.limit().burst
                );
                Err(self.refuse(
                    Refusal::Rate,
                    &tenant.name,
                    Problem::new(Code::RateLimited, detail),
                ))
            }
        }
    }

    /// The bucket of a caller. Whoever may see several tenants is granted what the operators grant.
    fn bucket(&self, caller: &Caller, tenant: &Tenant) -> Arc<rate::Bucket> {
        let actor = caller.actor();
        self.buckets.find(actor, self.tenants.version(), || {
            let of = if caller.confined_to().is_some() { tenant } else { self.tenants.others() };
            self.tenants.rate(actor, of)
        })
    }
}

/// Marks the refusal of a request, which the envelope answers when its turn has come.
#[derive(Clone, Copy, Default)]
pub(crate) struct Paced {
    /// How long it is held back whatever the load is.
    held: Duration,
}

/// A request that was let through, until its answer.
pub(crate) struct Allowed {
    bucket: Arc<rate::Bucket>,
    left: u32,
    /// Its place among its tenant's; none where whoever reads its body leaves that meanwhile.
    _entered: Option<Entered>,
}

impl Allowed {
    /// Leaves the place and tells what the caller may do.
    pub(crate) fn leave(self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(RATELIMIT_POLICY, self.bucket.policy());
        headers.insert(RATELIMIT, self.bucket.tell(self.left));
    }
}

/// Lets an authenticated request through, or answers it; see the module.
pub(crate) fn enter(
    limits: &Limits,
    caller: &Caller,
    tenant: Option<&str>,
    request: &Request,
) -> Result<Allowed, Box<Response>> {
    let refusal = |problem, held| Err(Box::new(paced(problem, Paced { held })));
    let own = tenant.or_else(|| caller.confined_to().map(cameo_domain::TenantName::as_str));
    let tenant = limits.tenants.find(own.unwrap_or_default());
    tenant.note_attempt();
    if limits.pressure.refuses(queue::waited(), tenant.weight()) {
        let problem = Problem::new(
            Code::Overloaded,
            "the server has more to do than it can; try again later",
        );
        let problem = limits.refuse(Refusal::Queue, &tenant.name, problem);
        return refusal(problem, Duration::ZERO);
    }
    let bucket = limits.bucket(caller, &tenant);
    let left = match bucket.take(std::num::NonZeroU32::MIN) {
        rate::Taken::Allowed(left) => left,
        rate::Taken::Refused { retry_after } => {
            let problem = too_many(&bucket, retry_after);
            let problem = limits.refuse(Refusal::Rate, &tenant.name, problem);
            return refusal(problem, bucket.refusal_delay());
        }
        rate::Taken::Never => 0,
    };
    let Some(entered) = tenant.enter(&limits.places, limits.tenants.active()) else {
        return refusal(limits.too_many_at_once(&tenant), Duration::ZERO);
    };
    let entered = match request.extensions().get::<Arc<Place>>() {
        Some(place) => {
            place.belongs_to(entered);
            None
        }
        None => Some(entered),
    };
    Ok(Allowed { bucket, left, _entered: entered })
}

fn paced(problem: Problem, paced: Paced) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().insert(paced);
    response
}

fn too_many(bucket: &rate::Bucket, retry_after: Duration) -> Problem {
    let limit = bucket.limit();
    let seconds = retry_after.as_secs_f64().ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
    let retry_after = HeaderValue::from(seconds as u64);
    Problem::new(
        Code::RateLimited,
        format!(
            "this key may make {} requests per second, {} at once; wait as long as `Retry-After` says",
            limit.requests_per_second, limit.burst
        ),
    )
    .with_headers([
        (header::RETRY_AFTER, retry_after),
        (RATELIMIT_POLICY, bucket.policy()),
        (RATELIMIT, bucket.tell(0)),
    ])
}

/// Nanoseconds on a clock that showed [`FIRST_LOOK`] when the process first looked at it.
fn now() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from((FIRST_LOOK + START.elapsed()).as_nanos()).unwrap_or(u64::MAX)
}

/// Longer than anybody looks back: what came before the process counts as long ago.
const FIRST_LOOK: Duration = Duration::from_hours(1);
