//! Counting a segment while somebody edits it, over what the services show now.

use std::{collections::BTreeMap, io, num::NonZeroUsize, path::Path, sync::Arc, thread};

use cameo_bundle::{ArtifactError, ArtifactStore};
use cameo_domain::{GenerationId, ServiceName, TenantName};
use cameo_segment::{
    Catalog, Count, DefinitionError, Draft, EvaluateError, Read, Selection, Source, count,
};
use cameo_snapshot::{Snapshot, SnapshotError};
use cameo_store::{
    Store, StoreError,
    lookup::{self, ServedGeneration},
};
use chrono::{DateTime, Utc};

use crate::{LookupError, Predictions};

/// How many customers a definition chooses.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The condition with every name written out.
    pub condition: String,
    /// How many.
    pub count: Count,
    /// What was counted.
    pub generations: BTreeMap<ServiceName, GenerationId>,
    /// The oldest time of prediction among the generations.
    pub as_of: DateTime<Utc>,
}

/// Why a segment is not counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The definition does not fit what the services show.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The snapshot of what a service shows is not on this machine, or not made yet.
    #[error(
        "the predictions of `{0}` are not at hand yet: its snapshot follows a publication within moments, \
         where the API is given room for snapshots; try again"
    )]
    NoSnapshot(ServiceName),
    /// The snapshots cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// It is not known what the services show.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The control plane cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The artifact store does not give a snapshot.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A snapshot is not what was recorded.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A snapshot cannot be kept while it is read.
    #[error("no file can be written for the predictions of a service")]
    Scratch(#[source] io::Error),
    /// The task that counted ended early.
    #[error("the task that counted ended early")]
    Ended,
}

/// What one service shows.
struct Shown {
    service: ServiceName,
    generation: GenerationId,
    predicted_at: DateTime<Utc>,
    snapshot: Arc<Snapshot>,
}

impl Predictions {
    /// Counts the members of a definition over the snapshots of what the tenant's services show now, on all
    /// cores.
    pub async fn count(&self, tenant: &TenantName, draft: &Draft) -> Result<Counted, CountError> {
        let published = self.published(tenant).await?;
        let schemas = published
            .iter()
            .map(|current| (current.served.path.service.clone(), current.served.schema.clone()));
        let read = draft.read(&Catalog::new(schemas.collect()))?;
        let mut shown = Vec::new();
        for current in &published {
            let service = &current.served.path.service;
            if !read.condition.services().contains(service) {
                continue;
            }
            let snapshot = current.snapshot().cloned();
            shown.push(Shown {
                service: service.clone(),
                generation: current.served.generation,
                predicted_at: current.served.predicted_at,
                snapshot: snapshot.ok_or_else(|| CountError::NoSnapshot(service.clone()))?,
            });
        }
        counted(read, shown).await
    }
}

/// The same without a process that maps what is shown: the snapshots are read from the artifact store, with
/// copies in the folder `scratch` where that is not on this machine.
pub async fn count_stored(
    store: &Store,
    artifacts: &ArtifactStore,
    scratch: &Path,
    tenant: &TenantName,
    draft: &Draft,
) -> Result<Counted, CountError> {
    let published = lookup::current(store, Some(tenant)).await?;
    let schemas =
        published.iter().map(|served| (served.path.service.clone(), served.schema.clone()));
    let read = draft.read(&Catalog::new(schemas.collect()))?;
    std::fs::create_dir_all(scratch).map_err(CountError::Scratch)?;
    let folder = tempfile::tempdir_in(scratch).map_err(CountError::Scratch)?;
    let mut shown = Vec::new();
    for served in published {
        if read.condition.services().contains(&served.path.service) {
            shown.push(opened(served, artifacts, folder.path()).await?);
        }
    }
    counted(read, shown).await
}

async fn opened(
    served: ServedGeneration,
    artifacts: &ArtifactStore,
    folder: &Path,
) -> Result<Shown, CountError> {
    let service = served.path.service;
    let file = served.snapshot.ok_or_else(|| CountError::NoSnapshot(service.clone()))?;
    let path = if let Some(path) = artifacts.file_of(&file.sha256) {
        path
    } else {
        let path = folder.join(format!("{}.arrow", file.sha256));
        artifacts.get_file(&file.sha256, &path).await?;
        path
    };
    let opening = tokio::task::spawn_blocking(move || Snapshot::open(&path, &file.sha256));
    let snapshot = Arc::new(opening.await.map_err(|_| CountError::Ended)??);
    let (generation, predicted_at) = (served.generation, served.predicted_at);
    Ok(Shown { service, generation, predicted_at, snapshot })
}

/// Counts over all cores what was read against what is shown.
async fn counted(read: Read, shown: Vec<Shown>) -> Result<Counted, CountError> {
    let times = shown.iter().map(|shown| shown.predicted_at);
    let as_of = times.min().unwrap_or_default();
    let generations = shown.iter().map(|shown| (shown.service.clone(), shown.generation)).collect();
    let condition = read.definition.condition.clone();
    let counting = tokio::task::spawn_blocking(move || count_shown(&read, &shown));
    let count = counting.await.map_err(|_| CountError::Ended)??;
    Ok(Counted { condition, count, generations, as_of })
}

fn count_shown(read: &Read, shown: &[Shown]) -> Result<Count, EvaluateError> {
    let sources: Vec<Source<'_>> = shown
        .iter()
        .map(|shown| Source {
            service: &shown.service,
            schema: shown.snapshot.schema(),
            batches: shown.snapshot.batches(),
        })
        .collect();
    let selection = Selection {
        condition: &read.condition,
        sample: read.definition.sample.as_ref(),
        hold_out: read.definition.hold_out.as_ref(),
    };
    count(&selection, &sources, thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}
