//! What an operator can set.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use cameo_webhook::Reach;

use axum::body::Bytes;
use cameo_access::OidcConfig;
use cameo_isolation::Isolation;
use cameo_package::SigningKey;
use cameo_serving::SnapshotSettings;
use cameo_store::limits::TenantRequestLimits;

/// How many requests per second, and how many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run.
    pub requests_per_second: u32,
    /// After a pause.
    pub burst: u32,
}

impl RateLimit {
    /// The same, but at most so many per second; a second's worth of them, or two, may come at once.
    #[must_use]
    pub(crate) fn at_most(self, requests_per_second: u32) -> Self {
        if requests_per_second >= self.requests_per_second {
            return self;
        }
        Self { requests_per_second, burst: self.burst.min(requests_per_second.saturating_mul(2)) }
    }
}

/// What a tenant may ask of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits {
    /// Of each of its keys.
    pub rate: RateLimit,
    /// Its requests in flight.
    pub requests_in_flight_max: usize,
}

impl TenantLimits {
    /// What a tenant may ask to whom something else may be granted.
    pub(crate) fn with(self, granted: &TenantRequestLimits) -> Self {
        let limits = granted.limits;
        let requests_per_second =
            limits.requests_per_second.unwrap_or(self.rate.requests_per_second);
        let burst = match (limits.burst, limits.requests_per_second) {
            (Some(burst), _) => burst,
            (None, Some(rate)) => rate.saturating_mul(2),
            (None, None) => self.rate.burst,
        };
        let concurrent = limits.concurrent_requests.and_then(|limit| usize::try_from(limit).ok());
        Self {
            rate: RateLimit { requests_per_second, burst },
            requests_in_flight_max: concurrent.unwrap_or(self.requests_in_flight_max),
        }
    }
}

/// The API's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Serve probes and metrics alone, beside a role that is not the API.
    pub operations_only: bool,
    /// Whose tokens are let in beside API keys.
    pub oidc: Option<OidcConfig>,
    /// Longest time from a request's head to its answer.
    pub request_timeout: Duration,
    /// Longest time in which a client must send a whole head; also how long a connection may idle.
    pub header_timeout: Duration,
    /// Most requests in flight; more are refused at once rather than queued before the database.
    pub requests_in_flight_max: usize,
    /// Most batch look-ups at once, because each may hold a body and an answer of megabytes.
    pub batches_in_flight_max: usize,
    /// Longest time for a bundle to be planned or applied: it may be run on a sample of customers.
    pub deployment_timeout: Duration,
    /// Most bundles that are planned or applied at once, because each may hold a model in memory.
    pub deployments_in_flight_max: usize,
    /// Where the models of bundles work that are planned or applied.
    pub isolation: Isolation,
    /// What tenants may ask that are granted nothing else.
    pub tenant_limits: TenantLimits,
    /// A wait of connections for their turn that is never too long. On a slow machine it may be longer before
    /// requests are refused.
    pub queue_target: Duration,
    /// Most bodies that are being received.
    pub bodies_in_flight_max: usize,
    /// Most bytes of them in memory.
    pub body_bytes_max: usize,
    /// Longest time for a body to arrive, unless a bundle is in it.
    pub body_timeout: Duration,
    /// Longest time in which a client takes nothing, or next to nothing, of its answer.
    pub write_timeout: Duration,
    /// Most open connections from one address; none: as many as there may be.
    pub connections_per_address_max: Option<usize>,
    /// Where snapshots are kept; without it every look-up goes to Postgres.
    pub snapshots: Option<SnapshotSettings>,
    /// What `/v1/tenants/{tenant}/services/{service}/constant/{key}` answers, behind everything that surrounds a
    /// look-up: what look-ups are measured against. Not part of the API, and absent unless set.
    pub constant_answer: Option<Bytes>,
    /// Most exports of segments at once; more are refused.
    pub exports_in_flight_max: usize,
    /// Most of them for one tenant.
    pub exports_per_tenant_max: usize,
    /// Longest time in which a client must take a piece of an export, of some hundred kilobytes.
    pub export_stall: Duration,
    /// Folder for files that go as soon as they have been used.
    pub scratch: PathBuf,
    /// Which addresses webhooks may have.
    pub webhook_reach: Reach,
    /// What signs receipts of erasures; without it there are none.
    pub receipt_key: Option<Arc<SigningKey>>,
    /// Most open connections; more wait in the system's queue.
    pub connections_max: usize,
    /// How long to go on after `/readyz` began to fail, so that load balancers notice.
    pub drain_notice: Duration,
    /// How long requests in flight may take after that.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operations_only: false,
            oidc: None,
            request_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(15),
            requests_in_flight_max: 256,
            batches_in_flight_max: 16,
            deployment_timeout: Duration::from_mins(15),
            deployments_in_flight_max: 2,
            isolation: Isolation::None,
            tenant_limits: TenantLimits {
                rate: RateLimit { requests_per_second: 10_000, burst: 20_000 },
                requests_in_flight_max: 256,
            },
            queue_target: Duration::from_micros(300),
            bodies_in_flight_max: 4_096,
            body_bytes_max: 256 << 20,
            body_timeout: Duration::from_secs(8),
            write_timeout: Duration::from_secs(15),
            connections_per_address_max: None,
            snapshots: None,
            constant_answer: None,
            exports_in_flight_max: 8,
            exports_per_tenant_max: 3,
            export_stall: Duration::from_mins(1),
            scratch: std::env::temp_dir(),
            webhook_reach: Reach::Public,
            receipt_key: None,
            connections_max: 10_000,
            drain_notice: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
