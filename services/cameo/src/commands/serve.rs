//! `cameo serve`: chosen roles against an existing server.

use std::process::ExitCode;

use anyhow::Context;
use cameo_runtime::{
    shutdown,
    telemetry::{self, TelemetryConfig},
};
use tokio::net::TcpListener;

use crate::{
    cli::{Global, Serve},
    deployment::Deployment,
    roles::Roles,
    source::trusted_keys,
};

pub(crate) async fn run(global: &Global, serve: Serve) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::init("cameo", TelemetryConfig::from_environment())?;
    let shutdown = shutdown::on_signals();
    let openlineage = serve.openlineage.receiver()?;
    let trusted_keys = trusted_keys(&serve.signers.trusted_keys)?;
    let found = Deployment::find(global).await?;
    let api = cameo_api::Config {
        oidc: serve.oidc.config()?,
        snapshots: serve.snapshots.settings(found.places.data()),
        webhook_reach: serve.webhooks.reach(),
        ..serve.limits.config()
    };
    let public_url = serve.webhooks.public_url();
    let deployment = Deployment { openlineage, trusted_keys, api, public_url, ..found };
    let listener = TcpListener::bind(serve.listen)
        .await
        .with_context(|| format!("could not listen on {}", serve.listen))?;
    Roles::start(&serve.role, &deployment, listener, &shutdown).wait().await?;
    deployment.store.close().await;
    Ok(ExitCode::SUCCESS)
}
