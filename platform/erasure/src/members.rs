//! The files of members of segments, searched, given up and deleted.

use std::path::PathBuf;

use cameo_bundle::artifact::{ArtifactError, ArtifactStore};
use cameo_crashpoint::hit;
use cameo_domain::Key;
use cameo_segment::{members::occurrences, membership::Membership};
use cameo_store::{
    Store,
    erasures::{self, Look, MembersPlace, Turn},
    segments,
};

use tempfile::TempDir;

use crate::ErasureError;

/// Searches the files that may have a customer of the turn.
pub(crate) async fn search(
    store: &Store,
    artifacts: &ArtifactStore,
    turn: &Turn,
    look: Look,
) -> Result<(), ErasureError> {
    for place in erasures::members_to_search(store, turn, look).await? {
        let found = count(artifacts, &place).await?;
        erasures::members_searched(store, turn, &place, &found, look).await?;
    }
    Ok(())
}

/// Deletes the files that were given up.
pub(crate) async fn delete(
    store: &Store,
    artifacts: &ArtifactStore,
    turn: &Turn,
) -> Result<(), ErasureError> {
    for file in erasures::members_to_delete(store, turn).await? {
        artifacts.delete(&file.sha256).await?;
        hit("erasure_members_deleted");
        segments::removed(store, &file).await?;
    }
    erasures::members_renewed(store, turn).await?;
    Ok(())
}

/// How many rows of each key a file has: where it lies, or fetched where the artifact store is elsewhere.
/// None where it is gone.
async fn count(artifacts: &ArtifactStore, place: &MembersPlace) -> Result<Vec<u64>, ErasureError> {
    let mut fetched: Option<TempDir> = None;
    let path: PathBuf = if let Some(path) = artifacts.file_of(&place.sha256) {
        path
    } else {
        let folder = tempfile::tempdir().map_err(ErasureError::Scratch)?;
        let path = folder.path().join("members.arrow");
        match artifacts.get_file(&place.sha256, &path).await {
            Ok(()) => {}
            Err(ArtifactError::Missing(_)) => return Ok(vec![0; place.keys.len()]),
            Err(error) => return Err(error.into()),
        }
        fetched = Some(folder);
        path
    };
    let keys: Vec<Key> = place.keys.iter().map(|erased| erased.key.clone()).collect();
    let searching = tokio::task::spawn_blocking(move || -> Result<Vec<u64>, ErasureError> {
        Ok(occurrences(&mut Membership::open(&path)?, &keys)?)
    });
    let found = searching.await.map_err(|_| ErasureError::Ended)?;
    drop(fetched);
    found
}
