//! One claimed run, from its release to its verdict.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use cameo_bundle::ReleaseManifest;
use cameo_crashpoint::hit;
use cameo_domain::{Reason, RunState};
use cameo_isolation::{Allowance, Host};
use cameo_openlineage::{Emitter, Receiver};
use cameo_pipeline::{
    Execution, Limits, ModelFiles, Outcome, Plan, RunError, Sealed, Tracker, engine_memory,
    model_memory, start_host,
};
use cameo_store::{
    generations,
    runs::{self, ClaimedRun, RunPurpose},
};
use cameo_warehouse::{Parameters, ReadOptions};
use chrono_tz::Tz;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

use crate::{
    Config, Dependencies,
    lineage::Telling,
    snapshots::make_before_publication,
    verdict::{Verdict, judge},
};

/// Rows per Arrow batch: enough to amortise a step, few enough to stay in the cache.
const BATCH_ROWS: usize = 16 * 1024;
/// A heartbeat is sent this many times per lease.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// Longest wait between two heartbeats, so that progress stays fresh under long leases.
const HEARTBEAT_MAX: Duration = Duration::from_secs(1);
/// How often the memory of the process, and of the model's own, is looked at during a run.
const MEMORY_SAMPLED_EVERY: Duration = Duration::from_millis(100);

pub(crate) async fn execute(
    config: &Config,
    dependencies: &Dependencies,
    emitter: Option<&Emitter>,
    claimed: ClaimedRun,
    abandon: CancellationToken,
) {
    let span = tracing::info_span!(
        "run",
        run = %claimed.run,
        service = %claimed.path,
        due_at = %claimed.due_at,
        attempt = claimed.attempt,
        epoch = %claimed.epoch,
    );
    dependencies.metrics.running.inc();
    let started = std::time::Instant::now();
    let namespace = config.openlineage.as_ref().map_or("", Receiver::namespace);
    // What runs beside production writes nothing that anybody reads.
    let emitter = emitter.filter(|_| claimed.purpose == RunPurpose::Publish);
    let telling = emitter.map(|emitter| Telling::new(emitter, namespace, dependencies, &claimed));
    let state = attempt(config, dependencies, &claimed, telling.as_ref(), abandon);
    let state = state.instrument(span).await;
    dependencies.metrics.running.dec();
    if let Some(state) = state {
        dependencies.metrics.ended(&claimed.path, state, started.elapsed());
    }
}

/// Runs one attempt and writes its verdict; `None` where the run goes on elsewhere.
async fn attempt(
    config: &Config,
    dependencies: &Dependencies,
    claimed: &ClaimedRun,
    telling: Option<&Telling<'_>>,
    abandon: CancellationToken,
) -> Option<RunState> {
    let tracker = Arc::new(Tracker::default());
    let cancel = abandon.child_token();
    let host = Arc::new(OnceLock::new());
    // The lease of an attempt that panics is renewed no more: another worker takes the run.
    let sampler = sample_memory(Arc::clone(&tracker), Arc::clone(&host));
    let sampler = AbortOnDropHandle::new(tokio::spawn(sampler));
    let heartbeat = AbortOnDropHandle::new(tokio::spawn(beat(
        dependencies.clone(),
        claimed.clone(),
        config.lease_seconds,
        Arc::clone(&tracker),
        cancel.clone(),
    )));
    let watched = Watched { tracker: &tracker, host: &host, telling };
    let result = publish(config, dependencies, claimed, &watched, cancel).await;
    drop((heartbeat, sampler));
    // The lease may be lost while this process slept; what made the attempt end is then moot.
    let result = match result {
        Err(RunError::Cancelled) if !abandon.is_cancelled() => Err(RunError::StaleEpoch),
        other => other,
    };
    if let Some(telling) = telling {
        telling.ended(claimed, result.as_ref()).await;
    }
    match result {
        Ok(outcome) => Some(report(dependencies, claimed, &outcome, &tracker)),
        Err(error) => close(dependencies, claimed, error).await,
    }
}

