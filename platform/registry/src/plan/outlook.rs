//! The first look: which bundles are releases that the server has already. Only hashes are compared,
//! so that a large tree with few changes costs little (W14).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use cameo_bundle::{
    ArtifactStore, Bundle, Diagnostic, Discovery, ReleaseManifest, Tenant, TenantConfig, artifact,
};
use cameo_domain::{GroupAccess, PredictionSchema, ServicePath, Sha256, Stage, TenantName};
use cameo_isolation::Isolation;
use cameo_store::{
    Store, StoreError,
    limits::{self, RequestLimits},
    lookup::{self, ServedGeneration},
    releases,
    services::{self, ServiceRecord},
    tenants::{self, TenantRecord},
};
use cameo_warehouse::Warehouse;

use super::{
    change::{RemovedService, TenantChange, TenantChangeKind, UnaffectedService},
    contract::{SchemaChange, schema_changes},
    entry::Entry,
    settings::SettingChange,
};
use crate::{apply::request_limits, inspection::Models};

/// What a tree is compared with.
#[derive(Clone, Copy)]
pub struct Server<'a> {
    /// Releases and predictions.
    pub store: &'a Store,
    /// Models of releases.
    pub artifacts: &'a ArtifactStore,
    /// Where features come from.
    pub warehouse: &'a Arc<dyn Warehouse>,
    /// Whether it can seal sensitive predictions.
    pub seals: bool,
    /// Where the models of bundles work.
    pub isolation: &'a Isolation,
}

/// How much of a server a tree speaks for: what is missing there was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All tenants.
    Tenants,
    /// All services of one tenant.
    Tenant(TenantName),
    /// Its bundles alone; nothing was removed.
    Bundles,
}

impl Scope {
    /// What the folder speaks for in which `found` was discovered.
    #[must_use]
    pub fn of(root: &Path, found: &Discovery) -> Self {
        if found.bundles.iter().any(|bundle| bundle.folder == root) {
            return Self::Bundles;
        }
        let tenant = found.tenants.iter().find(|tenant| tenant.folder == root);
        tenant.map_or(Self::Tenants, |tenant| Self::Tenant(tenant.name.clone()))
    }

    fn holds(&self, tenant: &TenantName) -> bool {
        match self {
            Self::Tenants => true,
            Self::Tenant(name) => name == tenant,
            Self::Bundles => false,
        }
    }
}

/// What a tree would change, before anything of it was inspected.
#[derive(Debug)]
pub struct Outlook {
    /// Tenants that are new, have other settings or are gone.
    pub tenants: Vec<TenantChange>,
    /// Bundles that are no release in use.
    pub pending: Vec<PendingBundle>,
    /// Services that are no longer in the tree.
    pub removed: Vec<RemovedService>,
    /// Services that stay as they are.
    pub unaffected: Vec<UnaffectedService>,
    /// What the bundles' files were warned of.
    pub warnings: Vec<Diagnostic>,
}

/// A bundle that would become another release.
#[derive(Debug)]
pub struct PendingBundle {
    /// Its files.
    pub bundle: Bundle,
    /// Its models; none where one could not be read, which inspection reports.
    pub models: Option<Models>,
    /// The release that it is.
    pub manifest: ReleaseManifest,
    /// Where the release goes.
    pub entry: Entry,
    /// The service as it is: its release in production, else its latest.
    pub current: Option<ServiceRecord>,
    /// What is served now.
    pub served: Option<ServedGeneration>,
    /// The difference for consumers.
    pub schema: Vec<SchemaChange>,
}

impl PendingBundle {
    /// Whether a consumer may fail.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.schema.iter().any(SchemaChange::breaks)
    }
}

/// The columns that consumers read now: those of the release in production, or where none is, of the
/// generation that is still served. None where nobody has read anything.
pub async fn contract(
    store: &Store,
    path: &ServicePath,
) -> Result<Option<PredictionSchema>, StoreError> {
    let current = services::find(store, &path.tenant, &path.service).await?;
    let served = lookup::current(store, Some(&path.tenant)).await?;
    let served = served.iter().find(|served| served.path == *path);
    Ok(contract_of(current.as_ref(), served).cloned())
}

