//! `cameo apply`: bundles become releases.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use cameo_bundle::{Bundle, Diagnostic, Discovery, ReleaseManifest, discover};
use cameo_domain::{ReleaseId, ServicePath};
use cameo_store::{
    releases::{self, Applied, NewRelease, ReleaseHashes},
    tenants::{self, TenantSettings},
};
use chrono::Utc;
use serde::Serialize;

use crate::{
    cli::{Bundles, Global},
    commands::check::show_problems,
    deployment::{Deployment, actor},
    inspection::inspect,
    output::Output,
};

/// What became of one bundle.
#[derive(Debug, Serialize)]
pub(crate) struct AppliedBundle {
    pub(crate) path: ServicePath,
    pub(crate) release: ReleaseId,
    pub(crate) applied: Applied,
    pub(crate) next_due_at: chrono::DateTime<Utc>,
}

pub(crate) async fn run(
    global: &Global,
    wanted: Bundles,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::find(global).await?;
    let Some(applied) = apply(&deployment, &wanted.path, output).await? else {
        return Ok(ExitCode::FAILURE);
    };
    output.show(&applied, |applied| {
        applied.iter().map(|bundle| describe(bundle, output)).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn describe(bundle: &AppliedBundle, output: Output) -> String {
    let (mark, word) = match bundle.applied {
        Applied::Created => (output.green("+"), "created"),
        Applied::Changed => (output.green("~"), "changed"),
        Applied::Unchanged => (output.dim("="), "unchanged"),
    };
    format!(
        "{mark} {} {word}, release {}, next due {}",
        bundle.path,
        bundle.release.0.short(),
        bundle.next_due_at.format("%Y-%m-%d %H:%M UTC")
    )
}

/// Applies all bundles below `path`, or none when any has a problem, which is then printed.
pub(crate) async fn apply(
    deployment: &Deployment,
    path: &std::path::Path,
    output: Output,
) -> anyhow::Result<Option<Vec<AppliedBundle>>> {
    let Discovery { tenants, bundles, diagnostics: mut problems } = discover(path);
    let mut inspected = Vec::new();
    for bundle in bundles {
        let inspection = inspect(&bundle, Some(&deployment.warehouse)).await;
        problems.extend(inspection.diagnostics.iter().cloned());
        inspected.push((bundle, inspection));
    }
    if problems.iter().any(Diagnostic::is_error) {
        show_problems(&problems, "; nothing was applied", output)?;
        return Ok(None);
    }
    for tenant in &tenants {
        let settings = TenantSettings { max_concurrent_runs: tenant.config.max_concurrent_runs };
        tenants::ensure(&deployment.store, &tenant.name, &settings).await?;
    }
    let mut applied = Vec::new();
    for (bundle, inspection) in inspected {
        let Some(model) = inspection.model else {
            bail!("the model of {} could not be read", bundle.path)
        };
        applied.push(apply_one(deployment, &bundle, model, inspection.preprocess).await?);
    }
    Ok(Some(applied))
}

async fn apply_one(
    deployment: &Deployment,
    bundle: &Bundle,
    model: Vec<u8>,
    preprocess: Option<Vec<u8>>,
) -> anyhow::Result<AppliedBundle> {
    let artifacts = &deployment.artifacts;
    let model = artifacts.put(model.into()).await.context("could not store the model")?;
    let preprocess = match preprocess {
        Some(bytes) => {
            Some(artifacts.put(bytes.into()).await.context("could not store the model")?)
        }
        None => None,
    };
    let manifest = ReleaseManifest::new(bundle, model, preprocess, git_commit(bundle));
    let schedule = &bundle.config.prediction.schedule;
    let new = NewRelease {
        release: manifest.id(),
        service: manifest.path.service.clone(),
        version: manifest.version.clone(),
        hashes: ReleaseHashes {
            config: manifest.hashes.config,
            sql: manifest.hashes.sql,
            model: manifest.hashes.model,
        },
        schema: manifest.schema.clone(),
        cron: manifest.cron.clone(),
        timezone: manifest.timezone.clone(),
        next_due_at: schedule.next_after(Utc::now())?,
        missed_run_policy: manifest.run.missed_run_policy,
        missed_run_window_seconds: u64::from(manifest.run.missed_run_window_hours) * 3600,
        generations_kept: manifest.run.generations_kept,
        stale_after_seconds: u64::from(manifest.run.stale_after_hours) * 3600,
        attempts_max: manifest.run.attempts_max,
        git_commit: manifest.git_commit.clone(),
        applied_by: actor(),
        manifest: serde_json::to_value(&manifest)?,
    };
    let path = manifest.path;
    let applied = releases::apply(&deployment.store, &path.tenant, &new).await?;
    let service = cameo_store::services::find(&deployment.store, &path.tenant, &path.service)
        .await?
        .with_context(|| format!("{path} has vanished"))?;
    Ok(AppliedBundle { path, release: new.release, applied, next_due_at: service.next_due_at })
}

/// The commit that the bundle's folder is at; unknown outside a repository or without git.
fn git_commit(bundle: &Bundle) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(&bundle.folder)
        .args(["rev-parse", "--verify", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