fn report(
    dependencies: &Dependencies,
    claimed: &ClaimedRun,
    outcome: &Outcome,
    tracker: &Tracker,
) -> RunState {
    let progress = tracker.snapshot();
    if claimed.purpose == RunPurpose::Publish {
        dependencies.metrics.rows(&claimed.path, &progress);
    }
    let rows = outcome.digest.rows;
    let generation = outcome.generation;
    match outcome.publication {
        generations::Outcome::Published => {
            tracing::info!(%generation, rows, quarantined = progress.rows_quarantined, "published");
            RunState::Published
        }
        generations::Outcome::Superseded { by } => {
            tracing::info!(%generation, rows, newer = %by, "complete, but a newer one is published");
            RunState::Superseded
        }
        generations::Outcome::Shadowed => {
            tracing::info!(%generation, rows, "complete beside production");
            RunState::Shadowed
        }
    }
}

async fn close(
    dependencies: &Dependencies,
    claimed: &ClaimedRun,
    error: RunError,
) -> Option<RunState> {
    let store = &dependencies.store;
    let (run, epoch) = (claimed.run, claimed.epoch);
    let written = match judge(error, claimed.attempt) {
        Verdict::Halt(reason) => {
            tracing::error!(code = reason.code, reason = reason.message, "halted");
            runs::halt(store, run, epoch, reason).await
        }
        Verdict::Retry(reason, wait) => {
            tracing::warn!(
                code = reason.code,
                reason = reason.message,
                ?wait,
                "the attempt failed"
            );
            dependencies.metrics.retries.inc();
            let not_before = dependencies.clock.now() + wait;
            runs::requeue(store, run, epoch, reason, not_before).await
        }
        Verdict::HandBack => {
            tracing::info!("handed back to the queue");
            let reason = Reason::new("worker_stopped", "the worker was stopped while it ran");
            runs::hand_back(store, run, epoch, reason).await
        }
        Verdict::Leave => {
            tracing::warn!("another worker has taken the run over");
            return None;
        }
    };
    match written {
        Ok(state) => Some(state).filter(|state| state.is_finished()),
        Err(error) => {
            // The lease will run out and another worker will try again: nothing is lost.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not record how the attempt ended"
            );
            None
        }
    }
}

/// What others see of an attempt while it lasts.
struct Watched<'a> {
    tracker: &'a Arc<Tracker>,
    /// Where the model works, as soon as it does.
    host: &'a OnceLock<Host>,
    telling: Option<&'a Telling<'a>>,
}

async fn publish(
    config: &Config,
    dependencies: &Dependencies,
    claimed: &ClaimedRun,
    watched: &Watched<'_>,
    cancel: CancellationToken,
) -> Result<Outcome, RunError> {
    let tracker = watched.tracker;
    tracker.begin("prepare");
    let manifest: ReleaseManifest =
        serde_json::from_value(claimed.manifest.clone()).map_err(|error| {
            RunError::Halt(Reason::new(
                "release_unreadable",
                format!(
                    "the release was written by an incompatible version: {error}; apply it again"
                ),
            ))
        })?;
    let limits = Limits::of(&manifest.run, &config.ceilings);
    let work = Box::pin(async {
        let load = Box::pin(load(config, dependencies, claimed, watched, manifest, limits));
        let (execution, sealed) = limits.in_time(load).await?;
        let is_first = config.makes_snapshot_first(sealed.digest.rows);
        if is_first && claimed.purpose == RunPurpose::Publish {
            tracker.begin("snapshot");
            make_before_publication(config, dependencies, &sealed.generation).await;
            tracker.end("snapshot");
        }
        limits.in_time(cameo_pipeline::publish(&execution, sealed)).await
    });
    tokio::select! {
        outcome = work => outcome,
        () = cancel.cancelled() => Err(RunError::Cancelled),
    }
}

/// Has the plan of the release flow until its generation is sealed.
async fn load(
    config: &Config,
    dependencies: &Dependencies,
    claimed: &ClaimedRun,
    watched: &Watched<'_>,
    manifest: ReleaseManifest,
    limits: Limits,
) -> Result<(Execution, Sealed), RunError> {
    let memory_bytes = limits.memory_mb * 1024 * 1024;
    let files = Arc::new(fetch(dependencies, &manifest).await?);
    hit("release_loaded");
    let allowance = allowance(config, &limits, memory_bytes);
    let started = start_host(&config.isolation, allowance).await?;
    let host = watched.host.get_or_init(|| started).clone();
    // A model that never ends to load must neither outlast its run nor keep a worker that is to stop.
    let _stops = host.stops();
    let plan = prepare(dependencies, claimed, manifest, &files, host).await?;
    watched.tracker.end("prepare");
    if let Some(telling) = watched.telling {
        telling.started(&plan.tables());
    }
    hit("plan_prepared");

    let execution = Execution {
        plan: Arc::new(plan),
        claimed: claimed.clone(),
        store: dependencies.store.clone(),
        tenant_keys: Arc::clone(&dependencies.tenant_keys),
        warehouse: Arc::clone(&dependencies.warehouse),
        read: ReadOptions {
            memory_limit_bytes: engine_memory(memory_bytes),
            threads: config.threads,
            partitions: config.threads,
            batch_rows: BATCH_ROWS,
        },
        scorers: config.threads,
        writers: config.writers,
        predicted_at: dependencies.clock.now(),
        limits,
        lease_seconds: config.lease_seconds,
        tracker: Arc::clone(watched.tracker),
    };
    let sealed = cameo_pipeline::load(&execution, files).await?;
    Ok((execution, sealed))
}

