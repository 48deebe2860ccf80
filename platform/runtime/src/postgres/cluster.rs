//! The files of a cluster: made once, configured at every start.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, syncfs};

use super::account::Account;
use super::binaries::Binaries;
use super::log::BoundedLog;
use super::place::{Place, write_durably};
use super::{DATABASE_NAME, PostgresError, PostgresSettings, SOCKET_PORT, configuration};

/// The kernel's limit on a socket's path, less the terminating zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How many names are tried for a socket folder outside the data directory.
const SOCKET_FOLDER_NAMES_MAX: u32 = 8;
const FOLDER_MODE: u32 = 0o700;

/// A cluster that is ready to be started.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) data_dir: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) log: BoundedLog,
    pub(super) account: Account,
    pub(super) binaries: Binaries,
    /// Holds the lock.
    _place: Place,
}

impl Cluster {
    /// Opens the cluster of `place`, or makes it.
    pub(super) fn open(
        place: Place,
        account: Account,
        binaries: Binaries,
        settings: &PostgresSettings,
    ) -> Result<Self, PostgresError> {
        let data_dir = place.cluster_dir();
        let socket_dir = socket_dir(&place.dir, &account)?;
        let log = BoundedLog::open(place.dir.join("postgres.log"))?;
        let conf = configuration::server(settings, &socket_dir);
        if !data_dir.exists() {
            create(&place, &account, &binaries, &conf)?;
        }
        configure(&data_dir, &account, &conf)?;
        Ok(Self { data_dir, socket_dir, log, account, binaries, _place: place })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Only an empty folder goes, and the next start makes it again: /tmp stays clean.
        let _ = fs::remove_dir(&self.socket_dir);
    }
}

/// Makes the cluster in a draft folder and renames it: an interrupted start leaves no half of one.
fn create(
    place: &Place,
    account: &Account,
    binaries: &Binaries,
    conf: &str,
) -> Result<(), PostgresError> {
    let draft = place.dir.join("data.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(PostgresError::io("remove the folder", &draft))?;
    }
    private_folder(&draft, account)?;
    let mut initdb = account.command(&binaries.program("initdb"));
    initdb
        .args(["--no-sync", "--no-instructions", "--auth=peer", "--encoding=UTF8", "--locale=C"])
        .args(["--username", DATABASE_NAME, "--pgdata"])
        .arg(&draft);
    run("initdb", initdb, "")?;
    configure(&draft, account, conf)?;
    let mut single = account.command(&binaries.program("postgres"));
    single.args(["--single", "-F", "-D"]).arg(&draft).arg("postgres");
    run("postgres --single", single, &format!("CREATE DATABASE {DATABASE_NAME}\n"))?;
    // One flush of the file system instead of one per file.
    File::open(&draft)
        .and_then(|folder| syncfs(folder).map_err(Into::into))
        .map_err(PostgresError::io("flush", &draft))?;
    let data_dir = place.cluster_dir();
    fs::rename(&draft, &data_dir).map_err(PostgresError::io("create", &data_dir))?;
    File::open(&place.dir)
        .and_then(|folder| folder.sync_all())
        .map_err(PostgresError::io("flush", &place.dir))
}

fn configure(data_dir: &Path, account: &Account, conf: &str) -> Result<(), PostgresError> {
    let identities = configuration::identities(account);
    let files = [
        ("postgresql.conf", conf),
        ("pg_hba.conf", configuration::access()),
        ("pg_ident.conf", &identities),
    ];
    for (name, content) in files {
        let path = data_dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|present| present == content) {
            continue;
        }
        write_durably(&path, content)?;
        account.own(&path)?;
    }
    Ok(())
}

fn run(name: &str, mut command: Command, input: &str) -> Result<(), PostgresError> {
    let program = PathBuf::from(command.get_program());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(PostgresError::io("run", &program))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes its input: its exit status tells more.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(PostgresError::io("wait for", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(PostgresError::Program {
        program: name.to_owned(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

/// A folder whose socket path fits the kernel's limit: in the data directory, else in the user's
/// run-time folder, else in `/tmp`.
fn socket_dir(place: &Path, account: &Account) -> Result<PathBuf, PostgresError> {
    let within = place.join("sock");
    if socket_path_bytes(&within) <= SOCKET_PATH_BYTES_MAX {
        if !within.exists() {
            private_folder(&within, account)?;
        }
        return Ok(within);
    }
    let run_time = std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|_| !account.switched)
        .map(PathBuf::from)
        .filter(|dir| {
            dir.is_dir()
                && socket_path_bytes(&dir.join(short_name(place, 0))) <= SOCKET_PATH_BYTES_MAX
        });
    let parent = run_time.unwrap_or_else(|| PathBuf::from("/tmp"));
    for attempt in 0..SOCKET_FOLDER_NAMES_MAX {
        let dir = parent.join(short_name(place, attempt));
        // Anybody can make a folder in /tmp: one that is not ours alone is never used.
        match fs::symlink_metadata(&dir) {
            Err(_) => {
                if private_folder(&dir, account).is_ok() {
                    return Ok(dir);
                }
            }
            Ok(found)
                if found.is_dir()
                    && found.mode() & 0o777 == FOLDER_MODE
                    && account.owns(&found) =>
            {
                return Ok(dir);
            }
            Ok(_) => {}
        }
    }
    Err(PostgresError::NoSocketFolder { parent })
}

fn short_name(place: &Path, attempt: u32) -> String {
    let mut hasher = DefaultHasher::new();
    (place, Uid::effective().as_raw(), attempt).hash(&mut hasher);
    format!("cameo-{:016x}", hasher.finish())
}

fn socket_path_bytes(dir: &Path) -> usize {
    dir.join(format!(".s.PGSQL.{SOCKET_PORT}")).as_os_str().len()
}

fn private_folder(path: &Path, account: &Account) -> Result<(), PostgresError> {
    DirBuilder::new()
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(PostgresError::io("create the folder", path))?;
    account.own(path)
}
