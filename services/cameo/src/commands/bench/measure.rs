//! Timing pieces of work, and what this process used for them.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::bail;
use cameo_domain::{RunState, ServicePath};
use cameo_store::{outbox, runs::RunRecord};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::setting::Setting;
use crate::{cli::Role, commands::run, output::Output, roles::Roles};

/// How long the mirror of a measured run may take.
const MIRROR_MAX: Duration = Duration::from_mins(10);

/// One measured piece of work.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Measured {
    pub(super) what: String,
    pub(super) rows: u64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_mb: f64,
    pub(super) steps: String,
}

/// Times `work` and finds its peak memory; it gives its rows and the times of its steps.
pub(super) async fn measure(
    what: &str,
    work: impl Future<Output = anyhow::Result<(u64, String)>>,
) -> anyhow::Result<Measured> {
    forget_peak();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (rows, steps) = work.await?;
    Ok(Measured {
        what: what.to_owned(),
        rows,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu,
        peak_mb: peak_mb(),
        steps,
    })
}

/// A whole run: queue, features, scores, generation, publication, mirror.
pub(super) async fn whole_run(
    what: &str,
    setting: &Setting,
    path: &ServicePath,
    output: Output,
) -> anyhow::Result<Measured> {
    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let roles =
        Roles::start(&[Role::Worker, Role::Mirror], &setting.deployment, listener, &shutdown)
            .await?;
    let measured = measure(what, async {
        let store = &setting.deployment.store;
        let requested = run::request(store, path, &run::fresh_key()).await?;
        let ended = run::watch(store, path, requested.run, output).await?;
        if ended.state != RunState::Published {
            bail!("{}", run::describe(&ended, output));
        }
        let published = Instant::now();
        tokio::time::timeout(MIRROR_MAX, async {
            while outbox::lag(store).await?.pending > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        })
        .await??;
        let rows = ended.counts.map_or(0, |counts| counts.rows_scored);
        Ok((rows, steps(ended, published.elapsed())))
    })
    .await;
    shutdown.cancel();
    roles.wait().await?;
    measured
}

fn steps(ended: RunRecord, mirror: Duration) -> String {
    let mut steps: Vec<_> = ended
        .progress
        .unwrap_or_default()
        .steps
        .iter()
        .map(|step| format!("{} {:.2}", step.name, step.seconds))
        .collect();
    steps.push(format!("mirror {:.2}", mirror.as_secs_f64()));
    steps.join(" · ")
}

/// Forgets the peak so far, so that the next one belongs to the next measurement.
fn forget_peak() {
    // Needs no privilege for the own process; where /proc is read-only the peak stays cumulative.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory since the start or [`forget_peak`], in MB.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kibibytes: f64 =
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    kibibytes / 1024.0
}

/// CPU seconds that this process has used.
pub(super) fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}
