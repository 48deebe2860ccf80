//! Starting the deployable roles in one process.

use std::{future::Future, sync::Arc};

use anyhow::Context;
use cameo_runtime::{background::Background, clock::SystemClock, metrics::Metrics};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{cli::Role, deployment::Deployment};

/// Roles that run in this process.
pub(crate) struct Roles {
    tasks: JoinSet<()>,
    /// What works for hours gives way to what answers within milliseconds.
    background: Background,
    shutdown: CancellationToken,
}

impl Roles {
    /// Starts `roles`. The API's role serves on `listener`; without it, probes and metrics do.
    pub(crate) async fn start(
        roles: &[Role],
        deployment: &Deployment,
        listener: TcpListener,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new();
        let clock = Arc::new(SystemClock);
        let Deployment {
            places,
            store,
            warehouse,
            artifacts,
            openlineage,
            trusted_keys,
            api,
            worker,
            public_url,
            tenant_keys,
            isolation,
        } = deployment.clone();
        let background = Background::start("cameo-background").context("no threads for runs")?;
        let opened = store.clone();
        let opened = background.handle().spawn(async move { opened.apart().await });
        let background_store = opened.await.context("a task panicked")??;
        let mut started = Self { tasks: JoinSet::new(), background, shutdown: shutdown.clone() };
        if roles.contains(&Role::Scheduler) {
            let dependencies = cameo_scheduler::Dependencies {
                store: store.clone(),
                clock: clock.clone(),
                metrics: cameo_scheduler::SchedulerMetrics::register(&metrics),
            };
            started.spawn(cameo_scheduler::run(
                cameo_scheduler::Config::default(),
                dependencies,
                shutdown.clone(),
            ));
        }
        if roles.contains(&Role::Worker) {
            let dependencies = cameo_worker::Dependencies {
                store: background_store.clone(),
                warehouse: Arc::clone(&warehouse),
                artifacts: Arc::clone(&artifacts),
                tenant_keys: Arc::clone(&tenant_keys),
                clock,
                metrics: cameo_worker::WorkerMetrics::register(&metrics),
            };
            started.spawn_behind(cameo_worker::run(
                cameo_worker::Config {
                    isolation: isolation.clone(),
                    openlineage,
                    scratch: places.scratch(),
                    webhook_reach: api.webhook_reach,
                    public_url,
                    ..worker
                },
                dependencies,
                shutdown.clone(),
            ));
        }
        if roles.contains(&Role::Mirror) {
            let dependencies = cameo_mirror::Dependencies {
                store: background_store,
                warehouse: Arc::clone(&warehouse),
                clock: Arc::new(SystemClock),
                metrics: cameo_mirror::MirrorMetrics::register(&metrics),
            };
            started.spawn_behind(cameo_mirror::run(
                cameo_mirror::Config::default(),
                dependencies,
                shutdown.clone(),
            ));
        }
        let config = cameo_api::Config {
            operations_only: !roles.contains(&Role::Api),
            scratch: places.scratch(),
            isolation,
            ..api
        };
        let dependencies = cameo_api::Dependencies {
            store,
            metrics,
            warehouse,
            artifacts,
            trusted_keys,
            tenant_keys,
        };
        started.spawn(cameo_api::serve(listener, config, dependencies, shutdown.clone()));
        Ok(started)
    }

    /// Starts a role whose work may take as long as it takes.
    fn spawn_behind(&mut self, role: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(role, self.background.handle());
    }

    fn spawn(&mut self, role: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(role);
    }

    /// Waits for the end of every role. One that fails stops the others.
    pub(crate) async fn wait(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended.context("a role panicked") {
                self.shutdown.cancel();
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }
}
