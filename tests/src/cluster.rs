//! The Postgres below the worlds.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use cameo_runtime::postgres::{ConnectionInfo, EmbeddedPostgres, PostgresSettings};
use nix::sys::statvfs::statvfs;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::Mutex;

/// A file system in memory: for a scenario, waiting for the disk is the larger part of a cluster's
/// life, and what a killed process had written is in the kernel's memory on any file system.
const MEMORY: &str = "/dev/shm";
/// What a few clusters at the same time take, with room to spare.
const MEMORY_BYTES_MIN: u64 = 4 << 30;

/// Worlds that live at the same time share a cluster; the last one to go stops it.
static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// A private Postgres in a temporary folder.
pub struct Cluster {
    postgres: EmbeddedPostgres,
    databases: AtomicU32,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// The cluster of this process.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Self::start().await;
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// A cluster for one world alone, which may do to it what it likes.
    pub async fn start() -> Arc<Self> {
        Self::start_in(fast_folder()).await
    }

    /// The same below a folder of the scenario's choice.
    pub async fn start_in(parent: PathBuf) -> Arc<Self> {
        let started = tokio::task::spawn_blocking(|| {
            // The server's own user must be able to enter.
            let folder = tempfile::Builder::new()
                .prefix("cameo-tests-")
                .permissions(Permissions::from_mode(0o755))
                .tempdir_in(parent)
                .expect("a temporary folder");
            let settings = PostgresSettings {
                shared_buffers_mb: 64,
                connections_max: 300,
                // Scenarios kill it more often than any fault would.
                deaths_max: 10_000,
                ..PostgresSettings::default()
            };
            let postgres = EmbeddedPostgres::start(&folder.path().join("pg"), &settings)
                .expect("a private Postgres");
            Self { postgres, databases: AtomicU32::new(0), _folder: folder }
        });
        Arc::new(started.await.expect("Postgres starts"))
    }

    /// The server, to be watched or killed.
    #[must_use]
    pub fn postgres(&self) -> &EmbeddedPostgres {
        &self.postgres
    }

    /// Creates an empty database and gives its URL.
    pub async fn create_database(&self) -> String {
        let database = format!("world_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection =
            PgConnection::connect(&self.postgres.url()).await.expect("a connection");
        let sql = format!("create database {database}");
        connection.execute(AssertSqlSafe(sql)).await.expect("a database");
        ConnectionInfo { database, ..self.postgres.connection() }.url()
    }
}

fn fast_folder() -> PathBuf {
    let free =
        statvfs(MEMORY).map_or(0, |memory| memory.blocks_available() * memory.fragment_size());
    if free >= MEMORY_BYTES_MIN { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}
