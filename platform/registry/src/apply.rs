//! Applying a tree of bundles: all of it, or nothing.

use std::{collections::BTreeMap, path::Path};

use cameo_bundle::{Diagnostic, TenantConfig, discover};
use cameo_domain::{ReleaseId, ServicePath, Stage};
use cameo_store::{
    By, Store, StoreError,
    limits::{self, RequestLimits},
    releases::{self, Applied},
    services::{self, ServiceRecord},
    tenants::{self, TenantSettings},
};
use serde::{Deserialize, Serialize};

use crate::{
    inspection::inspect_models,
    plan::{
        ConsumerChange, Entry, PendingBundle, RemovedService, Scope, Server, TenantChange,
        UnaffectedService, outlook,
    },
    release::{AppliedBundle, ApplyError, git_commit, register},
    segments::Segments,
    shared::Shared,
};

/// Why pruned services are archived, for the ledger.
const PRUNED: &str = "its bundle is not in the tree any more";

/// What is wanted of a tree.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The folder: of tenants, of one tenant or of one bundle.
    pub root: &'a Path,
    /// How much of the server the folder speaks for.
    pub scope: Option<Scope>,
    /// Services that may break their consumers.
    pub accepted: &'a [ServicePath],
    /// Whether services that are not in the tree any more are archived.
    pub prune: bool,
    /// The commit that the tree came from, where git does not tell it.
    pub commit: Option<&'a str>,
    /// Who applies it.
    pub by: By,
}

/// What became of a tree.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum TreeOutcome {
    /// All of it is applied.
    Applied(AppliedTree),
    /// Nothing was applied: bundles have problems.
    Unsound {
        /// All of them, warnings included.
        problems: Vec<Diagnostic>,
    },
    /// Nothing was applied: consumers would break, and nobody accepted that.
    Breaks {
        /// Which, and how.
        breaking: Vec<Breaking>,
    },
}

/// A tree that was applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppliedTree {
    /// Tenants that are new or have other settings.
    pub tenants: Vec<TenantChange>,
    /// What became of each bundle, by tenant and name.
    pub services: Vec<AppliedBundle>,
    /// Services that were archived, because they are not in the tree any more.
    pub archived: Vec<ArchivedService>,
    /// Services whose breaking was accepted although they break nobody.
    pub accepted_in_vain: Vec<ServicePath>,
}

/// A service that breaks its consumers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Breaking {
    /// Which.
    pub service: ServicePath,
    /// How.
    pub changes: Vec<ConsumerChange>,
}

/// A service that was taken out of use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArchivedService {
    /// Which.
    pub path: ServicePath,
    /// Its releases that were in use; none where it was archived before.
    pub releases: Vec<ReleaseId>,
}

/// Applies all bundles of a tree, or none when any has a problem or breaks consumers that nobody accepted.
/// Bundles that are releases in use already are not inspected.
pub async fn apply(server: Server<'_>, wanted: &Wanted<'_>) -> Result<TreeOutcome, ApplyError> {
    // On the heap: it holds bundles and models, and every caller would hold them as well.
    Box::pin(apply_tree(server, wanted)).await
}

