//! Bringing the schema up to date.

use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection, migrate::MigrateError};

use super::{Fit, Step, known, newest, read_on, warn_ahead};
use crate::{Store, StoreError, error::sqlstate};

/// The oldest Postgres with all that the migrations use (`unique nulls not distinct`).
const SERVER_VERSION_MIN: i32 = 15;
/// Longest wait for one lock. Whoever waits for an exclusive lock holds up all that come later, so the wait is
/// short and the attempts are many. It is half of Postgres' `deadlock_timeout` as well: where a migration and others
/// wait for each other, it is the migration that gives way, and nobody's request fails for it.
const LOCK_TIMEOUT: &str = "set lock_timeout = '500ms'";
/// Between two attempts, in which those who were held up go on.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long locks are tried for, unless said otherwise: as long as another process may well migrate.
pub const MIGRATION_PATIENCE: Duration = Duration::from_mins(5);
/// `lock_not_available`, `deadlock_detected`.
const BLOCKED: [&str; 2] = ["55P03", "40P01"];

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The schema before.
    pub from: i64,
    /// The schema now.
    pub to: i64,
    /// What was missing.
    pub applied: Vec<Step>,
}

/// Brings the schema up to date, and rights and row security with it. Several processes may do so at once: they
/// take turns. Each migration is one transaction with the entry that says so: one that fails has changed nothing.
/// A newer schema that suffers this binary is left as it is.
///
/// # Errors
/// Those of [`super::Schema::fit`]; [`StoreError::ServerTooOld`]; [`StoreError::MigrationFailed`];
/// [`StoreError::MigrationBlocked`] after [`MIGRATION_PATIENCE`].
pub async fn migrate(store: &Store) -> Result<Migrated, StoreError> {
    migrate_within(store, MIGRATION_PATIENCE).await
}

/// [`migrate`] with another patience for locks.
pub async fn migrate_within(store: &Store, patience: Duration) -> Result<Migrated, StoreError> {
    let since = Instant::now();
    loop {
        match attempt(store).await {
            Err(error) if is_blocked(&error) => {
                if since.elapsed() >= patience {
                    let seconds = patience.as_secs();
                    return Err(StoreError::MigrationBlocked { seconds, source: Box::new(error) });
                }
                tracing::warn!("others hold a lock that a migration needs; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

async fn attempt(store: &Store) -> Result<Migrated, StoreError> {
    // On a connection of its own: dropped half-way it closes, and its migration rolls back.
    let mut connection = store.dedicated().await?;
    require_version(&mut connection).await?;
    let schema = read_on(&mut connection).await?;
    let from = schema.version();
    let applied = match schema.fit()? {
        Fit::Ahead => {
            warn_ahead(&schema);
            connection.close().await?;
            return Ok(Migrated { from, to: from, applied: Vec::new() });
        }
        Fit::Behind(missing) => missing,
        Fit::Current => Vec::new(),
    };
    connection.execute(LOCK_TIMEOUT).await?;
    run_to(&mut connection, newest()).await?;
    sqlx::query("select cameo.secure()").execute(&mut connection).await?;
    connection.close().await?;
    Ok(Migrated { from, to: newest(), applied })
}

/// Applies what is missing up to `version`.
pub(crate) async fn run_to(connection: &mut PgConnection, version: i64) -> Result<(), StoreError> {
    let migrator = known();
    migrator.run_direct(Some(version), connection, false).await.map_err(|error| match error {
        MigrateError::Execute(source) => StoreError::Database(source),
        MigrateError::ExecuteMigration(source, version) => {
            let named = migrator.iter().find(|migration| migration.version == version);
            let name = named.map_or_else(String::new, |found| found.description.to_string());
            StoreError::MigrationFailed { version, name, source }
        }
        error => StoreError::Migrate(error),
    })
}

fn is_blocked(error: &StoreError) -> bool {
    let (StoreError::Database(source) | StoreError::MigrationFailed { source, .. }) = error else {
        return false;
    };
    sqlstate(source).is_some_and(|code| BLOCKED.contains(&code.as_str()))
}

/// Refuses a server of before what the migrations use.
pub(super) async fn require_version(connection: &mut PgConnection) -> Result<String, StoreError> {
    let (number, text): (i32, String) = sqlx::query_as(
        "select current_setting('server_version_num')::integer, current_setting('server_version')",
    )
    .fetch_one(connection)
    .await?;
    if number / 10_000 < SERVER_VERSION_MIN {
        return Err(StoreError::ServerTooOld { found: text, wanted: SERVER_VERSION_MIN });
    }
    Ok(text)
}
