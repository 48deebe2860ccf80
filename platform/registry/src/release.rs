//! A bundle becomes a release.

use std::process::Command;

use cameo_bundle::{ArtifactError, ArtifactStore, Bundle, ReleaseManifest};
use cameo_domain::{ReleaseId, ScheduleError, ServicePath, Sha256, Stage};
use cameo_store::{
    By, Store, StoreError,
    releases::{self, Applied, NewRelease, ReleaseHashes},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    inspection::Inspection,
    plan::{Entry, SchemaChange, acknowledgement, contract, schema_changes},
};

/// What became of one bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppliedBundle {
    /// Which service.
    pub path: ServicePath,
    /// The release that the bundle is.
    pub release: ReleaseId,
    /// What applying it did.
    pub applied: Applied,
    /// Where the release stands now.
    pub stage: Stage,
    /// When the service is due next; nothing is due without a release in production.
    pub next_due_at: Option<DateTime<Utc>>,
}

/// Why a bundle did not become a release.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The server could not seal what the bundle declares sensitive.
    #[error(
        "{0} has sensitive predictions, and this server has no master key to seal them with; start it with \
         --master-key-file (`cameo keys new-master` makes one), or remove SENSITIVE"
    )]
    NoMasterKey(ServicePath),
    /// The inspection found no model to store.
    #[error("the model of {0} could not be read")]
    NoModel(ServicePath),
    /// The artifact store refused a file.
    #[error("could not store the files of {path}")]
    Artifact {
        /// Whose model.
        path: ServicePath,
        /// Why.
        source: ArtifactError,
    },
    /// Consumers of the service may fail, and nobody has accepted that.
    #[error("{path} would break its consumers: {}", .changes.join("; "))]
    Breaking {
        /// Whose consumers.
        path: ServicePath,
        /// What changes for them.
        changes: Vec<String>,
    },
    /// The schedule has no instant after now.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The control plane refused the release.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The release that a sound bundle is; stores nothing.
#[must_use]
pub fn manifest(
    bundle: &Bundle,
    inspection: &Inspection,
    git_commit: Option<String>,
) -> ReleaseManifest {
    let model = Sha256::of(inspection.model.as_deref().unwrap_or_default());
    let preprocess = inspection.preprocess.as_ref().map(Sha256::of);
    ReleaseManifest::new(bundle, model, preprocess, git_commit)
}

/// What the control plane keeps of a release.
#[must_use]
pub fn new_release(manifest: &ReleaseManifest, next_due_at: DateTime<Utc>, by: &By) -> NewRelease {
    NewRelease {
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
        next_due_at,
        missed_run_policy: manifest.run.missed_run_policy,
        missed_run_window_seconds: u64::from(manifest.run.missed_run_window_hours) * 3600,
        generations_kept: manifest.run.generations_kept,
        stale_after_seconds: u64::from(manifest.run.stale_after_hours) * 3600,
        attempts_max: manifest.run.attempts_max,
        git_commit: manifest.git_commit.clone(),
        stage: manifest.release.on_apply,
        protected: manifest.release.protected,
        shadow_runs_min: manifest.release.shadow_runs_min,
        by: by.clone(),
        reason: None,
        // Names, numbers and text: nothing of this cannot be written.
        manifest: serde_json::to_value(manifest).unwrap_or_default(),
    }
}

/// What applying a release would break for the consumers of what is in production; nothing where it
/// changes nothing.
pub async fn breaking_changes(
    store: &Store,
    manifest: &ReleaseManifest,
) -> Result<Vec<SchemaChange>, StoreError> {
    let path = &manifest.path;
    let standing = releases::standing(store, &path.tenant, &path.service, manifest.id()).await?;
    if !Entry::of(&standing, &manifest.release).changes() {
        return Ok(Vec::new());
    }
    let old = contract(store, path).await?;
    let mut changes = old.map_or_else(Vec::new, |old| schema_changes(&old, &manifest.schema));
    changes.retain(SchemaChange::breaks);
    Ok(changes)
}

/// Stores the models of an inspected bundle and registers it as a release, which enters the stage that
/// its config names. The tenant must exist. Applying the same bundle again changes nothing.
///
/// A release that breaks consumers of what is in production is refused unless `accept_breaking`; the
/// ledger then keeps what was accepted.
pub async fn register(
    store: &Store,
    artifacts: &ArtifactStore,
    bundle: &Bundle,
    inspection: Inspection,
    git_commit: Option<String>,
    by: &By,
    accept_breaking: bool,
) -> Result<AppliedBundle, ApplyError> {
    let path = bundle.path.clone();
    let manifest = manifest(bundle, &inspection, git_commit);
    let changes = breaking_changes(store, &manifest).await?;
    if !changes.is_empty() && !accept_breaking {
        let changes = changes.iter().map(ToString::to_string).collect();
        return Err(ApplyError::Breaking { path, changes });
    }
    let model = inspection.model.ok_or_else(|| ApplyError::NoModel(path.clone()))?;
    // The config as it was written is found by its hash, like the models; the queries are in the manifest.
    let config = bundle.config_text.clone().into_bytes();
    for bytes in [Some(model), inspection.preprocess, Some(config)].into_iter().flatten() {
        let stored = artifacts.put(bytes.into()).await;
        stored.map_err(|source| ApplyError::Artifact { path: path.clone(), source })?;
    }
    let next_due_at = bundle.config.prediction.schedule.next_after(Utc::now())?;
    let reason = acknowledgement(&changes);
    let new = NewRelease { reason, ..new_release(&manifest, next_due_at, by) };
    let release = new.release;
    let applied = releases::apply(store, &path.tenant, &new).await?;
    let stage = releases::stage(store, &path.tenant, &path.service, release).await?;
    let service = cameo_store::services::find(store, &path.tenant, &path.service).await?;
    Ok(AppliedBundle {
        path,
        release,
        applied,
        stage: stage.unwrap_or(Stage::Candidate),
        next_due_at: service.and_then(|service| service.next_due_at),
    })
}

/// The commit that the bundle's folder is at; unknown outside a repository or without git.
#[must_use]
pub fn git_commit(bundle: &Bundle) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(&bundle.folder)
        .args(["rev-parse", "--verify", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
