//! `cameo apply`: bundles become releases.

use std::process::{Command, ExitCode};

use cameo_bundle::{Bundle, Diagnostic, Discovery, discover};
use cameo_registry::{AppliedBundle, inspect, register};
use cameo_store::{
    By,
    releases::Applied,
    tenants::{self, TenantSettings},
};

use crate::{
    cli::{Bundles, Global},
    commands::check::show_problems,
    deployment::{Deployment, actor},
    output::Output,
};

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
    let path = &bundle.path;
    let short = bundle.release.0.short();
    let (mark, word) = match bundle.applied {
        Applied::Created => (output.green("+"), "created".to_owned()),
        Applied::Changed => (output.green("~"), "changed".to_owned()),
        Applied::Registered => (output.green("+"), format!("has a new {}", bundle.stage)),
        Applied::AwaitsApproval => {
            let hint = format!("`cameo approve {path} {short}` by somebody else");
            (output.green("+"), format!("is protected and awaits {hint}"))
        }
        Applied::Unchanged => (output.dim("="), "unchanged".to_owned()),
        Applied::Held => {
            let hint = format!("`cameo promote {path} {short}` brings it back");
            (output.dim("="), format!("unchanged: the release was rolled back, {hint}"))
        }
    };
    let due = match bundle.next_due_at {
        Some(at) => format!("next due {}", at.format("%Y-%m-%d %H:%M UTC")),
        None => "nothing is due before `cameo promote`".to_owned(),
    };
    format!("{mark} {path} {word}, release {short} in {}, {due}", bundle.stage)
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
    let by = By::new(actor(), "cli");
    let mut applied = Vec::new();
    for (bundle, inspection) in inspected {
        let (store, artifacts) = (&deployment.store, deployment.artifacts.as_ref());
        let commit = git_commit(&bundle);
        applied.push(register(store, artifacts, &bundle, inspection, commit, &by).await?);
    }
    Ok(Some(applied))
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
