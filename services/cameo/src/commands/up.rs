//! `cameo up`: everything on this machine.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use cameo_runtime::{
    postgres::{EmbeddedPostgres, PostgresSettings},
    shutdown,
    telemetry::{self, LogFormat, TelemetryConfig},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Global, Role, Up},
    commands::apply,
    demo,
    deployment::{Deployment, Places, Server},
    output::Output,
    roles::Roles,
};

/// Every role runs in the one process.
const ROLES: [Role; 4] = [Role::Api, Role::Scheduler, Role::Worker, Role::Mirror];
/// How long the roles may take to stop before Postgres is stopped under them.
const STOP_MAX: Duration = Duration::from_mins(1);

pub(crate) async fn run(global: &Global, up: Up, output: Output) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::init("cameo", logging(output))?;
    let shutdown = shutdown::on_signals();
    let settings = up.roles.read()?;
    let places = Places::prepare(global)?;
    if up.roles.receipts.named().is_none() {
        places.ensure_receipt_key()?;
    }

    let postgres = match &global.database_url {
        Some(_) => None,
        None => Some(start_postgres(&places).await?),
    };
    if postgres.is_some() && cameo_priority::sessions::are_grouped() {
        tracing::info!(
            "this system shares the processor out among sessions: look-ups may wait for Postgres while runs publish; \
             see docs/operations.md#who-gives-way-to-whom"
        );
    }
    let url = match (&global.database_url, &postgres) {
        (Some(url), _) => url.clone(),
        (None, Some(postgres)) => postgres.url(),
        (None, None) => anyhow::bail!("there is no database"),
    };
    let deployment = settings.on(Deployment::open(places.clone(), &url).await?)?;
    deployment.store.migrate().await.context("could not bring the database up to date")?;

    let listener = TcpListener::bind(up.listen)
        .await
        .with_context(|| format!("could not listen on {}; choose with --listen", up.listen))?;
    let api = listener.local_addr()?;
    let roles = Roles::start(&ROLES, &deployment, listener, &shutdown).await?;
    places.announce(&Server { database_url: url, api, process_id: std::process::id() })?;
    output.line(format!(
        "{} API on http://{api} (reference at http://{api}/docs), data in {}",
        output.green("✓"),
        places.data().display()
    ));

    let work = start_work(&deployment, &up, api, output);
    let outcome = tokio::select! {
        worked = work => worked,
        () = shutdown.cancelled() => Ok(()),
    };
    if outcome.is_err() {
        shutdown.cancel();
    }
    let served = serve_until_stopped(roles, postgres.as_ref(), &shutdown).await;
    places.withdraw();
    deployment.store.close().await;
    if let Some(postgres) = postgres.and_then(Arc::into_inner) {
        tokio::task::spawn_blocking(move || postgres.stop()).await?;
    }
    outcome.and(served)?;
    Ok(ExitCode::SUCCESS)
}

/// On a terminal the command speaks for itself and logs only what is wrong.
fn logging(output: Output) -> TelemetryConfig {
    let mut config = TelemetryConfig::from_environment();
    let chosen = ["CAMEO_LOG", "RUST_LOG"].iter().any(|name| std::env::var_os(name).is_some());
    if output.is_human() && config.format == LogFormat::Human && !chosen {
        "warn".clone_into(&mut config.filter);
    }
    config
}

/// Starts the Postgres of the data directory.
pub(crate) async fn start_postgres(places: &Places) -> anyhow::Result<Arc<EmbeddedPostgres>> {
    let folder = places.postgres();
    let started = tokio::task::spawn_blocking(move || {
        EmbeddedPostgres::start(&folder, &PostgresSettings::default())
    });
    Ok(Arc::new(started.await?.context("could not start the private Postgres")?))
}

/// Applies what was asked for and, for the demo, runs it.
async fn start_work(
    deployment: &Deployment,
    up: &Up,
    api: std::net::SocketAddr,
    output: Output,
) -> anyhow::Result<()> {
    if up.demo {
        return demo::run(deployment, up.customers, api, output).await;
    }
    let Some(tenants) = &up.tenants else { return Ok(()) };
    if let Some(applied) = apply::apply(deployment, tenants, output).await? {
        for bundle in &applied.services {
            output.line(apply::describe(bundle, output));
        }
    } else {
        // A team's mistake must not take down what the others published before.
        tracing::error!(
            tenants = %tenants.display(),
            "nothing was applied, the bundles have problems; what was applied before goes on"
        );
    }
    Ok(())
}

async fn serve_until_stopped(
    roles: Roles,
    postgres: Option<&Arc<EmbeddedPostgres>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let gave_up = async {
        match postgres {
            Some(postgres) => postgres.gave_up().await.into(),
            None => std::future::pending::<anyhow::Error>().await,
        }
    };
    let serving = roles.wait();
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => served,
        error = gave_up => {
            shutdown.cancel();
            let _ = tokio::time::timeout(STOP_MAX, serving).await;
            Err(error.context("the private Postgres does not stay up"))
        }
    }
}
