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
};

pub(crate) async fn run(global: &Global, serve: Serve) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::init("cameo", TelemetryConfig::from_environment())?;
    let shutdown = shutdown::on_signals();
    let settings = serve.roles.read()?;
    let deployment = settings.on(Deployment::reach(global).await?)?;
    deployment.store.migrate().await.context("could not bring the database up to date")?;
    let listener = TcpListener::bind(serve.listen)
        .await
        .with_context(|| format!("could not listen on {}", serve.listen))?;
    Roles::start(&serve.role, &deployment, listener, &shutdown).await?.wait().await?;
    deployment.store.close().await;
    Ok(ExitCode::SUCCESS)
}
