//! Where things are: the data directory of `cameo up`, or what the environment names.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use cameo_bundle::artifact::ArtifactStore;
use cameo_domain::ServicePath;
use cameo_isolation::{Isolation, Program};
use cameo_openlineage::Receiver;
use cameo_package::{SigningKey, TrustedKeys};
use cameo_sealing::TenantKeys;
use cameo_store::{
    By, ConnectOptions, Store, schema,
    services::{self, ServiceRecord},
};
use cameo_warehouse::{Lake, LakeLimits, Warehouse};
use serde::{Deserialize, Serialize};

use crate::{
    cli::Global,
    commands::{master_key, package},
};

/// How other commands find a running `cameo up`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Server {
    /// Its private Postgres.
    pub(crate) database_url: String,
    /// Its REST API.
    pub(crate) api: SocketAddr,
    /// Its process.
    pub(crate) process_id: u32,
}

/// Where a running `cameo up` says how to reach it.
const SERVER_FILE: &str = "server.json";
/// The data directory's own secret key for receipts; the public one is `receipt.pub` beside it.
const RECEIPT_KEY_FILE: &str = "receipt.key";

impl Server {
    fn of(data: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data.join(SERVER_FILE)).ok()?).ok()
    }
}

/// The files of one installation.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    data: PathBuf,
    lake: PathBuf,
    artifacts: String,
    master_key: Option<PathBuf>,
}

impl Places {
    /// Makes the data directory where it is missing.
    pub(crate) fn prepare(global: &Global) -> anyhow::Result<Self> {
        let folder = &global.data_dir;
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make the data directory {}", folder.display()))?;
        let data = folder.canonicalize()?;
        let lake = global.lake.clone().unwrap_or_else(|| data.join("lake"));
        fs::create_dir_all(&lake)
            .with_context(|| format!("could not make the Lake's folder {}", lake.display()))?;
        let artifacts = if let Some(place) = &global.artifacts {
            place.clone()
        } else {
            let folder = data.join("artifacts");
            fs::create_dir_all(&folder)?;
            folder.display().to_string()
        };
        // An empty variable is how many set-ups say that there is none.
        let master_key = global.master_key_file.clone().filter(|file| !file.as_os_str().is_empty());
        Ok(Self { data, lake, artifacts, master_key })
    }

    /// Makes the data directory's own key for receipts, where there is none.
    pub(crate) fn ensure_receipt_key(&self) -> anyhow::Result<()> {
        let own = self.data.join(RECEIPT_KEY_FILE);
        if !own.exists() {
            package::write_pair(&own)?;
        }
        Ok(())
    }

    /// The key that signs receipts: the one that is named, else the data directory's own, where it has one.
    pub(crate) fn receipt_key(&self, named: Option<&Path>) -> anyhow::Result<Option<SigningKey>> {
        let own = self.data.join(RECEIPT_KEY_FILE);
        match named {
            Some(named) => package::read_key(named).map(Some),
            None if own.exists() => package::read_key(&own).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn lake(&self) -> &Path {
        &self.lake
    }

    /// For files that go as soon as they have been used.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.data.join("scratch")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.data.join("postgres")
    }

    fn server_file(&self) -> PathBuf {
        self.data.join(SERVER_FILE)
    }

    pub(crate) fn announce(&self, server: &Server) -> anyhow::Result<()> {
        fs::write(self.server_file(), serde_json::to_vec_pretty(server)?)
            .context("could not write server.json into the data directory")
    }

    pub(crate) fn withdraw(&self) {
        // Left behind after a kill it does no harm: connecting by it fails with a clear message.
        let _ = fs::remove_file(self.server_file());
    }
}

/// Everything that commands and roles work with.
#[derive(Clone)]
pub(crate) struct Deployment {
    pub(crate) places: Places,
    pub(crate) store: Store,
    pub(crate) warehouse: Arc<dyn Warehouse>,
    pub(crate) artifacts: Arc<ArtifactStore>,
    /// Whom workers tell what each run reads and writes.
    pub(crate) openlineage: Option<Receiver>,
    /// Who may sign the bundles that are sent to the API; without any, they need no signature.
    pub(crate) trusted_keys: Option<TrustedKeys>,
    /// The API's settings.
    pub(crate) api: cameo_api::Config,
    /// The workers' settings.
    pub(crate) worker: cameo_worker::Config,
    /// Cores that runs and mirrors leave to requests.
    pub(crate) cores_for_requests: usize,
    /// Where the API is for those who are told by webhooks.
    pub(crate) public_url: Option<String>,
    /// What sensitive predictions are sealed with.
    pub(crate) tenant_keys: Arc<TenantKeys>,
    /// Where the models of bundles work.
    pub(crate) isolation: Isolation,
}

impl Deployment {
    /// Finds the server, whose schema this version works on. Nothing is migrated: that is for the operator to
    /// say, by `cameo migrate` or by starting a server of this version.
    pub(crate) async fn find(global: &Global) -> anyhow::Result<Self> {
        let deployment = Self::reach(global).await?;
        schema::check(&deployment.store).await?;
        Ok(deployment)
    }

