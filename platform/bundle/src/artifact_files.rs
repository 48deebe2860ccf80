//! Artifacts that are too large for memory: they go from a file to the store and back.

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use cameo_domain::Sha256;
use futures_util::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, WriteMultipart};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::artifact::{ArtifactError, ArtifactStore};

/// Bytes of a part of an upload; no cloud takes smaller ones.
const PART_BYTES: usize = 8 << 20;
/// Bytes that are read or written at once. A system without preemption in its kernel lets nobody else have the core
/// before such a call is over: with a whole part, requests waited for up to 6 ms.
const PIECE_BYTES: usize = 256 << 10;
/// Parts that are under way at once, which bounds the memory.
const PARTS_MAX: usize = 4;

impl ArtifactStore {
    /// Stores the file at `from`, whose content has the digest `hash`, in parts; what was there is replaced.
    ///
    /// The digest is the caller's word: who reads the artifact compares, as with every artifact.
    pub async fn put_file(&self, from: &Path, hash: &Sha256) -> Result<(), ArtifactError> {
        let path = self.path(hash);
        let failed = |error| ArtifactError::of_store(path.as_ref(), error);
        let upload = self.store.put_multipart(&path).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        match send(from, &mut upload, failed).await {
            Ok(()) => upload.finish().await.map_err(failed).map(drop),
            Err(error) => {
                // The first error is the one to report.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Writes what is stored under `hash` to a new file at `to`, without a look at its digest.
    pub async fn get_file(&self, hash: &Sha256, to: &Path) -> Result<(), ArtifactError> {
        let unwritten = |source| ArtifactError::Write { path: to.to_owned(), source };
        let path = self.path(hash);
        let failed = |error| ArtifactError::of_store(path.as_ref(), error);
        let mut chunks = self.store.get(&path).await.map_err(failed)?.into_stream();
        let mut file = tokio::fs::File::create_new(to).await.map_err(unwritten)?;
        while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
            file.write_all(&chunk).await.map_err(unwritten)?;
        }
        file.flush().await.map_err(unwritten)
    }

    /// Where the artifact lies as a file of this machine; none where the store is elsewhere, or has no such
    /// artifact.
    #[must_use]
    pub fn file_of(&self, hash: &Sha256) -> Option<PathBuf> {
        let path = self.folder.as_ref()?.join(self.path(hash).as_ref());
        path.is_file().then_some(path)
    }

    /// Deletes what is stored under `hash`; nothing where there is no such artifact.
    pub async fn delete(&self, hash: &Sha256) -> Result<(), ArtifactError> {
        let path = self.path(hash);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ArtifactError::of_store(path.as_ref(), error)),
        }
    }
}

async fn send(
    from: &Path,
    upload: &mut WriteMultipart,
    failed: impl Fn(object_store::Error) -> ArtifactError,
) -> Result<(), ArtifactError> {
    let unread = |source| ArtifactError::Read { path: from.to_owned(), source };
    let mut file = tokio::fs::File::open(from).await.map_err(unread)?;
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        if file.read_buf(&mut piece).await.map_err(unread)? == 0 {
            return Ok(());
        }
        upload.wait_for_capacity(PARTS_MAX).await.map_err(&failed)?;
        // A part is made of pieces as they are, and a store on a disk writes one after the other.
        upload.put(piece.freeze());
    }
}
