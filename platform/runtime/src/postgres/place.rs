//! Which folder holds the cluster, and the lock that keeps it to one process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use chrono::Utc;
use tracing::warn;

use super::PostgresError;
use super::account::Account;

/// Held by the process that uses the folder; the kernel lets go of it when the process dies.
const LOCK_FILE: &str = "cameo.lock";
/// Names the folder that the cluster is in when it is not in this one.
const LOCATION_FILE: &str = "location";
/// Where clusters go whose own folder the server's user may not enter, such as below `/root`.
const SHARED_DIR: &str = "/var/lib/cameo";
const CLUSTER_DIR: &str = "data";

/// A data directory that this process alone uses.
#[derive(Debug)]
pub(super) struct Place {
    /// What the caller asked for.
    requested: PathBuf,
    /// Where the files are.
    pub(super) dir: PathBuf,
    /// Never read: it is held.
    _lock: File,
}

impl Place {
    /// Creates the folder when needed and locks it.
    pub(super) fn claim(requested: &Path) -> Result<Self, PostgresError> {
        fs::create_dir_all(requested).map_err(PostgresError::io("create the folder", requested))?;
        let requested =
            requested.canonicalize().map_err(PostgresError::io("resolve the folder", requested))?;
        let lock = lock(&requested)?;
        let dir = moved_to(&requested)?.unwrap_or_else(|| requested.clone());
        Ok(Self { requested, dir, _lock: lock })
    }

    pub(super) fn cluster_dir(&self) -> PathBuf {
        self.dir.join(CLUSTER_DIR)
    }

    /// User id that owns the existing cluster, with its folder.
    pub(super) fn cluster_owner(&self) -> Result<Option<(u32, PathBuf)>, PostgresError> {
        let cluster = self.cluster_dir();
        if !exists(&cluster)? {
            return Ok(None);
        }
        let metadata =
            fs::metadata(&cluster).map_err(PostgresError::io("read the folder", &cluster))?;
        Ok(Some((metadata.uid(), cluster)))
    }

    /// Major version of the existing cluster.
    pub(super) fn cluster_version(&self) -> Result<Option<u32>, PostgresError> {
        let cluster = self.cluster_dir();
        if !exists(&cluster)? {
            return Ok(None);
        }
        let file = cluster.join("PG_VERSION");
        if !exists(&file)? {
            return Err(PostgresError::NotACluster { dir: cluster });
        }
        let text = fs::read_to_string(&file).map_err(PostgresError::io("read", &file))?;
        match text.trim().parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(PostgresError::NotACluster { dir: cluster }),
        }
    }

    /// The same place when `account` may enter it, else a new one that it may.
    pub(super) fn within_reach_of(mut self, account: &Account) -> Result<Self, PostgresError> {
        if account.may_enter(&self.dir) {
            return Ok(self);
        }
        let shared = Path::new(SHARED_DIR);
        fs::create_dir_all(shared).map_err(PostgresError::io("create the folder", shared))?;
        fs::set_permissions(shared, fs::Permissions::from_mode(0o755))
            .map_err(PostgresError::io("change the mode of", shared))?;
        // A name of its own per cluster: when somebody removes the data directory to begin afresh,
        // the next start must not find the old data again.
        let dir =
            shared.join(format!("cluster-{}-{}", Utc::now().timestamp_micros(), process::id()));
        fs::create_dir(&dir).map_err(PostgresError::io("create the folder", &dir))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))
            .map_err(PostgresError::io("change the mode of", &dir))?;
        write_durably(&self.requested.join(LOCATION_FILE), &dir.to_string_lossy())?;
        warn!(
            data_dir = %self.requested.display(),
            user = account.name,
            location = %dir.display(),
            "Postgres runs as another user, which may not enter the data directory: the database is kept elsewhere"
        );
        self.dir = dir;
        Ok(self)
    }
}

/// Writes a small file so that a crash leaves the old or the new one, never half of it.
pub(super) fn write_durably(path: &Path, content: &str) -> Result<(), PostgresError> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(PostgresError::io("write", path))
}

fn lock(dir: &Path) -> Result<File, PostgresError> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(PostgresError::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder =
                if holder.trim().is_empty() { "unknown" } else { holder.trim() }.to_owned();
            return Err(PostgresError::InUse { data_dir: dir.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(source)) => {
            return Err(PostgresError::io("lock", &path)(source));
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", process::id()))
        .map_err(PostgresError::io("write the lock file", &path))?;
    Ok(file)
}

fn moved_to(requested: &Path) -> Result<Option<PathBuf>, PostgresError> {
    let file = requested.join(LOCATION_FILE);
    if !exists(&file)? {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).map_err(PostgresError::io("read", &file))?;
    let dir = PathBuf::from(text.trim());
    if exists(&dir)? { Ok(Some(dir)) } else { Err(PostgresError::LocationGone { file, dir }) }
}

/// Unlike [`Path::exists`], does not take "may not look" for "is not there".
fn exists(path: &Path) -> Result<bool, PostgresError> {
    path.try_exists().map_err(PostgresError::io("look for", path))
}
