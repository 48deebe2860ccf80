//! DuckDB: one fresh in-memory database per query, locked before tenant SQL reaches it.
//!
//! The order of the settings matters and is held by a test: files may be opened freely while the
//! views are made; then the exact files are listed, external access is switched off (the lists
//! cannot be set afterwards), and the configuration is locked (nothing can be set afterwards).
//! Even SQL that the rewriter never saw then reads nothing but those files.

mod cancel;
mod orphans;
mod stream;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use duckdb::{Config, Connection};
use tempfile::TempDir;

pub(crate) use cancel::{Cancel, CancelOnDrop};
pub(crate) use orphans::remove_orphans;
pub(crate) use stream::stream;

use crate::{WarehouseError, error::from_duckdb, googlesql};

/// Floor of the memory limit: a smaller one is raised to it, rather than left to fail at start.
pub(crate) const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// What one query may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineLimits {
    pub(crate) memory_bytes: u64,
    pub(crate) threads: usize,
    pub(crate) scratch_bytes: u64,
}

/// A database of its own with a scratch folder of its own; dropping it removes both.
pub(crate) struct Engine {
    // Declared first so that it closes its files before the folder is removed.
    connection: Connection,
    scratch: TempDir,
    // Locked for as long as the process lives.
    _claim: File,
}

impl Engine {
    /// Opens a database that spills into a new folder under `scratch_parent`.
    pub(crate) fn open(
        scratch_parent: &Path,
        limits: EngineLimits,
    ) -> Result<Self, WarehouseError> {
        let scratch =
            tempfile::Builder::new().prefix(orphans::PREFIX).tempdir_in(scratch_parent).map_err(
                |error| WarehouseError::io("create a scratch folder in", scratch_parent, &error),
            )?;
        let claim = orphans::claim(scratch.path())?;
        let config = Config::default()
            .enable_autoload_extension(false)
            .and_then(|config| config.with("allow_community_extensions", "false"))
            .map_err(|error| from_duckdb(&error))?;
        let connection =
            Connection::open_in_memory_with_flags(config).map_err(|error| from_duckdb(&error))?;
        let engine = Self { connection, scratch, _claim: claim };
        engine.execute(&format!(
            "SET TimeZone = 'UTC'; SET memory_limit = '{memory}B'; SET threads = {threads}; \
             SET temp_directory = {folder}; SET max_temp_directory_size = '{scratch}B'; \
             SET preserve_insertion_order = false; SET arrow_large_buffer_size = false;",
            memory = limits.memory_bytes.max(MEMORY_BYTES_MIN),
            threads = limits.threads.max(1),
            folder = text(engine.scratch.path()),
            scratch = limits.scratch_bytes,
        ))?;
        engine.execute(googlesql::MACROS)?;
        Ok(engine)
    }

    /// Lets nothing but `files` be read from now on, and nothing be set.
    pub(crate) fn lock(&self, files: &[PathBuf]) -> Result<(), WarehouseError> {
        let files = files.iter().map(|file| text(file)).collect::<Vec<_>>().join(", ");
        self.execute(&format!(
            "SET allowed_paths = [{files}]; SET allowed_directories = [{scratch}]; \
             SET enable_external_access = false; SET lock_configuration = true;",
            scratch = text(self.scratch.path()),
        ))
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn execute(&self, sql: &str) -> Result<(), WarehouseError> {
        self.connection.execute_batch(sql).map_err(|error| from_duckdb(&error))
    }
}

/// A path as an SQL string.
pub(crate) fn text(path: &Path) -> String {
    quote_text(&path.to_string_lossy())
}

/// A string literal.
pub(crate) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An identifier.
pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: EngineLimits =
        EngineLimits { memory_bytes: 256 << 20, threads: 1, scratch_bytes: 1 << 30 };

    #[test]
    fn a_locked_database_reads_the_listed_files_and_nothing_else() {
        let home = tempfile::tempdir().expect("a folder");
        let (listed, other) = (home.path().join("listed.csv"), home.path().join("other.csv"));
        for file in [&listed, &other] {
            std::fs::write(file, "x\n1\n").expect("a file");
        }
        let engine = Engine::open(home.path(), LIMITS).expect("an engine");
        engine.lock(std::slice::from_ref(&listed)).expect("a lock");
        let run = |sql: &str| engine.execute(sql);
        run(&format!("SELECT * FROM read_csv({})", text(&listed))).expect("a listed file");
        for sql in [
            format!("SELECT * FROM read_csv({})", text(&other)),
            "SELECT * FROM read_csv('/etc/passwd')".to_owned(),
            "SELECT * FROM '/etc/passwd'".to_owned(),
            "SELECT * FROM read_text('/etc/passwd')".to_owned(),
            "SELECT * FROM read_blob('/etc/*')".to_owned(),
            "SELECT * FROM read_parquet('https://example.com/x.parquet')".to_owned(),
            format!("COPY (SELECT 1) TO {}", text(&home.path().join("made.csv"))),
            format!("ATTACH {}", text(&home.path().join("made.db"))),
            "INSTALL httpfs".to_owned(),
            "LOAD httpfs".to_owned(),
            "SELECT getenv('HOME')".to_owned(),
            "SET enable_external_access = true".to_owned(),
            "SET allowed_directories = ['/']".to_owned(),
            "SET lock_configuration = false".to_owned(),
            "SET memory_limit = '100GB'".to_owned(),
            format!("EXPORT DATABASE {}", text(&home.path().join("made"))),
        ] {
            assert!(run(&sql).is_err(), "{sql} was allowed");
        }
        let listing =
            engine
                .connection()
                .query_row("SELECT count(*) FROM glob('/etc/*')", [], |row| row.get::<_, i64>(0));
        assert!(listing.is_err() || listing == Ok(0), "glob listed a folder");
    }
}