fn contract_of<'a>(
    current: Option<&'a ServiceRecord>,
    served: Option<&'a ServedGeneration>,
) -> Option<&'a PredictionSchema> {
    let production = current.filter(|current| current.stage == Stage::Production);
    production.map(|current| &current.schema).or(served.map(|served| &served.schema))
}

/// Compares the hashes of a tree with the releases of a server.
///
/// # Errors
/// [`StoreError`] where the control plane cannot be asked.
pub async fn outlook(
    server: Server<'_>,
    found: Discovery,
    scope: &Scope,
) -> Result<Outlook, StoreError> {
    let Discovery { tenants: found_tenants, bundles, diagnostics: warnings } = found;
    let known: BTreeMap<ServicePath, ServiceRecord> = services::list(server.store, None)
        .await?
        .into_iter()
        .map(|service| (service.path.clone(), service))
        .collect();
    let mut published: BTreeMap<ServicePath, ServedGeneration> =
        lookup::current(server.store, None)
            .await?
            .into_iter()
            .map(|generation| (generation.path.clone(), generation))
            .collect();
    let in_tree: BTreeSet<ServicePath> = bundles.iter().map(|bundle| bundle.path.clone()).collect();
    let removed = removed(&known, &in_tree, scope);
    let tenants = tenant_changes(server.store, &found_tenants, &removed, scope).await?;
    let mut outlook = Outlook { tenants, pending: vec![], removed, unaffected: vec![], warnings };
    for bundle in bundles {
        let (current, shown) = (known.get(&bundle.path), published.remove(&bundle.path));
        outlook.place(server.store, bundle, current, shown).await?;
    }
    Ok(outlook)
}

impl Outlook {
    async fn place(
        &mut self,
        store: &Store,
        bundle: Bundle,
        current: Option<&ServiceRecord>,
        served: Option<ServedGeneration>,
    ) -> Result<(), StoreError> {
        let models = read_models(&bundle).await;
        let hash = |models: &Models| {
            (Sha256::of(&models.model), models.preprocess.as_ref().map(Sha256::of))
        };
        let (model, preprocess) = models.as_ref().map_or((Sha256::of(""), None), hash);
        let manifest = ReleaseManifest::new(&bundle, model, preprocess, None);
        let (path, release) = (bundle.path.clone(), manifest.id());
        let in_use = current
            .filter(|current| current.release == release && current.stage != Stage::Archived);
        let entry = if let Some(current) = in_use {
            Entry::Stays { stage: current.stage }
        } else {
            let standing = releases::standing(store, &path.tenant, &path.service, release).await?;
            Entry::of(&standing, &manifest.release)
        };
        if !entry.changes() && models.is_some() {
            self.unaffected.push(UnaffectedService { service: path, release, entry });
            return Ok(());
        }
        let contract = contract_of(current, served.as_ref());
        let schema = contract.map_or_else(Vec::new, |old| schema_changes(old, &manifest.schema));
        let current = current.cloned();
        self.pending.push(PendingBundle {
            bundle,
            models,
            manifest,
            entry,
            current,
            served,
            schema,
        });
        Ok(())
    }
}

async fn read_models(bundle: &Bundle) -> Option<Models> {
    let config = &bundle.config;
    let model = read(&config.model.model_path.value, &bundle.folder).await?;
    let preprocess = match &config.features.preprocess_object_path {
        Some(location) => Some(read(&location.value, &bundle.folder).await?),
        None => None,
    };
    Some(Models { model, preprocess })
}

async fn read(location: &str, folder: &Path) -> Option<Vec<u8>> {
    artifact::fetch(location, folder).await.ok().map(|bytes| bytes.to_vec())
}

/// Services in use that the tree would hold, and does not.
fn removed(
    known: &BTreeMap<ServicePath, ServiceRecord>,
    in_tree: &BTreeSet<ServicePath>,
    scope: &Scope,
) -> Vec<RemovedService> {
    let missing = known.values().filter(|service| {
        scope.holds(&service.path.tenant)
            && service.stage != Stage::Archived
            && !in_tree.contains(&service.path)
    });
    missing
        .map(|service| RemovedService {
            service: service.path.clone(),
            release: service.release,
            stage: service.stage,
            generation: service.current_generation,
        })
        .collect()
}

