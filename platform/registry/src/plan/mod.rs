//! What applying a tree of bundles would change: the values behind `cameo plan`, and behind a comment
//! on a pull request.
//!
//! [`outlook`] compares hashes alone and tells what is pending; [`plan`] then inspects what is pending,
//! compares it with what is in production and runs it on its first customers, without writing anything.

mod change;
mod contract;
mod distribution;
mod entry;
mod macros;
mod model;
mod outlook;
mod sample;
mod settings;
mod text;

use std::sync::Arc;

use cameo_bundle::{Diagnostic, Discovery, MacroUse, ReleaseManifest};
use cameo_domain::{ServicePath, Sha256};
use cameo_isolation::Allowance;
use cameo_pipeline::{ModelFiles, Plan, RunError, model_memory, start_host};
use cameo_store::StoreError;
use cameo_warehouse::ReadOptions;
use serde::Serialize;

pub use change::{
    ChangePlan, ComparedRelease, ConsumerChange, PartChange, Reads, RemovedService, ServiceChange,
    Summary, TenantChange, TenantChangeKind, UnaffectedService,
};
pub use contract::{SchemaChange, acknowledgement, schema_changes};
pub use distribution::{
    BARS, Distribution, Numbers, PSI_ROWS_MIN, Range, Values, WORDS_MAX, Word, range_of,
    stability_index,
};
pub use entry::Entry;
pub use macros::MacroChange;
pub use model::ModelFact;
pub use outlook::{Outlook, PendingBundle, Scope, Server, contract, outlook};
pub use sample::{
    ComparedGeneration, PredictionSample, SAMPLE_CUSTOMERS, SAMPLE_CUSTOMERS_MAX, SampleRun,
    Sampled,
};
pub use settings::{SettingChange, setting_changes};
pub use text::{DIFF_LINES_MAX, DiffLine, TextChange, text_change};

pub use crate::segments::{SegmentChange, SegmentChangeKind};
use crate::{
    inspection::{inspect_models, parameters},
    segments::Segments,
    shared::Shared,
};

/// Rows per batch of a sample: as in a run.
const BATCH_ROWS: usize = 16_384;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Something in the bundles is wrong; warnings are among the problems.
    #[error("{} problem(s) in the bundles; nothing can be planned", .0.len())]
    Unsound(Vec<Diagnostic>),
    /// A release whose steps do not fit together although each was sound, or a warehouse that does not
    /// answer.
    #[error("{path} cannot be planned")]
    Run {
        /// Which service.
        path: ServicePath,
        /// Why.
        source: RunError,
    },
    /// The control plane cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Plans a tree: what is pending is inspected, compared and run on its first `sample_customers`, none
/// where that is 0.
///
/// # Errors
/// See [`PlanError`].
pub async fn plan(
    server: Server<'_>,
    found: Discovery,
    scope: &Scope,
    sample_customers: u32,
) -> Result<ChangePlan, PlanError> {
    // On the heap: it holds a whole run, and every caller would hold it as well.
    Box::pin(compared(server, found, scope, sample_customers)).await
}

async fn compared(
    server: Server<'_>,
    found: Discovery,
    scope: &Scope,
    sample_customers: u32,
) -> Result<ChangePlan, PlanError> {
    if found.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(PlanError::Unsound(found.diagnostics));
    }
    let outlook = outlook(server, found, scope).await?;
    let Outlook { tenants, pending, removed, unaffected, mut warnings } = outlook;
    let segments = Segments::load(server.store, pending.iter()).await?;
    let mut services = Vec::new();
    let shared = Shared::isolated(server.isolation.clone());
    for pending in pending {
        let (bundle, models) = (&pending.bundle, pending.models.as_ref());
        let found = inspect_models(bundle, Some(server.warehouse), models, &shared).await;
        let mut problems = found.diagnostics;
        problems.extend(segments.problems(&pending));
        let sound = !problems.iter().any(Diagnostic::is_error);
        warnings.extend(problems);
        if sound {
            let changes = segments.changes(&pending);
            services.push(service_change(server, pending, changes, sample_customers).await?);
        }
    }
    if warnings.iter().any(Diagnostic::is_error) {
        return Err(PlanError::Unsound(warnings));
    }
    let macros = services.iter().map(|service| (&service.service, service.macros.as_slice()));
    let macros = macros::reach(macros);
    let summary = summary(&tenants, &services, removed.len(), unaffected.len());
    Ok(ChangePlan { summary, tenants, services, removed, macros, unaffected, warnings })
}

fn summary(
    tenants: &[TenantChange],
    services: &[ServiceChange],
    archive: usize,
    unaffected: usize,
) -> Summary {
    let new = services.iter().filter(|service| service.compared_with.is_none()).count();
    let gone = |tenant: &&TenantChange| matches!(tenant.change, TenantChangeKind::Removed { .. });
    let breaking = services.iter().filter(|service| service.breaks());
    Summary {
        add: new,
        change: services.len() - new,
        archive,
        unaffected,
        tenants: tenants.iter().filter(|tenant| !gone(tenant)).count(),
        breaking: breaking.map(|service| service.service.clone()).collect(),
    }
}

