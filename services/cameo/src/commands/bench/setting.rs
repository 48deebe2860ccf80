//! A throw-away installation for measurements.

use std::path::Path;

use anyhow::Context;
use cameo_runtime::postgres::{EmbeddedPostgres, PostgresSettings};
use tempfile::TempDir;

use crate::{
    cli::Global,
    deployment::{Deployment, Places},
};

/// More requests per second than any machine answers.
const RATE_MAX: u32 = 100_000_000;

/// Its own Postgres, Lake and artifacts in a temporary folder.
pub(super) struct Setting {
    pub(super) deployment: Deployment,
    pub(super) postgres: EmbeddedPostgres,
    // Dropped last: Postgres must have stopped before its folder goes.
    _folder: TempDir,
}

impl Setting {
    pub(super) async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cameo-bench-").tempdir()?;
        // Postgres may have to run as another user, who must be able to reach its folder.
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        let global = Global {
            master_key_file: None,
            data_dir: folder.path().join("data"),
            database_url: None,
            lake: None,
            artifacts: None,
            output: None,
        };
        let places = Places::prepare(&global)?;
        let place = places.postgres();
        let postgres = tokio::task::spawn_blocking(move || {
            EmbeddedPostgres::start(&place, &PostgresSettings::default())
        })
        .await?
        .context("could not start the private Postgres")?;
        let opened = Deployment::open(places, &postgres.url()).await?;
        // One key asks for as much as the machine can do.
        let rate = cameo_api::RateLimit { requests_per_second: RATE_MAX, burst: RATE_MAX };
        let limits = cameo_api::TenantLimits { rate, ..opened.api.tenant_limits };
        let api = cameo_api::Config { tenant_limits: limits, ..opened.api };
        let deployment = Deployment { api, ..opened };
        deployment.store.migrate().await?;
        Ok(Self { deployment, postgres, _folder: folder })
    }

    /// Makes `file` the Lake's table `dataset.table` of `tenant`, without copying where possible.
    pub(super) fn add_table(
        &self,
        tenant: &str,
        dataset: &str,
        table: &str,
        file: &Path,
    ) -> anyhow::Result<()> {
        let folder = self.deployment.places.lake().join(tenant).join(dataset);
        std::fs::create_dir_all(&folder)?;
        let target = folder.join(format!("{table}.parquet"));
        let file =
            file.canonicalize().with_context(|| format!("could not find {}", file.display()))?;
        if std::fs::hard_link(&file, &target).is_err() {
            std::fs::copy(&file, &target)
                .with_context(|| format!("could not copy {}", file.display()))?;
        }
        Ok(())
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.deployment.store.close().await;
        let postgres = self.postgres;
        tokio::task::spawn_blocking(move || postgres.stop()).await?;
        Ok(())
    }
}
