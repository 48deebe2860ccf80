//! What a plan says: plain values, to be printed, sent or commented with.

use std::borrow::Cow;

use cameo_bundle::Diagnostic;
use cameo_domain::{GenerationId, ReleaseId, ServicePath, Sha256, Stage, TenantName};
use cameo_pipeline::StepView;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    contract::SchemaChange, entry::Entry, macros::MacroChange, model::ModelFact, sample::SampleRun,
    settings::SettingChange, text::TextChange,
};
use crate::segments::SegmentChange;

/// What applying a tree would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangePlan {
    /// How much, in numbers.
    pub summary: Summary,
    /// Tenants that are new, have other settings or are gone.
    pub tenants: Vec<TenantChange>,
    /// Services that are new or change.
    pub services: Vec<ServiceChange>,
    /// Services that are no longer in the tree.
    pub removed: Vec<RemovedService>,
    /// Macros that changed, and whom they reach.
    pub macros: Vec<MacroChange>,
    /// Services that stay as they are.
    pub unaffected: Vec<UnaffectedService>,
    /// What is allowed and yet probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// A plan in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// New services.
    pub add: usize,
    /// Services with another release.
    pub change: usize,
    /// Services that `apply --prune` would archive.
    pub archive: usize,
    /// Services that stay as they are.
    pub unaffected: usize,
    /// Tenants that are new, or have other settings.
    pub tenants: usize,
    /// Services of which a consumer may fail: they are applied only with an acknowledgement.
    pub breaking: Vec<ServicePath>,
}

impl ChangePlan {
    /// Whether applying the tree would change anything.
    #[must_use]
    pub fn changes(&self) -> bool {
        let Summary { add, change, archive, tenants, .. } = &self.summary;
        add + change + archive + tenants > 0
    }

    /// Adds the plan of further bundles. What both tell of a tenant or a macro is told once.
    pub fn add(&mut self, other: Self) {
        let Summary { add, change, archive, unaffected, tenants: _, breaking } = other.summary;
        self.summary.add += add;
        self.summary.change += change;
        self.summary.archive += archive;
        self.summary.unaffected += unaffected;
        self.summary.breaking.extend(breaking);
        for tenant in other.tenants {
            if !self.tenants.contains(&tenant) {
                self.tenants.push(tenant);
                self.summary.tenants += 1;
            }
        }
        for found in other.macros {
            match self.macros.iter_mut().find(|known| known.name == found.name) {
                Some(known) => known.reaches.extend(found.reaches),
                None => self.macros.push(found),
            }
        }
        self.services.extend(other.services);
        self.removed.extend(other.removed);
        self.unaffected.extend(other.unaffected);
        self.warnings.extend(other.warnings);
    }
}

/// A tenant that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantChange {
    /// Which.
    pub tenant: TenantName,
    /// How.
    #[serde(flatten)]
    pub change: TenantChangeKind,
}

/// How a tenant changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TenantChangeKind {
    /// It is new.
    Added {
        /// How many of its runs may be under way at once.
        max_concurrent_runs: u32,
        /// Its other settings.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        settings: Vec<SettingChange>,
    },
    /// It has other settings.
    Changed {
        /// Which.
        settings: Vec<SettingChange>,
    },
    /// Its folder is gone.
    Removed {
        /// How many services it still has.
        services: usize,
    },
}

/// A service that is new or changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceChange {
    /// Which.
    pub service: ServicePath,
    /// Its release then.
    pub release: ReleaseId,
    /// The version of that release.
    pub version: String,
    /// What it was compared with; none where the service is new.
    pub compared_with: Option<ComparedRelease>,
    /// Where the release goes.
    pub entry: Entry,
    /// The parts that differ, by hash.
    pub parts: Vec<PartChange>,
    /// The settings that differ.
    pub settings: Vec<SettingChange>,
    /// The queries that differ.
    pub texts: Vec<TextChange>,
    /// The macros that changed below its queries.
    pub macros: Vec<String>,
    /// The segments that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentChange>,
    /// The facts about a new model, or what differs about a changed one.
    pub model: Vec<ModelFact>,
    /// The columns of a new service.
    pub columns: Vec<cameo_domain::Column>,
    /// The difference for consumers.
    pub schema: Vec<ConsumerChange>,
    /// What a run would read.
    pub reads: Reads,
    /// Each step with what it takes and gives.
    pub steps: Vec<StepView>,
    /// Its first customers; none where none was asked for.
    pub sample: Option<SampleRun>,
}

impl ServiceChange {
    /// Whether a consumer may fail.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.schema.iter().any(|change| change.breaking)
    }
}

/// The release that another is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedRelease {
    /// Which.
    pub release: ReleaseId,
    /// Its version.
    pub version: String,
    /// Where it stands.
    pub stage: Stage,
}

/// A part of a bundle that differs; none on a side that does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// `config.yaml`, `features.sql`, `predictions.sql`, `items`, `macros`, `CARD.md`, `model` or `preprocess`.
    pub part: Cow<'static, str>,
    /// Its hash now.
    pub old: Option<Sha256>,
    /// Its hash then.
    pub new: Option<Sha256>,
}

/// A difference that consumers of the API and of the table may notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerChange {
    /// What differs.
    #[serde(flatten)]
    pub change: SchemaChange,
    /// Whether a consumer that works now may fail.
    pub breaking: bool,
    /// What consumers notice.
    pub consequence: Cow<'static, str>,
}

impl From<SchemaChange> for ConsumerChange {
    fn from(change: SchemaChange) -> Self {
        Self { breaking: change.breaks(), consequence: change.consequence().into(), change }
    }
}

/// What a run reads, at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Rows.
    pub rows_estimated: Option<u64>,
    /// Stored bytes.
    pub bytes_estimated: Option<u64>,
    /// The newest modification of what is read.
    pub watermark: Option<DateTime<Utc>>,
}

/// A service that the server has and the tree has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedService {
    /// Which.
    pub service: ServicePath,
    /// Its release.
    pub release: ReleaseId,
    /// Where that stands.
    pub stage: Stage,
    /// What readers are served, and would still be.
    pub generation: Option<GenerationId>,
}

/// A service that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnaffectedService {
    /// Which.
    pub service: ServicePath,
    /// The release that its bundle is.
    pub release: ReleaseId,
    /// Why nothing changes: it is in use, or it is held.
    pub entry: Entry,
}
