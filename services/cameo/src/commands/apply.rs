//! `cameo apply`: bundles become releases.

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::bail;
use cameo_bundle::{Bundle, Diagnostic, Discovery, discover, looks_like_bundle};
use cameo_domain::Stage;
use cameo_registry::{AppliedBundle, inspect, register};
use cameo_store::{
    By,
    releases::Applied,
    services,
    tenants::{self, TenantSettings},
};
use serde::Serialize;

use crate::{
    cli::{Apply, Global},
    commands::{
        archive::{self, Archived},
        check::show_problems,
    },
    deployment::{Deployment, actor},
    output::Output,
};

pub(crate) async fn run(
    global: &Global,
    wanted: Apply,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let folder = &wanted.bundles.path;
    if wanted.prune && looks_like_bundle(folder) {
        bail!(
            "expected the folder of a tenant or of all tenants with --prune, found the bundle {}: the \
             services beside it would seem to be gone",
            folder.display()
        );
    }
    let deployment = Deployment::find(global).await?;
    let Some(applied) = apply(&deployment, folder, output).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let pruned = if wanted.prune { prune(&deployment, folder).await? } else { Vec::new() };
    let applied = applied.into_iter().map(Outcome::Applied);
    let outcomes: Vec<_> = applied.chain(pruned.into_iter().map(Outcome::Archived)).collect();
    output.show(&outcomes, |outcomes| {
        let lines = outcomes.iter().map(|outcome| match outcome {
            Outcome::Applied(bundle) => describe(bundle, output),
            Outcome::Archived(archived) => archive::describe(archived, output),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Applied(AppliedBundle),
    Archived(Archived),
}

/// Archives the services of the tenants below `path` that have no bundle there. Only after everything
/// there was found sound and applied: a bundle with a mistake is not one that was removed.
async fn prune(deployment: &Deployment, path: &Path) -> anyhow::Result<Vec<Archived>> {
    let Discovery { tenants, bundles, .. } = discover(path);
    let kept: HashSet<_> = bundles.into_iter().map(|bundle| bundle.path).collect();
    let mut archived = Vec::new();
    for tenant in &tenants {
        for service in services::list(&deployment.store, Some(&tenant.name)).await? {
            if service.stage != Stage::Archived && !kept.contains(&service.path) {
                let reason = "its bundle is not in the folder any more";
                archived.push(archive::archive(&deployment.store, &service.path, reason).await?);
            }
        }
    }
    Ok(archived)
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
            (output.dim("="), format!("unchanged: somebody put this release away, {hint}"))
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
    path: &Path,
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
