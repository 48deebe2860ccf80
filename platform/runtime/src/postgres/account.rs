//! Which operating system user the server runs as.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

use super::PostgresError;

/// Users to drop to when started as root, in this order.
const UNPRIVILEGED_NAMES: [&str; 2] = ["postgres", "nobody"];

/// The user that the server runs as, and the one that clients connect as.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) client_name: String,
    uid: u32,
    gid: u32,
    /// Started as root: every program of Postgres is started as this user.
    pub(super) switched: bool,
}

impl Account {
    /// The user for a cluster that belongs to `owner`, or for a new one.
    pub(super) fn choose(owner: Option<(u32, PathBuf)>) -> Result<Self, PostgresError> {
        let uid = Uid::effective();
        let ourselves = user(uid)?;
        if uid.is_root() {
            let server = match owner.filter(|(owner, _)| *owner != 0) {
                Some((owner, _)) => user(Uid::from_raw(owner))?,
                None => unprivileged()?,
            };
            return Ok(Self::new(&server, ourselves.name, true));
        }
        match owner {
            Some((owner, data_dir)) if owner != uid.as_raw() => Err(PostgresError::ForeignOwner {
                data_dir,
                owner: user(Uid::from_raw(owner))
                    .map_or_else(|_| owner.to_string(), |user| user.name),
                user: ourselves.name,
            }),
            _ => Ok(Self::new(&ourselves, ourselves.name.clone(), false)),
        }
    }

    fn new(server: &User, client_name: String, switched: bool) -> Self {
        Self {
            name: server.name.clone(),
            client_name,
            uid: server.uid.as_raw(),
            gid: server.gid.as_raw(),
            switched,
        }
    }

    /// A command that runs as this user, without the environment of this process: it may hold
    /// secrets, and `PG*` variables would change what the programs do.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Hands a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), PostgresError> {
        if !self.switched {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .map_err(PostgresError::io("change the owner of", path))
    }

    /// Whether a file or folder belongs to this user.
    pub(super) fn owns(&self, metadata: &Metadata) -> bool {
        metadata.uid() == self.uid
    }

    /// Whether this user may enter `folder`, asked of the system itself: mode bits do not tell
    /// about access lists and network file systems.
    pub(super) fn may_enter(&self, folder: &Path) -> bool {
        !self.switched
            || self
                .command(Path::new("test"))
                .arg("-x")
                .arg(folder)
                .status()
                .is_ok_and(|status| status.success())
    }
}

fn user(uid: Uid) -> Result<User, PostgresError> {
    User::from_uid(uid).ok().flatten().ok_or(PostgresError::NamelessUser { uid: uid.as_raw() })
}

fn unprivileged() -> Result<User, PostgresError> {
    UNPRIVILEGED_NAMES
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .ok_or(PostgresError::NoAccount)
}