async fn apply_tree(server: Server<'_>, wanted: &Wanted<'_>) -> Result<TreeOutcome, ApplyError> {
    let found = discover(wanted.root);
    let scope = wanted.scope.clone().unwrap_or_else(|| Scope::of(wanted.root, &found));
    let tenants = found.tenants.clone();
    let mut problems = found.diagnostics.clone();
    let outlook = outlook(server, found, &scope).await?;
    let segments = Segments::load(server.store, outlook.pending.iter()).await?;
    let mut inspected = Vec::new();
    let shared = Shared::isolated(server.isolation.clone());
    for pending in outlook.pending {
        let (bundle, models) = (&pending.bundle, pending.models.as_ref());
        let inspection = inspect_models(bundle, Some(server.warehouse), models, &shared).await;
        problems.extend(inspection.diagnostics.iter().cloned());
        problems.extend(segments.problems(&pending));
        inspected.push((pending, inspection));
    }
    if problems.iter().any(Diagnostic::is_error) {
        return Ok(TreeOutcome::Unsound { problems });
    }
    let sealing = |pending: &PendingBundle| !pending.bundle.config.prediction.sensitive.is_empty();
    if !server.seals
        && let Some((pending, _)) = inspected.iter().find(|(pending, _)| sealing(pending))
    {
        return Err(ApplyError::NoMasterKey(pending.bundle.path.clone()));
    }
    let pending = inspected.iter().map(|(pending, _)| pending);
    let accepted_in_vain = match breaking(pending, wanted.accepted) {
        Ok(in_vain) => in_vain,
        Err(breaking) => return Ok(TreeOutcome::Breaks { breaking }),
    };
    for tenant in &tenants {
        let settings = TenantSettings { max_concurrent_runs: tenant.config.max_concurrent_runs };
        tenants::ensure(server.store, &tenant.name, &settings).await?;
        let granted = request_limits(&tenant.config);
        limits::grant(server.store, &tenant.name, granted).await?;
        tenants::grant(server.store, &tenant.name, &tenant.config.access).await?;
    }
    let mut applied = unaffected(server.store, &outlook.unaffected).await?;
    for (pending, inspection) in inspected {
        let bundle = &pending.bundle;
        let commit = wanted.commit.map(str::to_owned).or_else(|| git_commit(bundle));
        let accepts = wanted.accepted.contains(&bundle.path);
        let (store, artifacts) = (server.store, server.artifacts);
        let by = &wanted.by;
        applied.push(register(store, artifacts, bundle, inspection, commit, by, accepts).await?);
    }
    applied.sort_by(|one, other| one.path.cmp(&other.path));
    let removed = if wanted.prune { outlook.removed } else { Vec::new() };
    let archived = prune(server.store, &removed, &wanted.by).await?;
    let tenants = outlook.tenants;
    Ok(TreeOutcome::Applied(AppliedTree { tenants, services: applied, archived, accepted_in_vain }))
}

/// What `tenant.yaml` grants, as the store keeps it.
pub(crate) fn request_limits(config: &TenantConfig) -> RequestLimits {
    let limits = config.limits;
    RequestLimits {
        requests_per_second: limits.requests_per_second,
        burst: limits.burst,
        concurrent_requests: limits.concurrent_requests,
    }
}

/// Takes a service out of use.
pub async fn archive(
    store: &Store,
    path: &ServicePath,
    reason: &str,
    by: &By,
) -> Result<ArchivedService, StoreError> {
    let releases = releases::archive(store, path, Some(reason), by).await?;
    Ok(ArchivedService { path: path.clone(), releases })
}

async fn prune(
    store: &Store,
    removed: &[RemovedService],
    by: &By,
) -> Result<Vec<ArchivedService>, StoreError> {
    let mut archived = Vec::new();
    for service in removed.iter().filter(|service| service.stage != Stage::Archived) {
        archived.push(archive(store, &service.service, PRUNED, by).await?);
    }
    Ok(archived)
}

/// The services whose breaking was accepted in vain, or those that break without being accepted.
fn breaking<'a>(
    pending: impl Iterator<Item = &'a PendingBundle>,
    accepted: &[ServicePath],
) -> Result<Vec<ServicePath>, Vec<Breaking>> {
    let (accepting, breaking): (Vec<_>, Vec<_>) = pending
        .filter(|pending| pending.breaks())
        .partition(|pending| accepted.contains(&pending.bundle.path));
    if !breaking.is_empty() {
        let breaking = breaking.into_iter().map(|pending| Breaking {
            service: pending.bundle.path.clone(),
            changes: pending.schema.iter().cloned().map(ConsumerChange::from).collect(),
        });
        return Err(breaking.collect());
    }
    let needed =
        |service: &&ServicePath| accepting.iter().any(|pending| pending.bundle.path == **service);
    Ok(accepted.iter().filter(|service| !needed(service)).cloned().collect())
}

/// What there is to say about bundles that are releases in use already, or are held.
async fn unaffected(
    store: &Store,
    unaffected: &[UnaffectedService],
) -> Result<Vec<AppliedBundle>, StoreError> {
    let known: BTreeMap<ServicePath, ServiceRecord> = services::list(store, None)
        .await?
        .into_iter()
        .map(|service| (service.path.clone(), service))
        .collect();
    let applied = unaffected.iter().map(|service| {
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
