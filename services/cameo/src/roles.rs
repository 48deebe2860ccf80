//! Starting the deployable roles in one process.

use std::sync::Arc;

use anyhow::Context;
use cameo_runtime::{background::Background, clock::SystemClock, metrics::Metrics};
use cameo_store::Store;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{cli::Role, deployment::Deployment};

/// Roles that run in this process.
pub(crate) struct Roles {
    tasks: JoinSet<()>,
    /// The threads of roles that work for hours, where there are any; they end with this.
    _background: Option<Background>,
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
            cores_for_requests,
            public_url,
            tenant_keys,
            isolation,
        } = deployment.clone();
        let (mut tasks, mut background) = (JoinSet::new(), None);
        if roles.contains(&Role::Scheduler) {
            let dependencies = cameo_scheduler::Dependencies {
                store: store.clone(),
                clock: clock.clone(),
                metrics: cameo_scheduler::SchedulerMetrics::register(&metrics),
            };
            tasks.spawn(cameo_scheduler::run(
                cameo_scheduler::Config::default(),
                dependencies,
                shutdown.clone(),
            ));
        }
        if roles.iter().any(|role| matches!(role, Role::Worker | Role::Mirror)) {
            let (threads, store) = behind(&store, cores_for_requests).await?;
            if roles.contains(&Role::Worker) {
                let dependencies = cameo_worker::Dependencies {
                    store: store.clone(),
                    warehouse: Arc::clone(&warehouse),
                    artifacts: Arc::clone(&artifacts),
                    tenant_keys: Arc::clone(&tenant_keys),
                    clock,
                    metrics: cameo_worker::WorkerMetrics::register(&metrics),
                };
                let role = cameo_worker::run(
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
                );
                tasks.spawn_on(role, threads.handle());
            }
            if roles.contains(&Role::Mirror) {
                let dependencies = cameo_mirror::Dependencies {
                    store,
                    warehouse: Arc::clone(&warehouse),
                    clock: Arc::new(SystemClock),
                    metrics: cameo_mirror::MirrorMetrics::register(&metrics),
                };
                let role = cameo_mirror::run(
                    cameo_mirror::Config::default(),
                    dependencies,
                    shutdown.clone(),
                );
                tasks.spawn_on(role, threads.handle());
            }
            background = Some(threads);
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
        tasks.spawn(cameo_api::serve(listener, config, dependencies, shutdown.clone()));
        Ok(Self { tasks, _background: background, shutdown: shutdown.clone() })
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

/// Threads that give way to those that answer within milliseconds, and the database over connections that they drive.
async fn behind(store: &Store, left: usize) -> anyhow::Result<(Background, Store)> {
    let background = Background::start("cameo-background", left).context("no threads for runs")?;
    let store = store.clone();
    let opened = background.handle().spawn(async move { store.apart().await });
    let store = opened.await.context("a task panicked")??;
    Ok((background, store))
}
