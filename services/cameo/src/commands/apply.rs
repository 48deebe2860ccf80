//! `cameo apply`: bundles become releases.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, ExitCode},
};

use cameo_bundle::{Bundle, Diagnostic, discover};
use cameo_domain::{ServicePath, Stage};
use cameo_registry::{
    AppliedBundle,
    inspection::inspect_models,
    plan::{
        ConsumerChange, Entry, PendingBundle, Scope, TenantChange, TenantChangeKind,
        UnaffectedService, outlook,
    },
    register,
};
use cameo_store::{
    By,
    releases::Applied,
    services::{self, ServiceRecord},
    tenants::{self, TenantSettings},
};
use serde::Serialize;

use crate::{
    cli::{Apply, Global},
    commands::{
        check::{counted, show_problems},
        plan::words,
    },
    deployment::{Deployment, actor},
    output::Output,
    source::{Source, trusted_keys},
};

pub(crate) async fn run(
    global: &Global,
    wanted: Apply,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let source = Source::open(&wanted.path, trusted_keys(&wanted.trusted_keys)?.as_ref())?;
    let deployment = Deployment::find(global).await?;
    let accepted = &wanted.accept_breaking;
    let Some(applied) = apply_all(&deployment, &source, accepted, output).await? else {
        return Ok(ExitCode::FAILURE);
    };
    output.show(&applied.services, |_| told(&applied, output))?;
    Ok(ExitCode::SUCCESS)
}

/// What became of a tree.
pub(crate) struct AppliedTree {
    tenants: Vec<TenantChange>,
    /// By tenant and name.
    pub(crate) services: Vec<AppliedBundle>,
}

/// Whatever changed or needs somebody, then how much there was.
fn told(applied: &AppliedTree, output: Output) -> String {
    let silent = |bundle: &&AppliedBundle| {
        bundle.applied == Applied::Unchanged && bundle.stage == Stage::Production
    };
    let tenants = applied.tenants.iter().filter_map(|tenant| set_up(tenant, output));
    let mut lines: Vec<String> = tenants.collect();
    let tenants = lines.len();
    let services = &applied.services;
    let shown = services.iter().filter(|bundle| !silent(bundle));
    lines.extend(shown.map(|bundle| describe(bundle, output)));
    let stays =
        |bundle: &&AppliedBundle| matches!(bundle.applied, Applied::Unchanged | Applied::Held);
    let unaffected = services.iter().filter(stays).count();
    let changed = services.len() - unaffected;
    let unaffected = counted(unaffected, "service");
    lines.push(if changed + tenants == 0 {
        output.green(&format!("✓ nothing to change: {unaffected} unaffected"))
    } else {
        format!("{} applied, {unaffected} unaffected", counted(changed, "service"))
    });
    lines.join("\n")
}

