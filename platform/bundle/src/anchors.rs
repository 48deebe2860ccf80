//! Anchors of the audit trail, kept beside the models: whoever can rewrite the database's chain and
//! its head cannot rewrite these, where the bucket's own retention holds them.

use bytes::Bytes;
use cameo_domain::AuditAnchor;
use futures_util::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, path::Path as ObjectPath};

use crate::artifact::{ArtifactError, ArtifactStore};

/// Anchors that are read at the same time.
const READS_MAX: usize = 16;
/// Largest anchor; one takes about 150 bytes.
const ANCHOR_BYTES_MAX: u64 = 4 << 10;

impl ArtifactStore {
    fn anchor_folder(&self) -> ObjectPath {
        self.prefix.clone().join("audit")
    }

    /// Writes an anchor as `audit/<entry>.json`, once and for all: the same one again changes nothing.
    ///
    /// # Errors
    /// [`ArtifactError::Anchor`] where the entry is anchored with another hash: the trail was
    /// written anew.
    pub async fn put_anchor(&self, anchor: &AuditAnchor) -> Result<(), ArtifactError> {
        let path = self.anchor_folder().join(format!("{}.json", anchor.entry));
        let content = serde_json::to_vec(anchor).unwrap_or_default();
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, content.into(), options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let found = self.read_anchor(&path).await?;
                if found == *anchor {
                    return Ok(());
                }
                let found = format!("expected hash {}, found {}", anchor.hash, found.hash);
                Err(ArtifactError::Anchor { location: path.to_string(), found })
            }
            Err(error) => Err(ArtifactError::of_store(path.as_ref(), error)),
        }
    }

    /// Every anchor that was ever written.
    pub async fn anchors(&self) -> Result<Vec<AuditAnchor>, ArtifactError> {
        let folder = self.anchor_folder();
        let failed = |error| ArtifactError::of_store(folder.as_ref(), error);
        let listed = self.store.list(Some(&folder)).map_err(failed);
        listed
            .map_ok(async |object| self.read_anchor(&object.location).await)
            .try_buffer_unordered(READS_MAX)
            .try_collect()
            .await
    }

    async fn read_anchor(&self, path: &ObjectPath) -> Result<AuditAnchor, ArtifactError> {
        let failed = |error| ArtifactError::of_store(path.as_ref(), error);
        let found = self.store.get_range(path, 0..ANCHOR_BYTES_MAX).await.map_err(failed)?;
        anchor_of(path, &found)
    }
}

fn anchor_of(path: &ObjectPath, content: &Bytes) -> Result<AuditAnchor, ArtifactError> {
    let wrong = |found: String| Err(ArtifactError::Anchor { location: path.to_string(), found });
    match serde_json::from_slice::<AuditAnchor>(content) {
        Ok(anchor) if path.filename() == Some(&format!("{}.json", anchor.entry)) => Ok(anchor),
        Ok(anchor) => wrong(format!("found that of entry {}", anchor.entry)),
        Err(error) => wrong(error.to_string()),
    }
}
