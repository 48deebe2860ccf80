//! Servers: started here, or asked elsewhere.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use cameo_api::SnapshotSettings;
use cameo_domain::Scope;
use cameo_openlineage::{Receiver, ReceiverError};
use cameo_package::TrustedKeys;
use cameo_webhook::Reach;
use clap::Args;

use super::{ReceiptKey, Role, oidc::Oidc, workers::Workers};
use crate::{deployment::Deployment, remote::Server, source::trusted_keys};

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Address of the REST API.
    #[arg(long, env = "CAMEO_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) roles: RoleOptions,
    /// Bundles to apply at the start.
    #[arg(long)]
    pub(crate) tenants: Option<PathBuf>,
    /// Seed the Lake with the demo's data, apply `tenants/`, run both services and print how to
    /// call them.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Customers that the demo generates.
    #[arg(long, default_value_t = 100_000, requires = "demo")]
    pub(crate) customers: u64,
}

/// How roles behave, wherever they run.
#[derive(Debug, Args)]
pub(crate) struct RoleOptions {
    #[command(flatten)]
    openlineage: OpenLineage,
    #[command(flatten)]
    signers: Signers,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    workers: Workers,
    #[command(flatten)]
    snapshots: Snapshots,
    #[command(flatten)]
    webhooks: Webhooks,
    #[command(flatten)]
    pub(crate) receipts: ReceiptKey,
    #[command(flatten)]
    oidc: Oidc,
}

impl RoleOptions {
    /// What is wrong with an option is said before anything is started.
    pub(crate) fn read(&self) -> anyhow::Result<RoleSettings> {
        Ok(RoleSettings {
            openlineage: self.openlineage.receiver()?,
            trusted_keys: trusted_keys(&self.signers.trusted_keys)?,
            public_url: self.webhooks.public_url(),
            worker: self.workers.config(),
            cores_for_requests: self.workers.cores_for_requests,
            api: cameo_api::Config {
                oidc: self.oidc.config()?,
                webhook_reach: self.webhooks.reach(),
                ..self.limits.config()
            },
            snapshots: self.snapshots.clone(),
            receipts: self.receipts.clone(),
        })
    }
}

/// How roles behave.
pub(crate) struct RoleSettings {
    openlineage: Option<Receiver>,
    trusted_keys: Option<TrustedKeys>,
    public_url: Option<String>,
    worker: cameo_worker::Config,
    cores_for_requests: usize,
    api: cameo_api::Config,
    snapshots: Snapshots,
    receipts: ReceiptKey,
}

impl RoleSettings {
    /// The deployment on which roles behave so.
    pub(crate) fn on(self, found: Deployment) -> anyhow::Result<Deployment> {
        let Self {
            openlineage,
            trusted_keys,
            public_url,
            worker,
            cores_for_requests,
            api,
            snapshots,
            receipts,
        } = self;
        let snapshots = snapshots.settings(found.places.data());
        let receipt_key = found.places.receipt_key(receipts.named())?.map(Arc::new);
        let api = cameo_api::Config { snapshots, receipt_key, ..api };
        Ok(Deployment {
            openlineage,
            trusted_keys,
            api,
            worker,
            cores_for_requests,
            public_url,
            ..found
        })
    }
}

/// Who may send bundles to the API.
#[derive(Debug, Args)]
pub(crate) struct Signers {
    /// A file of public keys, one of which has to have signed each bundle that is sent to the API.
    #[arg(
        long = "trusted-key",
        value_name = "FILE",
        env = "CAMEO_TRUSTED_KEYS",
        value_delimiter = ','
    )]
    pub(crate) trusted_keys: Vec<PathBuf>,
}

/// What callers may ask of the API.
#[derive(Debug, Clone, Args)]
pub(crate) struct Limits {
    /// Requests per second of each API key, where its tenant's tenant.yaml says nothing else.
    #[arg(
        long,
        env = "CAMEO_REQUESTS_PER_SECOND",
        default_value_t = 10_000,
        value_name = "N",
        hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    requests_per_second: u32,
    /// How many of them at once; twice as many as per second unless given.
    #[arg(
        long,
        env = "CAMEO_REQUEST_BURST",
        value_name = "N",
        hide_short_help = true,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    request_burst: Option<u32>,
    /// Requests in flight of each tenant, where its tenant.yaml says nothing else.
    #[arg(
        long,
        env = "CAMEO_CONCURRENT_REQUESTS",
        default_value_t = 256,
        value_name = "N",
        hide_short_help = true
    )]
    concurrent_requests: usize,
    /// Open connections from one address; without it, any number. Behind a proxy all come from one.
    #[arg(long, env = "CAMEO_CONNECTIONS_PER_ADDRESS", value_name = "N", hide_short_help = true)]
    connections_per_address: Option<usize>,
}

