//! `cameo run`: a run now, watched to its end.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, anyhow};
use cameo_domain::{RunId, RunState, ServicePath};
use cameo_store::{
    Store, StoreError, releases,
    runs::{self, RunRecord},
};
use chrono::Utc;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{Global, Run},
    deployment::{Deployment, actor, unknown_service},
    output::{Output, grouped},
};

/// How often a watched run is looked at.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn run(global: &Global, wanted: Run, output: Output) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let store = &deployment.store;
    let key = wanted.idempotency_key.unwrap_or_else(fresh_key);
    let record = request(store, &wanted.service, &key).await?;
    let record =
        if wanted.wait { watch(store, &wanted.service, record.run, output).await? } else { record };
    output.show(&record, |record| describe(record, output))?;
    let unfinished = !record.state.is_finished();
    let good =
        matches!(record.state, RunState::Published | RunState::Superseded | RunState::Shadowed)
            || unfinished;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks for a run now.
pub(crate) async fn request(
    store: &Store,
    path: &ServicePath,
    key: &str,
) -> anyhow::Result<RunRecord> {
    let requested =
        runs::create_manual(store, &path.tenant, &path.service, key, Utc::now(), &actor()).await;
    match requested {
        Ok(requested) => Ok(requested.into_run()),
        Err(StoreError::NotFound(_)) => Err(unknown_service(path)),
        Err(StoreError::NothingInProduction(_)) => Err(nothing_in_production(store, path).await?),
        Err(error) => Err(error.into()),
    }
}

/// What to say about a service of which no release is run: which could be.
async fn nothing_in_production(store: &Store, path: &ServicePath) -> anyhow::Result<anyhow::Error> {
    let latest = releases::list(store, &path.tenant, &path.service).await?.into_iter().next();
    let hint = latest.map_or_else(String::new, |latest| {
        let short = latest.release.0.short();
        let command = match latest.approval_asked_by {
            Some(_) => "approve",
            None => "promote",
        };
        format!(
            "; `cameo {command} {path} {short}` brings the {} {} there",
            latest.stage, latest.version
        )
    });
    Ok(anyhow!("no release of {path} is in production{hint}"))
}

pub(crate) fn fresh_key() -> String {
    format!("cli-{}-{}", std::process::id(), Utc::now().timestamp_micros())
}

/// Shows the progress of a run until it has ended.
pub(crate) async fn watch(
    store: &Store,
    path: &ServicePath,
    run: RunId,
    output: Output,
) -> anyhow::Result<RunRecord> {
    let bar = if output.is_human() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("  {spinner} {prefix:<20} {msg}")?;
    bar.set_style(style);
    bar.set_prefix(path.to_string());
    bar.enable_steady_tick(LOOK);
    loop {
        let record = runs::find(store, &path.tenant, run)
            .await?
            .with_context(|| format!("run {run} has vanished"))?;
        if record.state.is_finished() {
            bar.finish_and_clear();
            return Ok(record);
        }
        bar.set_message(progress(&record));
        tokio::time::sleep(LOOK).await;
    }
}

fn progress(record: &RunRecord) -> String {
    match &record.progress {
        None => record.state.to_string(),
        Some(progress) => format!(
            "{:<12} {:>12} rows  {:>10} rows/s",
            progress.stage,
            grouped(progress.rows_scored),
            grouped(whole(progress.rows_per_second)),
        ),
    }
}

/// A rate without its fraction.
fn whole(rate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small")]
    let whole = rate.max(0.0) as u64;
    whole
}

/// One paragraph about an ended, or still waiting, run.
pub(crate) fn describe(record: &RunRecord, output: Output) -> String {
    let mark = match record.state {
        RunState::Published | RunState::Shadowed => output.green("✓"),
        RunState::Halted | RunState::Failed => output.red("✗"),
        _ => "·".to_owned(),
    };
    let mut text = format!("{mark} {} run {} {}", record.path, record.run, record.state);
    if let Some(generation) = record.generation {
        text.push_str(&format!(" as generation {generation}"));
    }
    if let Some(counts) = record.counts {
        text.push_str(&format!(
            ": {} rows read, {} scored, {} quarantined",
            grouped(counts.rows_read),
            grouped(counts.rows_scored),
            grouped(counts.rows_quarantined),
        ));
        if counts.rows_suppressed > 0 {
            text.push_str(&format!(", {} erased before", grouped(counts.rows_suppressed)));
        }
    }
    if let (Some(start), Some(end)) = (record.started_at, record.finished_at) {
        text.push_str(&format!(", {:.2} s", (end - start).as_seconds_f64()));
    }
    if let Some(progress) = &record.progress {
        let steps: Vec<_> = progress
            .steps
            .iter()
            .map(|step| format!("{} {:.2} s", step.name, step.seconds))
            .collect();
        text.push_str(&format!("\n  {}", output.dim(&steps.join(" · "))));
    }
    if let Some(reason) = record.reason.as_ref().filter(|_| record.state != RunState::Published) {
        text.push_str(&format!("\n  {reason}"));
    }
    text
}
