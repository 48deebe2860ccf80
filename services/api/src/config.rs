//! What an operator can set.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use cameo_webhook::Reach;

use cameo_access::OidcConfig;

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
            exports_in_flight_max: 8,
            exports_per_tenant_max: 3,
            export_stall: Duration::from_mins(1),
            scratch: std::env::temp_dir(),
            webhook_reach: Reach::Public,
            connections_max: 10_000,
            drain_notice: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