impl Limits {
    /// The API's settings with these limits.
    pub(crate) fn config(&self) -> cameo_api::Config {
        let requests_per_second = self.requests_per_second;
        let burst = self.request_burst.unwrap_or(requests_per_second.saturating_mul(2));
        cameo_api::Config {
            tenant_limits: cameo_api::TenantLimits {
                rate: cameo_api::RateLimit { requests_per_second, burst },
                requests_in_flight_max: self.concurrent_requests,
            },
            connections_per_address_max: self.connections_per_address,
            ..cameo_api::Config::default()
        }
    }
}

/// Where the API keeps generations as files that it maps into memory.
#[derive(Debug, Clone, Args)]
pub(crate) struct Snapshots {
    /// Folder into which the API copies the predictions that it serves, to answer from them instead of from
    /// Postgres; unless named they are in the data directory, or are used where the artifacts are.
    #[arg(long = "snapshots", id = "snapshots", value_name = "DIR", env = "CAMEO_SNAPSHOTS")]
    folder: Option<PathBuf>,
    /// Most bytes of these files; 0 lets Postgres answer everything.
    #[arg(
        long = "snapshots-max-bytes",
        id = "snapshots_max_bytes",
        value_name = "BYTES",
        env = "CAMEO_SNAPSHOTS_MAX_BYTES",
        default_value_t = 8 << 30
    )]
    bytes_max: u64,
}

impl Snapshots {
    /// What the API is told; none where there is to be no file.
    pub(crate) fn settings(&self, data: &Path) -> Option<SnapshotSettings> {
        (self.bytes_max > 0).then(|| SnapshotSettings {
            folder: self.folder.clone().unwrap_or_else(|| data.join("snapshots")),
            // A folder that somebody names is one to copy to.
            in_place: self.folder.is_none(),
            bytes_max: self.bytes_max,
        })
    }
}

/// Where webhooks may lead, and what they lead back to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Webhooks {
    /// Let webhooks have private addresses and plain HTTP: for trials on one machine, or where every tenant is
    /// trusted with the network that this runs in.
    #[arg(long = "webhooks-private", id = "webhooks_private", env = "CAMEO_WEBHOOKS_PRIVATE")]
    private: bool,
    /// Where the API is for those who are told by webhooks, such as https://cameo.example.
    #[arg(long = "public-url", id = "public_url", env = "CAMEO_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
}

impl Webhooks {
    /// Which addresses they may have.
    pub(crate) fn reach(&self) -> Reach {
        if self.private { Reach::Anywhere } else { Reach::Public }
    }

    /// Where the API is, as far as that is said.
    pub(crate) fn public_url(&self) -> Option<String> {
        self.public_url.clone().filter(|url| !url.is_empty())
    }
}

/// Whom workers tell what each run reads and writes.
#[derive(Debug, Clone, Args)]
pub(crate) struct OpenLineage {
    /// Where workers post OpenLineage events, such as http://localhost:5000/api/v1/lineage.
    #[arg(
        long = "openlineage-url",
        id = "openlineage_url",
        env = "CAMEO_OPENLINEAGE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    url: Option<String>,
    /// Bearer token for it.
    #[arg(
        long = "openlineage-api-key",
        id = "openlineage_api_key",
        env = "CAMEO_OPENLINEAGE_API_KEY",
        hide_env_values = true,
        value_name = "TOKEN",
        hide = true
    )]
    api_key: Option<String>,
    /// The namespace of the jobs in these events.
    #[arg(
        long = "openlineage-namespace",
        id = "openlineage_namespace",
        env = "CAMEO_OPENLINEAGE_NAMESPACE",
        default_value = "cameo",
        hide = true
    )]
    namespace: String,
}

impl OpenLineage {
    /// The receiver, where one is named.
    pub(crate) fn receiver(&self) -> Result<Option<Receiver>, ReceiverError> {
        let receiver = |url: &String| Receiver::new(url, self.api_key.clone(), &self.namespace);
        // An empty variable is how many set-ups say that there is none.
        self.url.as_ref().filter(|url| !url.is_empty()).map(receiver).transpose()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Roles to run in this process.
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    pub(crate) role: Vec<Role>,
    #[command(flatten)]
    pub(crate) roles: RoleOptions,
    /// Address of the REST API, or of `/metrics` and the probes where the role `api` is not chosen.
    #[arg(long, env = "CAMEO_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
}

/// A server that is reached by its API instead of its database.
#[derive(Debug, Args)]
pub(crate) struct Elsewhere {
    /// Address of a server's API, such as https://cameo.example: the bundles are sent there. Needs an API
    /// key with the scope `deploy` in CAMEO_API_KEY.
    #[arg(long, env = "CAMEO_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The API key; the environment hides it from the list of processes.
    #[arg(long, env = "CAMEO_API_KEY", hide_env_values = true, hide = true)]
    api_key: Option<String>,
}

impl Elsewhere {
    /// The server, where one is named.
    pub(crate) fn server(&self) -> anyhow::Result<Option<Server>> {
        let named = self.server.as_deref().filter(|url| !url.is_empty());
        named.map(|url| Server::new(url, self.api_key.as_deref(), Scope::Deploy)).transpose()
    }
}
