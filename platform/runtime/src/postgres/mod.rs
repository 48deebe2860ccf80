//! A private Postgres in a folder: started, supervised and stopped by this process.
//!
//! The server listens on a Unix socket in a folder of mode 0700 and accepts only the operating
//! system user that started it (peer authentication). Its data is durable: `fsync` stays on, and
//! the same folder is found again at the next start. It is started by a thread of its own that
//! lives as long as the [`EmbeddedPostgres`], because the kernel ties the "parent died" signal to
//! the thread that spawned the child: when this process is killed, the server shuts down.
//!
//! Layout of the data directory: `data/` (the cluster), `sock/` (the socket), `postgres.log`,
//! `cameo.lock` (held while a process uses the folder), and `location` when the cluster had to be
//! put elsewhere because the server's user may not enter this folder.

mod account;
mod binaries;
mod cluster;
mod configuration;
mod error;
mod leftovers;
mod log;
mod place;
mod server;
mod supervisor;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use error::PostgresError;
use tracing::info;

use account::Account;
use binaries::Binaries;
use cluster::Cluster;
use place::Place;
use supervisor::Supervisor;

/// The database role and the database that a fresh cluster holds.
const DATABASE_NAME: &str = "cameo";
/// The port only names the socket file: nothing listens on the network.
const SOCKET_PORT: u16 = 5432;

/// How the private server is set up.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// Where `postgres` and `initdb` are; searched when not given (see [`EmbeddedPostgres::start`]).
    pub binaries_dir: Option<PathBuf>,
    /// Memory that the server keeps pages in.
    pub shared_buffers_mb: u32,
    /// Connections that the server accepts at a time.
    pub connections_max: u16,
    /// A server that dies more often than this within ten minutes has a fault that a restart does not cure.
    pub deaths_max: usize,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { binaries_dir: None, shared_buffers_mb: 256, connections_max: 100, deaths_max: 20 }
    }
}

/// Where a client finds the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Folder of the Unix socket.
    pub socket_dir: PathBuf,
    /// Names the socket file in the folder.
    pub port: u16,
    /// The database role: the owner of everything.
    pub user: String,
    /// The database.
    pub database: String,
}

impl ConnectionInfo {
    /// The connection as a URL that libpq and sqlx understand.
    #[must_use]
    pub fn url(&self) -> String {
        let socket_dir = percent_encode(&self.socket_dir.to_string_lossy());
        let Self { port, user, database, .. } = self;
        format!("postgresql://{user}@localhost:{port}/{database}?host={socket_dir}")
    }
}

/// A running private Postgres; dropping it stops the server (fast shutdown).
#[derive(Debug)]
pub struct EmbeddedPostgres {
    connection: ConnectionInfo,
    supervisor: Supervisor,
}

impl EmbeddedPostgres {
    /// Starts the server of `data_dir`, creating the cluster at the first start; returns when it
    /// accepts connections.
    ///
    /// Binaries are taken from `settings.binaries_dir`, else `PG_BINDIR`, else the newest
    /// installed Postgres, else what `deploy/setup` put into the cache folder; an existing
    /// cluster is opened with binaries of its own major version. Started as root, the server runs
    /// as the owner of the cluster, `postgres` or `nobody`, and lives under `/var/lib/cameo` when
    /// that user may not enter `data_dir`.
    ///
    /// This blocks for a second or so: call it outside async code or through `spawn_blocking`.
    ///
    /// # Errors
    /// [`PostgresError`]; nothing is left running.
    pub fn start(data_dir: &Path, settings: &PostgresSettings) -> Result<Self, PostgresError> {
        let since = Instant::now();
        let place = Place::claim(data_dir)?;
        let account = Account::choose(place.cluster_owner()?)?;
        let place = place.within_reach_of(&account)?;
        let version_found = place.cluster_version()?;
        let binaries = Binaries::find(settings.binaries_dir.as_deref(), &account, version_found)?;
        if let Some(found) = version_found
            && found != binaries.version
        {
            return Err(PostgresError::VersionMismatch {
                data_dir: place.cluster_dir(),
                found,
                binaries: binaries.version,
                binaries_dir: binaries.dir,
            });
        }
        let version_used = binaries.version;
        let cluster = Cluster::open(place, account, binaries, settings)?;
        let connection = ConnectionInfo {
            socket_dir: cluster.socket_dir.clone(),
            port: SOCKET_PORT,
            user: DATABASE_NAME.to_owned(),
            database: DATABASE_NAME.to_owned(),
        };
        let supervisor = Supervisor::start(cluster, settings.deaths_max)?;
        info!(
            version = version_used,
            first_start = version_found.is_none(),
            data_dir = %data_dir.display(),
            seconds = since.elapsed().as_secs_f64(),
            "Postgres is ready"
        );
        Ok(Self { connection, supervisor })
    }

    /// Where clients find the server.
    #[must_use]
    pub fn connection(&self) -> ConnectionInfo {
        self.connection.clone()
    }

    /// The connection as a URL that libpq and sqlx understand.
    #[must_use]
    pub fn url(&self) -> String {
        self.connection.url()
    }

    /// Process id of the postmaster that runs now; `None` while it is being started again.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.supervisor.process_id()
    }

    /// How often the server died and was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.supervisor.restarts()
    }

    /// Waits until supervision has given up: the server died and could not be started again.
    ///
    /// While this is pending, a server that dies is started again without any call.
    pub async fn gave_up(&self) -> PostgresError {
        self.supervisor.gave_up().await
    }

    /// Stops the server: running transactions are rolled back, the data is checkpointed.
    pub fn stop(self) {
        drop(self);
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_odd_characters_of_the_folder() {
        let connection = ConnectionInfo {
            socket_dir: PathBuf::from("/tmp/my data/ö&x"),
            port: 5432,
            user: "cameo".to_owned(),
            database: "cameo".to_owned(),
        };
        assert_eq!(
            connection.url(),
            "postgresql://cameo@localhost:5432/cameo?host=/tmp/my%20data/%C3%B6%26x"
        );
    }
}