async fn service_change(
    server: Server<'_>,
    pending: PendingBundle,
    segments: Vec<SegmentChange>,
    sample_customers: u32,
) -> Result<ServiceChange, PlanError> {
    let PendingBundle { bundle, models, manifest, entry, current, served, schema } = pending;
    let models = models.unwrap_or_default();
    let before = current.as_ref().and_then(|current| {
        // A manifest of a later version of Cameo cannot be compared, only replaced.
        serde_json::from_value::<ReleaseManifest>(current.manifest.clone()).ok()
    });
    let old_macros = before.as_ref().map_or(&[][..], |old| &old.macros);
    let macros = macros::changed(old_macros, &manifest.macros);
    let model_changed = before
        .as_ref()
        .is_none_or(|old| (old.model, old.preprocess) != (manifest.model, manifest.preprocess));
    let model = if model_changed {
        model::facts(&models, before.as_ref(), server.artifacts).await
    } else {
        Vec::new()
    };
    let path = bundle.path.clone();
    let failed = |source| PlanError::Run { path: path.clone(), source };
    let files = ModelFiles { model: models.model, preprocess: models.preprocess };
    let (parameters, warehouse) = (parameters(&bundle), server.warehouse.as_ref());
    let host = start_host(server.isolation, allowance(&manifest)).await.map_err(failed)?;
    let files = Arc::new(files);
    let prepared = Plan::prepare(manifest.clone(), files, warehouse, parameters, host).await;
    let prepared = Arc::new(prepared.map_err(failed)?);
    let sample = if sample_customers == 0 {
        None
    } else {
        let read = read_options(&manifest);
        let predictions_sql = manifest.predictions_sql.as_deref();
        let from = (warehouse, sample_customers, &read);
        let beside = (server.store, served.as_ref());
        Some(sample::run(&prepared, &manifest.schema, predictions_sql, from, beside).await?)
    };
    let description = prepared.description();
    Ok(ServiceChange {
        release: manifest.id(),
        version: manifest.version.clone(),
        compared_with: current.map(|current| ComparedRelease {
            release: current.release,
            version: current.version,
            stage: current.stage,
        }),
        entry,
        parts: before.as_ref().map(|old| parts(old, &manifest)).unwrap_or_default(),
        settings: before.as_ref().map(|old| setting_changes(old, &manifest)).unwrap_or_default(),
        texts: before.as_ref().map(|old| texts(old, &manifest)).unwrap_or_default(),
        macros,
        segments,
        model,
        columns: if before.is_none() {
            manifest.schema.columns().cloned().collect()
        } else {
            Vec::new()
        },
        schema: schema.into_iter().map(ConsumerChange::from).collect(),
        reads: Reads {
            rows_estimated: description.rows_estimated,
            bytes_estimated: description.bytes_estimated,
            watermark: prepared.watermark(),
        },
        steps: prepared.steps(),
        sample,
        service: bundle.path,
    })
}

/// What the model of a sample may use: as much memory as in a run, and the time that somebody waits.
fn allowance(manifest: &ReleaseManifest) -> Allowance {
    let memory_bytes = model_memory(manifest.run.memory_limit_bytes());
    Allowance { memory_bytes, threads: 1, ..Allowance::default() }
}

fn read_options(manifest: &ReleaseManifest) -> ReadOptions {
    ReadOptions {
        memory_limit_bytes: manifest.run.memory_limit_bytes(),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        partitions: 1,
        batch_rows: BATCH_ROWS,
    }
}

/// The queries of a release by the names of their files.
fn queries(manifest: &ReleaseManifest) -> [(&'static str, Option<&str>); 3] {
    [
        ("features.sql", Some(manifest.feature_sql.as_str())),
        ("predictions.sql", manifest.predictions_sql.as_deref()),
        ("items", manifest.ranking.as_ref().map(|ranking| ranking.item_sql.as_str())),
    ]
}

/// The parts that differ, by hash.
fn parts(old: &ReleaseManifest, new: &ReleaseManifest) -> Vec<PartChange> {
    let change = |part: &'static str, old: Option<Sha256>, new: Option<Sha256>| {
        (old != new).then(|| PartChange { part: part.into(), old, new })
    };
    let sql = |query: Option<&str>| query.map(Sha256::of);
    let mut parts: Vec<_> = change("config.yaml", Some(old.hashes.config), Some(new.hashes.config))
        .into_iter()
        .collect();
    for ((part, old), (_, new)) in queries(old).into_iter().zip(queries(new)) {
        parts.extend(change(part, sql(old), sql(new)));
    }
    parts.extend(change("macros", listed(&old.macros), listed(&new.macros)));
    parts.extend(change("CARD.md", written(old.card.as_ref()), written(new.card.as_ref())));
    parts.extend(change("model", Some(old.model), Some(new.model)));
    parts.extend(change("preprocess", old.preprocess, new.preprocess));
    parts
}

fn listed(macros: &Vec<MacroUse>) -> Option<Sha256> {
    written((!macros.is_empty()).then_some(macros).as_ref())
}

fn written(part: Option<&impl Serialize>) -> Option<Sha256> {
    part.map(|part| Sha256::of(serde_json::to_string(part).unwrap_or_default()))
}

fn texts(old: &ReleaseManifest, new: &ReleaseManifest) -> Vec<TextChange> {
    fn card(manifest: &ReleaseManifest) -> (&'static str, Option<&str>) {
        ("CARD.md", manifest.card.as_ref().map(|card| card.text.as_str()))
    }
    let both = queries(old).into_iter().zip(queries(new)).chain([(card(old), card(new))]);
    both.filter_map(|((file, old), (_, new))| {
        text_change(file, old.unwrap_or_default(), new.unwrap_or_default())
    })
    .collect()
}