    /// Finds the server, whatever schema it has: by its URL, or by the data directory of a running `cameo up`.
    pub(crate) async fn reach(global: &Global) -> anyhow::Result<Self> {
        // Looked for before anything is made, so that a mistyped folder stays away.
        let url = match (&global.database_url, Server::of(&global.data_dir)) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => server.database_url,
            (None, None) => bail!(
                "no server runs in {}; start one with `cameo up`, name its folder with --data-dir, \
                 or name a Postgres server with CAMEO_DATABASE_URL",
                global.data_dir.display()
            ),
        };
        let places = Places::prepare(global)?;
        Self::open(places, &url).await.with_context(|| {
            "could not reach the server; is `cameo up` still running, or CAMEO_DATABASE_URL right?"
        })
    }

    /// What bundles are compared with.
    pub(crate) fn server(&self) -> cameo_registry::plan::Server<'_> {
        cameo_registry::plan::Server {
            store: &self.store,
            artifacts: &self.artifacts,
            warehouse: &self.warehouse,
            seals: self.tenant_keys.master().is_ok(),
            isolation: &self.isolation,
        }
    }

    /// The service at `path`, or an error that says how to register it.
    pub(crate) async fn service(&self, path: &ServicePath) -> anyhow::Result<ServiceRecord> {
        services::find(&self.store, &path.tenant, &path.service)
            .await?
            .ok_or_else(|| unknown_service(path))
    }

    /// Opens the installation at `places` with the database at `url`.
    pub(crate) async fn open(places: Places, url: &str) -> anyhow::Result<Self> {
        let options = ConnectOptions::from_url(url)
            .context("expected a URL such as postgresql://user@host/database")?;
        let store = Store::connect(&options).await?.acting(By::new(actor(), "cli"));
        let warehouse = open_lake(places.lake(), &places.scratch())?;
        let artifacts = Arc::new(ArtifactStore::open(&places.artifacts)?);
        let master = places.master_key.as_deref().map(master_key::read).transpose()?;
        let tenant_keys = Arc::new(TenantKeys::new(store.clone(), master));
        Ok(Self {
            places,
            store,
            warehouse,
            artifacts,
            openlineage: None,
            trusted_keys: None,
            api: cameo_api::Config::default(),
            worker: cameo_worker::Config::default(),
            cores_for_requests: 0,
            public_url: None,
            tenant_keys,
            isolation: Isolation::Process(Program::this()),
        })
    }
}

/// What to say about a service that the server does not have.
pub(crate) fn unknown_service(path: &ServicePath) -> anyhow::Error {
    anyhow!("no service {path} is applied here; `cameo apply tenants/{path}` registers its bundle")
}

/// The embedded warehouse on its own, for commands that need no server.
pub(crate) fn open_lake(folder: &Path, scratch: &Path) -> anyhow::Result<Arc<dyn Warehouse>> {
    let lake = Lake::open(folder, LakeLimits::with_scratch(scratch))
        .with_context(|| format!("could not open the Lake in {}", folder.display()))?;
    Ok(Arc::new(lake))
}

/// Who runs this command, for the ledger.
pub(crate) fn actor() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    let name = user.ok().flatten().map_or_else(|| "unknown".to_owned(), |user| user.name);
    format!("cli:{name}")
}