async fn tenant_changes(
    store: &Store,
    found: &[Tenant],
    removed: &[RemovedService],
    scope: &Scope,
) -> Result<Vec<TenantChange>, StoreError> {
    let known = tenants::list(store).await?;
    let granted = limits::granted(store).await?;
    let mut changes = Vec::new();
    for tenant in found {
        let change = match known.iter().find(|known| known.tenant == tenant.name) {
            None => TenantChangeKind::Added {
                max_concurrent_runs: tenant.config.max_concurrent_runs,
                settings: settings_beside_runs(None, RequestLimits::default(), &tenant.config),
            },
            Some(known) => {
                let limits = granted.tenants.iter().find(|granted| granted.tenant == tenant.name);
                let limits = limits.map(|granted| granted.limits).unwrap_or_default();
                match settings(known, limits, &tenant.config) {
                    settings if settings.is_empty() => continue,
                    settings => TenantChangeKind::Changed { settings },
                }
            }
        };
        changes.push(TenantChange { tenant: tenant.name.clone(), change });
    }
    for known in known.iter().filter(|known| scope.holds(&known.tenant)) {
        let services =
            removed.iter().filter(|removed| removed.service.tenant == known.tenant).count();
        if services > 0 && found.iter().all(|tenant| tenant.name != known.tenant) {
            let change = TenantChangeKind::Removed { services };
            changes.push(TenantChange { tenant: known.tenant.clone(), change });
        }
    }
    Ok(changes)
}

fn settings(
    known: &TenantRecord,
    limits: RequestLimits,
    wanted: &TenantConfig,
) -> Vec<SettingChange> {
    let mut settings = Vec::new();
    let (old, new) = (known.max_concurrent_runs, wanted.max_concurrent_runs);
    if old != new {
        settings.push(SettingChange {
            section: cameo_bundle::TENANT_FILE.into(),
            setting: "MAX_CONCURRENT_RUNS".to_owned(),
            old: Some(old.into()),
            new: Some(new.into()),
        });
    }
    settings.extend(settings_beside_runs(Some(known), limits, wanted));
    settings
}

/// The settings whose defaults need no word where a tenant is new.
fn settings_beside_runs(
    known: Option<&TenantRecord>,
    limits: RequestLimits,
    wanted: &TenantConfig,
) -> Vec<SettingChange> {
    let none = GroupAccess::default();
    let access = known.map_or(&none, |known| &known.access);
    let mut settings = access_changes(access, &wanted.access);
    settings.extend(limit_changes(limits, request_limits(wanted)));
    settings
}

fn limit_changes(old: RequestLimits, new: RequestLimits) -> Vec<SettingChange> {
    let limits = [
        ("REQUESTS_PER_SECOND", old.requests_per_second, new.requests_per_second),
        ("BURST", old.burst, new.burst),
        ("CONCURRENT_REQUESTS", old.concurrent_requests, new.concurrent_requests),
    ];
    let changed = limits.into_iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(key, old, new)| SettingChange {
            section: cameo_bundle::TENANT_FILE.into(),
            setting: format!("LIMITS.{key}"),
            old: old.map(Into::into),
            new: new.map(Into::into),
        })
        .collect()
}

/// Which groups get or lose what.
fn access_changes(old: &GroupAccess, new: &GroupAccess) -> Vec<SettingChange> {
    let told = |groups: &[String]| (!groups.is_empty()).then(|| groups.into());
    let lists = old.lists().into_iter().zip(new.lists());
    let changed = lists.filter(|((_, old, _), (_, new, _))| old != new);
    changed
        .map(|((key, old, _), (_, new, _))| SettingChange {
            section: cameo_bundle::TENANT_FILE.into(),
            setting: format!("ACCESS.{key}"),
            old: told(old),
            new: told(new),
        })
        .collect()
}