fn set_up(tenant: &TenantChange, output: Output) -> Option<String> {
    let name = &tenant.tenant;
    match &tenant.change {
        TenantChangeKind::Added { max_concurrent_runs } => Some(format!(
            "{} tenant {name} created, MAX_CONCURRENT_RUNS {max_concurrent_runs}",
            output.green("+")
        )),
        TenantChangeKind::Changed { settings } => {
            let settings = settings.iter().map(|change| {
                let (old, new) = words::setting(change);
                format!("{} {old} → {new}", change.setting)
            });
            let settings: Vec<String> = settings.collect();
            Some(format!("{} tenant {name} {}", output.yellow("~"), settings.join(", ")))
        }
        TenantChangeKind::Removed { .. } => None,
    }
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

/// Applies all bundles below `path`, or none when any has a problem or breaks consumers that nobody
/// accepted; that is then printed. Bundles that are releases in use already are not inspected.
pub(crate) async fn apply(
    deployment: &Deployment,
    path: &Path,
    accepted: &[ServicePath],
    output: Output,
) -> anyhow::Result<Option<AppliedTree>> {
    apply_all(deployment, &Source::open(path, None)?, accepted, output).await
}

async fn apply_all(
    deployment: &Deployment,
    source: &Source,
    accepted: &[ServicePath],
    output: Output,
) -> anyhow::Result<Option<AppliedTree>> {
    let found = discover(source.folder());
    let (tenants, scope) = (found.tenants.clone(), Scope::of(source.folder(), &found));
    let mut problems = found.diagnostics.clone();
    let outlook = outlook(deployment.server(), found, &scope).await?;
    let mut inspected = Vec::new();
    for pending in outlook.pending {
        let (bundle, models) = (&pending.bundle, pending.models.as_ref());
        let inspection = inspect_models(bundle, Some(&deployment.warehouse), models).await;
        problems.extend(inspection.diagnostics.iter().cloned());
        inspected.push((pending, inspection));
    }
    if problems.iter().any(Diagnostic::is_error) {
        source.name(&mut problems);
        show_problems(&problems, "; nothing was applied", output)?;
        return Ok(None);
    }
    let pending = inspected.iter().map(|(pending, _)| pending);
    if refused(pending, accepted, output)? {
        return Ok(None);
    }
    for tenant in &tenants {
        let settings = TenantSettings { max_concurrent_runs: tenant.config.max_concurrent_runs };
        tenants::ensure(&deployment.store, &tenant.name, &settings).await?;
    }
    let by = By::new(actor(), "cli");
    let mut applied = unaffected(deployment, &outlook.unaffected).await?;
    for (pending, inspection) in inspected {
        let (store, artifacts) = (&deployment.store, deployment.artifacts.as_ref());
        let bundle = &pending.bundle;
        let commit = source.packed_commit().map(str::to_owned).or_else(|| git_commit(bundle));
        let accepts = accepted.contains(&bundle.path);
        let bundle = register(store, artifacts, bundle, inspection, commit, &by, accepts).await?;
        applied.push(bundle);
    }
    applied.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Some(AppliedTree { tenants: outlook.tenants, services: applied }))
}

#[derive(Serialize)]
struct Refused {
    breaking: Vec<Breaking>,
}

#[derive(Serialize)]
struct Breaking {
    service: ServicePath,
    changes: Vec<ConsumerChange>,
}

/// Whether a service would break its consumers and nobody accepts it, which is printed.
fn refused<'a>(
    pending: impl Iterator<Item = &'a PendingBundle>,
    accepted: &[ServicePath],
    output: Output,
) -> anyhow::Result<bool> {
    let (accepting, breaking): (Vec<_>, Vec<_>) = pending
        .filter(|pending| pending.breaks())
        .partition(|pending| accepted.contains(&pending.bundle.path));
    let needed =
        |service: &&ServicePath| accepting.iter().any(|pending| pending.bundle.path == **service);
    for service in accepted.iter().filter(|service| !needed(service)) {
        output.line(format!("{service} breaks no consumer: --accept-breaking was not needed"));
    }
    let breaking: Vec<Breaking> = breaking
        .into_iter()
        .map(|pending| Breaking {
            service: pending.bundle.path.clone(),
            changes: pending.schema.iter().cloned().map(ConsumerChange::from).collect(),
        })
        .collect();
    if breaking.is_empty() {
        return Ok(false);
    }
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
    })?;
    Ok(true)
}

/// What there is to say about bundles that are releases in use already, or are held.
async fn unaffected(
    deployment: &Deployment,
    services: &[UnaffectedService],
) -> anyhow::Result<Vec<AppliedBundle>> {
    let known: BTreeMap<ServicePath, ServiceRecord> = services::list(&deployment.store, None)
        .await?
        .into_iter()
        .map(|service| (service.path.clone(), service))
        .collect();
    let applied = services.iter().map(|service| {
        let (applied, stage) = match service.entry {
            Entry::Stays { stage } => (Applied::Unchanged, stage),
            _ => (Applied::Held, Stage::Archived),
        };
        AppliedBundle {
            path: service.service.clone(),
            release: service.release,
            applied,
            stage,
            next_due_at: known.get(&service.service).and_then(|service| service.next_due_at),
        }
    });
    Ok(applied.collect())
}

/// The commit that the bundle's folder is at; unknown outside a repository or without git.
pub(crate) fn git_commit(bundle: &Bundle) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(&bundle.folder)
        .args(["rev-parse", "--verify", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