async fn prepare(
    dependencies: &Dependencies,
    claimed: &ClaimedRun,
    manifest: ReleaseManifest,
    files: &Arc<ModelFiles>,
    host: Host,
) -> Result<Plan, RunError> {
    let zone: Tz = manifest.timezone.parse().unwrap_or(Tz::UTC);
    let parameters = Parameters {
        run_time: claimed.due_at,
        run_date: claimed.due_at.with_timezone(&zone).date_naive(),
    };
    let warehouse = dependencies.warehouse.as_ref();
    Plan::prepare(manifest, Arc::clone(files), warehouse, parameters, host).await
}

/// What the model of a run may use.
fn allowance(config: &Config, limits: &Limits, memory_bytes: u64) -> Allowance {
    let threads = config.threads.max(1);
    Allowance {
        memory_bytes: model_memory(memory_bytes),
        // The run's own limit comes first; this one holds where nobody is left to keep it.
        cpu_time: limits.time() * u32::try_from(threads).unwrap_or(u32::MAX),
        call_time: config.model_time,
        threads,
    }
}

async fn fetch(
    dependencies: &Dependencies,
    manifest: &ReleaseManifest,
) -> Result<ModelFiles, RunError> {
    let get = async |hash| {
        let bytes = dependencies.artifacts.get(&hash).await;
        bytes.map(|bytes| bytes.to_vec()).map_err(|error| {
            RunError::Transient(Reason::new("artifact", format!("model {hash}: {error}")))
        })
    };
    Ok(ModelFiles {
        model: get(manifest.model).await?,
        preprocess: match manifest.preprocess {
            Some(hash) => Some(get(hash).await?),
            None => None,
        },
    })
}

/// Notes the most memory that the process and that of the model have together, until it is aborted.
async fn sample_memory(tracker: Arc<Tracker>, host: Arc<OnceLock<Host>>) {
    loop {
        if let Some(bytes) = cameo_runtime::metrics::resident_bytes() {
            let model = host.get().and_then(Host::resident_bytes).unwrap_or_default();
            tracker.memory(bytes + model);
        }
        tokio::time::sleep(MEMORY_SAMPLED_EVERY).await;
    }
}

/// Renews the lease and stores the progress until it is aborted; cancels the run when the lease is
/// lost.
///
/// A heartbeat that meets the publication waits for it and then finds a run that has ended. That is no loss:
/// whoever publishes is told by its own transaction what became of the run.
async fn beat(
    dependencies: Dependencies,
    claimed: ClaimedRun,
    lease_seconds: u32,
    tracker: Arc<Tracker>,
    cancel: CancellationToken,
) {
    let lease = Duration::from_secs(lease_seconds.into());
    let pause = (lease / HEARTBEATS_PER_LEASE).min(HEARTBEAT_MAX);
    loop {
        tokio::time::sleep(pause).await;
        let progress = tracker.snapshot();
        if claimed.purpose == RunPurpose::Publish {
            dependencies.metrics.progress(&claimed.path, &progress);
        }
        let store = &dependencies.store;
        match runs::heartbeat(store, claimed.run, claimed.epoch, lease_seconds, &progress).await {
            Ok(()) => hit("heartbeat_sent"),
            Err(cameo_store::StoreError::StaleEpoch { .. }) => {
                if !tracker.is_publishing() {
                    cancel.cancel();
                }
                return;
            }
            // The lease outlives a few lost heartbeats; if it does not, the epoch protects.
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not renew the lease"
            ),
        }
    }
}
