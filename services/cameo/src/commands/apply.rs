//! `cameo apply`: bundles become releases.

use std::{path::Path, process::ExitCode};

use anyhow::bail;
use cameo_bundle::looks_like_bundle;
use cameo_domain::{ServicePath, Stage};
use cameo_registry::{
    AppliedBundle, AppliedTree, Breaking, TreeOutcome, Wanted,
    plan::{SettingChange, TenantChange, TenantChangeKind},
};
use cameo_store::{By, releases::Applied};
use serde::Serialize;

use crate::{
    cli::{Apply, Global},
    commands::{
        archive,
        check::{counted, show_problems},
        plan::words,
    },
    deployment::{Deployment, actor},
    output::Output,
    remote,
    source::{Source, trusted_keys},
};

pub(crate) async fn run(
    global: &Global,
    wanted: Apply,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let folder = &wanted.path;
    if wanted.prune && (folder.is_file() || looks_like_bundle(folder)) {
        bail!(
            "expected the folder of a tenant or of all tenants with --prune, found the bundle {}: the \
             services beside it would seem to be gone",
            folder.display()
        );
    }
    let source = Source::open(folder, trusted_keys(&wanted.trusted_keys)?.as_ref())?;
    let server = wanted.elsewhere.server()?;
    let wanted = Wanted {
        root: source.folder(),
        scope: None,
        accepted: &wanted.accept_breaking,
        prune: wanted.prune,
        commit: source.packed_commit(),
        by: By::new(actor(), "cli"),
    };
    let mut outcome = if let Some(server) = server {
        remote::apply(&server, &source, wanted.accepted, wanted.prune).await?
    } else {
        let deployment = Deployment::find(global).await?;
        cameo_registry::apply(deployment.server(), &wanted).await?
    };
    if let TreeOutcome::Unsound { problems } = &mut outcome {
        source.name(problems);
    }
    let Some(applied) = accepted(outcome, output)? else { return Ok(ExitCode::FAILURE) };
    output.show(&applied, |applied| told(applied, output))?;
    Ok(ExitCode::SUCCESS)
}

/// Applies a tree as it is, for commands that do more than that.
pub(crate) async fn apply(
    deployment: &Deployment,
    root: &Path,
    output: Output,
) -> anyhow::Result<Option<AppliedTree>> {
    let by = By::new(actor(), "cli");
    let wanted = Wanted { root, scope: None, accepted: &[], prune: false, commit: None, by };
    accepted(cameo_registry::apply(deployment.server(), &wanted).await?, output)
}

/// The tree that was applied; why nothing was is printed.
fn accepted(outcome: TreeOutcome, output: Output) -> anyhow::Result<Option<AppliedTree>> {
    match outcome {
        TreeOutcome::Applied(applied) => return Ok(Some(applied)),
        TreeOutcome::Unsound { problems } => {
            show_problems(&problems, "; nothing was applied", output)?;
        }
        TreeOutcome::Breaks { breaking } => refuse(breaking, output)?,
    }
    Ok(None)
}

/// Whatever changed or needs somebody, then how much there was.
fn told(applied: &AppliedTree, output: Output) -> String {
    let needless = |service: &ServicePath| {
        format!("{service} breaks no consumer: --accept-breaking was not needed")
    };
    let mut lines: Vec<String> = applied.accepted_in_vain.iter().map(needless).collect();
    let silent = |bundle: &&AppliedBundle| {
        bundle.applied == Applied::Unchanged && bundle.stage == Stage::Production
    };
    let tenants = applied.tenants.iter().filter_map(|tenant| set_up(tenant, output));
    let tenants: Vec<String> = tenants.collect();
    let archived = applied.archived.iter().map(|service| archive::describe(service, output));
    let archived: Vec<String> = archived.collect();
    let services = &applied.services;
    let shown = services.iter().filter(|bundle| !silent(bundle));
    let beside = tenants.len() + archived.len();
    lines.extend(tenants);
    lines.extend(shown.map(|bundle| describe(bundle, output)));
    lines.extend(archived);
    let stays =
        |bundle: &&AppliedBundle| matches!(bundle.applied, Applied::Unchanged | Applied::Held);
    let unaffected = services.iter().filter(stays).count();
    let changed = services.len() - unaffected;
    let unaffected = counted(unaffected, "service");
    lines.push(if changed + beside == 0 {
        output.green(&format!("✓ nothing to change: {unaffected} unaffected"))
    } else {
        format!("{} applied, {unaffected} unaffected", counted(changed, "service"))
    });
    lines.join("\n")
}

fn set_up(tenant: &TenantChange, output: Output) -> Option<String> {
    let name = &tenant.tenant;
    match &tenant.change {
        TenantChangeKind::Added { max_concurrent_runs, settings } => {
            let quota = format!("MAX_CONCURRENT_RUNS {max_concurrent_runs}");
            let told = [vec![quota], tenant_settings(settings)].concat();
            Some(format!("{} tenant {name} created, {}", output.green("+"), told.join(", ")))
        }
        TenantChangeKind::Changed { settings } => {
            let told = tenant_settings(settings).join(", ");
            Some(format!("{} tenant {name} {told}", output.yellow("~")))
        }
        TenantChangeKind::Removed { .. } => None,
    }
}

fn tenant_settings(settings: &[SettingChange]) -> Vec<String> {
    let told = settings.iter().map(|change| {
        let (old, new) = words::setting(change);
        format!("{} {old} → {new}", change.setting)
    });
    told.collect()
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

#[derive(Serialize)]
struct Refused {
    breaking: Vec<Breaking>,
}

/// Prints what would break whose consumers, and how to accept it.
fn refuse(breaking: Vec<Breaking>, output: Output) -> anyhow::Result<()> {
    output.show(&Refused { breaking }, |refused| {
        let mut lines = Vec::new();
        let mut accept = String::new();
        for Breaking { service, changes } in &refused.breaking {
            lines.push(format!("{} {service} would break its consumers", output.red("✗")));
            let breaking = changes.iter().filter(|change| change.breaking);
            lines.extend(breaking.map(|one| format!("  {}: {}", one.change, one.consequence)));
            accept.push_str(&format!(" --accept-breaking {service}"));
        }
        let told = format!("✗ nothing was applied; where consumers are ready, repeat with{accept}");
        lines.push(output.red(&told));
        lines.join("\n")
    })
}
