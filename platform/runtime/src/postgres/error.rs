use std::io;
use std::path::{Path, PathBuf};

/// Why the private server cannot run.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// Neither an installed Postgres nor the one of `deploy/setup` was found.
    #[error(
        "no Postgres was found (looked in {looked_in}); run deploy/setup, install the package `postgresql`, or set PG_BINDIR to the folder that holds `postgres` and `initdb`"
    )]
    NoBinaries {
        /// The places, in the order they were tried.
        looked_in: String,
    },
    /// A folder was named for the binaries, but they do not run.
    #[error("the Postgres in {} does not run as user {user}: {reason}; the folder must hold `postgres` and `initdb` and be readable by that user", dir.display())]
    BinariesUnusable {
        /// The folder that was named.
        dir: PathBuf,
        /// The operating system user that the server would run as.
        user: String,
        /// What went wrong.
        reason: String,
    },
    /// The cluster was made by another major version.
    #[error(
        "the database in {} was made by Postgres {found}, but the binaries in {} are of Postgres {binaries}; install Postgres {found}, set PG_BINDIR to its folder, or start with another data directory",
        data_dir.display(), binaries_dir.display()
    )]
    VersionMismatch {
        /// The cluster.
        data_dir: PathBuf,
        /// Its major version.
        found: u32,
        /// The major version of the binaries.
        binaries: u32,
        /// Where the binaries are.
        binaries_dir: PathBuf,
    },
    /// Another process holds the data directory.
    #[error("the data directory {} is in use by process {holder}; stop that process or choose another data directory", data_dir.display())]
    InUse {
        /// The folder.
        data_dir: PathBuf,
        /// Process id as written by the holder.
        holder: String,
    },
    /// Postgres refuses to run as root and there is no other user to run it as.
    #[error(
        "Postgres does not run as root, and this machine has neither a user `postgres` nor `nobody`; create one of them or start Cameo as another user"
    )]
    NoAccount,
    /// Peer authentication and initdb need a name for the user.
    #[error(
        "user id {uid} has no name on this machine, which Postgres needs; add a line for it to /etc/passwd or start Cameo as a named user"
    )]
    NamelessUser {
        /// The effective user id.
        uid: u32,
    },
    /// The cluster belongs to somebody else.
    #[error("the database in {} belongs to user {owner}, and Cameo runs as {user}; start Cameo as {owner} or root, or choose another data directory", data_dir.display())]
    ForeignOwner {
        /// The cluster.
        data_dir: PathBuf,
        /// Who owns it.
        owner: String,
        /// Who we are.
        user: String,
    },
    /// The folder holds files that are not a cluster.
    #[error("{} exists but is not a Postgres cluster (it has no PG_VERSION); move it away or choose another data directory", dir.display())]
    NotACluster {
        /// The folder.
        dir: PathBuf,
    },
    /// The cluster was moved under another folder that is gone now.
    #[error("{} says that the database is in {}, which does not exist; restore that folder, or remove the file to begin with an empty database", file.display(), dir.display())]
    LocationGone {
        /// The file that names the folder.
        file: PathBuf,
        /// The folder that it names.
        dir: PathBuf,
    },
    /// No folder for the socket is private to us.
    #[error("no private folder for the Postgres socket under {}: the names are taken by other users; set XDG_RUNTIME_DIR to a folder of your own or choose a data directory with a shorter path", parent.display())]
    NoSocketFolder {
        /// Where it was tried.
        parent: PathBuf,
    },
    /// A program of Postgres ended with an error.
    #[error("{program} failed ({status}); it said:\n{output}")]
    Program {
        /// What ran.
        program: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// The server ended while it was starting.
    #[error("Postgres ended while starting ({status}); the end of {} says:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server did not become ready in time.
    #[error("Postgres was not ready after {seconds} s; the end of {} says:\n{tail}", log.display())]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server died again and again.
    #[error(
        "Postgres died {deaths} times within {minutes} min and is not started again; last: {last}"
    )]
    GaveUp {
        /// Deaths within the period.
        deaths: usize,
        /// The period.
        minutes: u64,
        /// The last failure.
        last: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
}

impl PostgresError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), reason: source.to_string() }
    }
}
