//! Models: where they come from, and the content-addressed store that keeps them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use cameo_domain::Sha256;
use futures_util::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, local::LocalFileSystem,
    path::Path as ObjectPath,
};

use crate::paths::{self, PathError};

/// Largest model or preprocess object, the same as scoring decodes by default.
pub const MODEL_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Why an artifact cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A URL of a scheme that is not supported, or without a bucket or an object.
    #[error(
        "`{0}` is not a supported location: expected a path in the bundle, gs://bucket/object, \
         s3://bucket/object or az://container/object"
    )]
    Location(String),
    /// The path is not a file of the bundle.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Larger than [`MODEL_BYTES_MAX`].
    #[error("`{location}` has {bytes} bytes: expected at most {MODEL_BYTES_MAX}")]
    TooLarge {
        /// Where it is.
        location: String,
        /// Its size as far as it was read.
        bytes: u64,
    },
    /// What came back is not what was stored.
    #[error("the stored artifact {expected} is damaged: its content has the digest {found}")]
    Corrupt {
        /// The address.
        expected: Sha256,
        /// The digest of what is there.
        found: Sha256,
    },
    /// An anchor of the audit trail that is not one, or not the one that was written before.
    #[error("`{location}` should anchor an entry of the audit trail: {found}")]
    Anchor {
        /// The object.
        location: String,
        /// What is there instead.
        found: String,
    },
    /// No such object.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// The file cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("`{path}` cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The object store refuses or cannot be reached; trying again may help.
    #[error("the object store failed at `{location}`")]
    Store {
        /// The object.
        location: String,
        /// What the store says.
        source: object_store::Error,
    },
}

impl ArtifactError {
    pub(crate) fn of_store(location: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => Self::Missing(location.to_owned()),
            source => Self::Store { location: location.to_owned(), source },
        }
    }

    /// Whether trying again may help: the store could not be reached.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use object_store::Error as E;
        matches!(self, Self::Store { source, .. }
            if !matches!(source, E::PermissionDenied { .. } | E::Unauthenticated { .. }
                | E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. }))
    }
}

/// Where a config says that a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A path in the bundle.
    Inside(String),
    /// An object in a store.
    Remote(Remote),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    cloud: Cloud,
    bucket: String,
    object: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cloud {
    Google,
    Amazon,
    Azure,
}

impl Location {
    pub(crate) fn parse(text: &str) -> Result<Self, ArtifactError> {
        match text.split_once("://") {
            None => Ok(Self::Inside(text.to_owned())),
            Some(("file", path)) => Ok(Self::Inside(path.to_owned())),
            Some(_) => {
                let remote = Remote::parse(text)?;
                if remote.object.is_empty() {
                    return Err(ArtifactError::Location(text.to_owned()));
                }
                Ok(Self::Remote(remote))
            }
        }
    }
}

impl Remote {
    fn parse(text: &str) -> Result<Self, ArtifactError> {
        let wrong = || ArtifactError::Location(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let cloud = match scheme {
            "gs" => Cloud::Google,
            "s3" => Cloud::Amazon,
            "az" => Cloud::Azure,
            _ => return Err(wrong()),
        };
        let (bucket, object) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket = !bucket.is_empty()
            && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !is_bucket {
            return Err(wrong());
        }
        Ok(Self { cloud, bucket: bucket.to_owned(), object: object.to_owned() })
    }

    /// Credentials come from where the cloud's own tools look for them.
    fn store(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        let bucket = self.bucket.as_str();
        Ok(match self.cloud {
            Cloud::Google => {
                Arc::new(GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).build()?)
            }
            Cloud::Amazon => {
                Arc::new(AmazonS3Builder::from_env().with_bucket_name(bucket).build()?)
            }
            Cloud::Azure => {
                Arc::new(MicrosoftAzureBuilder::from_env().with_container_name(bucket).build()?)
            }
        })
    }

    fn path(&self) -> object_store::Result<ObjectPath> {
        Ok(ObjectPath::parse(&self.object)?)
    }
}

/// Reads a model from where its config says: a path in the bundle's `folder`, which it may not
/// leave, or an object store.
pub async fn fetch(location: &str, folder: &Path) -> Result<Bytes, ArtifactError> {
    match Location::parse(location)? {
        Location::Inside(path) => read_file(paths::inside(folder, &path)?, location).await,
        Location::Remote(remote) => {
            let failed = |error| ArtifactError::of_store(location, error);
            let store = remote.store().map_err(failed)?;
            let path = remote.path().map_err(failed)?;
            download(store.as_ref(), &path, location).await
        }
    }
}

