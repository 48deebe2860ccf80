//! Segments of bundles beside the server: what other services predict, and what is defined already.

use std::collections::{BTreeMap, BTreeSet};

use cameo_bundle::Diagnostic;
use cameo_domain::{PredictionSchema, SegmentName, ServiceName, Stage, TenantName};
use cameo_segment::{Catalog, Definition, DefinitionError};
use cameo_store::{
    Store, StoreError,
    segments::{self, SegmentRecord, place},
    services,
};
use serde::{Deserialize, Serialize};

use crate::plan::{Entry, PendingBundle};

/// A segment that applying a bundle changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentChange {
    /// Which.
    pub segment: SegmentName,
    /// How.
    #[serde(flatten)]
    pub change: SegmentChangeKind,
}

/// How a segment changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SegmentChangeKind {
    /// The bundle defines it from then on.
    Added {
        /// As what.
        definition: Definition,
    },
    /// The bundle defines it otherwise than now.
    Changed {
        /// As what now.
        old: Definition,
        /// As what then.
        new: Definition,
    },
    /// The bundle no longer has it.
    Removed,
    /// It is defined elsewhere, and names what the service would no longer predict: its last members stay.
    Stops {
        /// Why no others can be made.
        reason: String,
    },
}

/// What the tenants of a tree have.
pub(crate) struct Segments {
    tenants: BTreeMap<TenantName, Standing>,
}

struct Standing {
    /// What each service predicts now: its release in production, else its latest.
    now: BTreeMap<ServiceName, PredictionSchema>,
    /// What each service predicts once the tree is applied.
    then: BTreeMap<ServiceName, PredictionSchema>,
    /// Which services of the tree declare a segment of the name.
    declared: BTreeMap<SegmentName, Vec<ServiceName>>,
    segments: Vec<SegmentRecord>,
}

impl Segments {
    /// Asks the server about the tenants of what is pending.
    pub(crate) async fn load<'a>(
        store: &Store,
        pending: impl Iterator<Item = &'a PendingBundle>,
    ) -> Result<Self, StoreError> {
        let mut of_tenant: BTreeMap<&TenantName, Vec<&PendingBundle>> = BTreeMap::new();
        for bundle in pending {
            of_tenant.entry(&bundle.manifest.path.tenant).or_default().push(bundle);
        }
        let mut tenants = BTreeMap::new();
        for (tenant, pending) in of_tenant {
            let services = services::list(store, Some(tenant)).await?.into_iter();
            let now: BTreeMap<_, _> =
                services.map(|record| (record.path.service, record.schema)).collect();
            let mut then = now.clone();
            let mut declared: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for bundle in pending {
                let manifest = &bundle.manifest;
                for segment in &manifest.segments {
                    let services = declared.entry(segment.name.clone()).or_default();
                    services.push(manifest.path.service.clone());
                }
                // What does not enter production leaves in place what the others can name.
                if enters_production(bundle) || !then.contains_key(&manifest.path.service) {
                    then.insert(manifest.path.service.clone(), manifest.schema.clone());
                }
            }
            let segments = segments::list(store, tenant).await?;
            tenants.insert(tenant.clone(), Standing { now, then, declared, segments });
        }
        Ok(Self { tenants })
    }

    /// What is wrong with the segments of a bundle, beside what the other services of its tenant predict
    /// and beside the segments that are defined elsewhere.
    pub(crate) fn problems(&self, pending: &PendingBundle) -> Vec<Diagnostic> {
        let bundle = &pending.bundle;
        let Some(standing) = self.tenants.get(&bundle.path.tenant) else { return Vec::new() };
        let (source, service) = (bundle.config_source(), &bundle.path.service);
        let catalog = standing.catalog(pending);
        let mut problems = Vec::new();
        for section in &bundle.config.segments {
            let declared = &section.declared;
            if let Err(error) = declared.draft.read(&catalog) {
                problems.push(section.problem(&source, &error));
            }
            problems.extend(
                standing
                    .other_place(&declared.name, service)
                    .map(|place| section.taken(&source, &place)),
            );
        }
        problems
    }

    /// What a bundle changes about segments, its own first.
    pub(crate) fn changes(&self, pending: &PendingBundle) -> Vec<SegmentChange> {
        let path = &pending.bundle.path;
        let Some(standing) = self.tenants.get(&path.tenant) else { return Vec::new() };
        let (own, others): (Vec<_>, Vec<_>) = standing
            .segments
            .iter()
            .partition(|known| known.service.as_ref() == Some(&path.service));
        let mut changes = Vec::new();
        let mut declared = BTreeSet::new();
        for segment in &pending.manifest.segments {
            declared.insert(&segment.name);
            // What does not fit was refused before.
            let Ok(new) = segment.read(&path.service, &pending.manifest.schema) else { continue };
            let new = new.definition;
            let old = own.iter().find(|known| known.segment == segment.name);
            let change = match old.map(|known| &known.definition) {
                None => SegmentChangeKind::Added { definition: new },
                Some(old) if *old == new => continue,
                Some(old) => SegmentChangeKind::Changed { old: old.clone(), new },
            };
            changes.push(SegmentChange { segment: segment.name.clone(), change });
        }
        for gone in own.iter().filter(|known| !declared.contains(&known.segment)) {
            let change = SegmentChangeKind::Removed;
            changes.push(SegmentChange { segment: gone.segment.clone(), change });
        }
        if enters_production(pending) {
            let naming = others.into_iter().filter(|known| known.services.contains(&path.service));
            changes.extend(naming.filter_map(|known| standing.stops(known)));
        }
        changes
    }
}

impl Standing {
    /// What the segments of a bundle may name.
    fn catalog(&self, pending: &PendingBundle) -> Catalog {
        let service = &pending.bundle.path.service;
        let mut schemas = self.then.clone();
        schemas.insert(service.clone(), pending.manifest.schema.clone());
        Catalog::new(schemas).at_home(service.clone())
    }

    /// Where else a segment of the name is defined, or is about to be.
    fn other_place(&self, name: &SegmentName, own: &ServiceName) -> Option<String> {
        let known = self.segments.iter().find(|known| known.segment == *name);
        let known = known.filter(|known| known.service.as_ref() != Some(own));
        let beside = self.declared.get(name).into_iter().flatten().find(|service| *service != own);
        known.map(SegmentRecord::place).or_else(|| Some(place(Some(beside?))))
    }

    /// A segment that can be read now, and no longer then.
    fn stops(&self, known: &SegmentRecord) -> Option<SegmentChange> {
        let read = |schemas: &BTreeMap<_, _>| -> Result<(), DefinitionError> {
            known.definition.read(&Catalog::new(schemas.clone())).map(|_| ())
        };
        read(&self.now).ok()?;
        let reason = read(&self.then).err()?.to_string();
        let change = SegmentChangeKind::Stops { reason };
        Some(SegmentChange { segment: known.segment.clone(), change })
    }
}

fn enters_production(pending: &PendingBundle) -> bool {
    matches!(pending.entry, Entry::Enters { stage: Stage::Production, .. })
}
