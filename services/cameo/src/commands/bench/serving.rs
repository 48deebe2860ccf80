//! A service with published predictions behind the API, for measurements of the API.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, bail};
use cameo_api::SnapshotSettings;
use cameo_domain::{RunState, Scope, Scopes, ServicePath};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    http::Connection,
    load::{Load, Requests},
    setting::Setting,
};
use crate::{
    cli::Role,
    commands::{apply, demo_data, keys, run},
    output::Output,
    roles::Roles,
};

/// How long a snapshot may take to be made, fetched and mapped.
const SNAPSHOT_MAX: Duration = Duration::from_mins(2);
const MAPPED: &str = "cameo_api_services_with_snapshot";

/// Waits until the server has mapped the snapshot of the one service that it serves.
pub(super) async fn mapped(address: SocketAddr) -> anyhow::Result<()> {
    let looking = async {
        loop {
            let mut connection = Connection::open(address).await?;
            connection.ask(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
            let mapped = connection.body().lines().any(|line| line == format!("{MAPPED} 1"));
            if mapped {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SNAPSHOT_MAX, looking).await.context("no snapshot was mapped")?
}

/// The running API.
pub(super) struct Serving {
    setting: Setting,
    roles: Roles,
    shutdown: CancellationToken,
    rows: u64,
    path: ServicePath,
    /// A key that may read.
    key: String,
    pub(super) address: SocketAddr,
}

impl Serving {
    /// Runs a bundle over `rows` generated customers and serves what it predicts.
    pub(super) async fn start(bundle: &Path, rows: u64, output: Output) -> anyhow::Result<Self> {
        let mut setting = Setting::new().await?;
        setting.deployment.api.snapshots = Some(SnapshotSettings {
            folder: setting.deployment.places.data().join("snapshots"),
            in_place: true,
            bytes_max: u64::MAX,
        });
        let deployment = &setting.deployment;
        demo_data::generate(deployment.places.lake(), rows).await?;
        let applied =
            apply::apply(deployment, bundle, output).await?.context("the bundle has problems")?;
        let path = applied.services.first().context("no bundle was found")?.path.clone();

        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let roles =
            Roles::start(&[Role::Api, Role::Worker], deployment, listener, &shutdown).await?;
        let requested = run::request(&deployment.store, &path, &run::fresh_key()).await?;
        let ended = run::watch(&deployment.store, &path, requested.run, output).await?;
        if ended.state != RunState::Published {
            bail!("{}", run::describe(&ended, output));
        }
        mapped(address).await?;
        let scopes = Scopes::only(&[Scope::Read]);
        let key =
            keys::create(&deployment.store, Some(&path.tenant), "bench", scopes, None).await?;
        let key = key.reveal().to_owned();
        Ok(Self { setting, roles, shutdown, rows, path, key, address })
    }

    /// The path of the service's predictions, without a key.
    pub(super) fn predictions(&self) -> String {
        format!("/v1/tenants/{}/services/{}/predictions", self.path.tenant, self.path.service)
    }

    /// The API key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Look-ups of all keys from `connections`.
    pub(super) fn look_ups(&self, connections: usize) -> Load {
        let path = format!("{}/", self.predictions());
        let requests = Requests::look_ups(&path, &self.key, self.rows);
        Load { address: self.address, requests, connections, threads: 1 }
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.roles.wait().await?;
        self.setting.close().await
    }
}