async fn read_file(path: PathBuf, location: &str) -> Result<Bytes, ArtifactError> {
    use tokio::io::AsyncReadExt as _;
    let failed = |source| ArtifactError::Read { path: path.clone(), source };
    let file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    let too_large = |bytes| ArtifactError::TooLarge { location: location.to_owned(), bytes };
    if size > MODEL_BYTES_MAX {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // The file may grow while it is read.
    file.take(MODEL_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > MODEL_BYTES_MAX {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes.into())
}

async fn download(
    store: &dyn ObjectStore,
    path: &ObjectPath,
    location: &str,
) -> Result<Bytes, ArtifactError> {
    let failed = |error| ArtifactError::of_store(location, error);
    let too_large = |bytes| ArtifactError::TooLarge { location: location.to_owned(), bytes };
    let found = store.get(path).await.map_err(failed)?;
    let size = found.meta.size;
    if size > MODEL_BYTES_MAX {
        return Err(too_large(size));
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        // A store may send more than it announced.
        if bytes.len() as u64 > MODEL_BYTES_MAX {
            return Err(too_large(bytes.len() as u64));
        }
    }
    Ok(bytes.freeze())
}

/// Keeps artifacts under the digest of their content.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: ObjectPath,
    /// Where the store is a folder of this machine.
    pub(crate) folder: Option<PathBuf>,
}

impl ArtifactStore {
    /// Opens a folder, which is created where it is missing, or `gs://`, `s3://` or `az://` with
    /// an optional prefix.
    pub fn open(url_or_folder: &str) -> Result<Self, ArtifactError> {
        let failed = |error| ArtifactError::of_store(url_or_folder, error);
        let folder = match url_or_folder.split_once("://") {
            None => url_or_folder,
            Some(("file", path)) => path,
            Some(_) => {
                let remote = Remote::parse(url_or_folder)?;
                let store = remote.store().map_err(failed)?;
                return Ok(Self { store, prefix: remote.path().map_err(failed)?, folder: None });
            }
        };
        std::fs::create_dir_all(folder)
            .map_err(|source| ArtifactError::Read { path: folder.into(), source })?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(failed)?.with_fsync(true);
        let folder = Some(PathBuf::from(folder));
        Ok(Self { store: Arc::new(store), prefix: ObjectPath::default(), folder })
    }

    pub(crate) fn path(&self, hash: &Sha256) -> ObjectPath {
        let digits = hash.to_string();
        self.prefix.clone().join("sha256").join(&digits[..2]).join(digits.as_str())
    }

    /// Stores bytes and answers their address. Storing the same bytes again changes nothing.
    pub async fn put(&self, bytes: Bytes) -> Result<Sha256, ArtifactError> {
        let size = bytes.len() as u64;
        if size > MODEL_BYTES_MAX {
            let location = "the artifact".to_owned();
            return Err(ArtifactError::TooLarge { location, bytes: size });
        }
        let hash = digest(bytes.clone()).await;
        let path = self.path(&hash);
        let failed = |error| ArtifactError::of_store(path.as_ref(), error);
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, bytes.clone().into(), options).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                // A copy that was cut short by a full disk is written anew.
                if self.store.head(&path).await.map_err(failed)?.size != size {
                    self.store.put(&path, bytes.into()).await.map_err(failed)?;
                }
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(hash)
    }

    /// Reads what was stored under `hash`, and verifies it.
    pub async fn get(&self, hash: &Sha256) -> Result<Bytes, ArtifactError> {
        let path = self.path(hash);
        let bytes = download(self.store.as_ref(), &path, path.as_ref()).await?;
        let found = digest(bytes.clone()).await;
        if found != *hash {
            return Err(ArtifactError::Corrupt { expected: *hash, found });
        }
        Ok(bytes)
    }
}

/// Above this size, hashing would hold up other tasks of the thread.
const HASHED_IN_PLACE_BYTES_MAX: usize = 256 * 1024;

async fn digest(bytes: Bytes) -> Sha256 {
    if bytes.len() <= HASHED_IN_PLACE_BYTES_MAX {
        return Sha256::of(&bytes);
    }
    let elsewhere = bytes.clone();
    match tokio::task::spawn_blocking(move || Sha256::of(&elsewhere)).await {
        Ok(hash) => hash,
        // The runtime is shutting down.
        Err(_) => Sha256::of(&bytes),
    }
}
