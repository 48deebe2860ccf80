//! What can go wrong in the store.

use cameo_batch::RowDigest;
use cameo_domain::{Epoch, GenerationId, RunId, RunState, SegmentName, TenantName, key::KeyError};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not there, or another tenant's.
    #[error("{0} not found")]
    NotFound(String),
    /// The lease was lost: another claim, the end of the run, or a person came first. Stop working
    /// on the run; nothing of this attempt will be published.
    #[error("run {run} is no longer held at epoch {epoch}")]
    StaleEpoch {
        /// The run.
        run: RunId,
        /// The epoch of the claim that has ended.
        epoch: Epoch,
    },
    /// Another worker goes on with the erasures of the tenant.
    #[error("the erasures of {0} are no longer held")]
    StaleTurn(TenantName),
    /// The lease of a task, to mirror a generation or to make its snapshot, was lost to another claim.
    #[error("the task of generation {0} is no longer held")]
    StaleTask(GenerationId),
    /// The segment was taken by another worker, because the lease ran out, or it has another version.
    #[error("the segment {tenant}/{segment} is no longer held")]
    StaleSegment {
        /// Whose.
        tenant: TenantName,
        /// Which.
        segment: SegmentName,
    },
    /// A segment is changed where it is defined.
    #[error(
        "the segment `{segment}` is defined in {place}; change it there, or choose another name"
    )]
    SegmentDefinedElsewhere {
        /// Which.
        segment: SegmentName,
        /// Where.
        place: String,
    },
    /// The generation's table was dropped after its pointer was read. Read the pointer again.
    #[error("generation {0} is no longer served")]
    StaleGeneration(GenerationId),
    /// Two rows of a generation have the same key.
    #[error("expected one row per key, found more: {example}")]
    DuplicateKey {
        /// One such key, in Postgres' words.
        example: String,
    },
    /// What arrived in the table is not what was sent.
    #[error(
        "expected {} rows with checksum {:016x}, found {} rows with checksum {:016x}",
        expected.rows, expected.checksum, found.rows, found.checksum
    )]
    DigestMismatch {
        /// What the writers sent.
        expected: RowDigest,
        /// What the table holds.
        found: RowDigest,
    },
    /// `read = scored + quarantined + suppressed` and `written = scored` must hold.
    #[error(
        "the counts do not reconcile: read {read}, scored {scored}, quarantined {quarantined}, \
         suppressed {suppressed}, written {written}"
    )]
    Counts {
        /// Rows that the features query gave.
        read: u64,
        /// Rows with predictions.
        scored: u64,
        /// Rows set aside.
        quarantined: u64,
        /// Rows of customers who were erased.
        suppressed: u64,
        /// Rows in the generation's table.
        written: u64,
    },
    /// The run is not in a state from which this can be done.
    #[error("run {run} is {found}, expected {expected}")]
    RunState {
        /// The run.
        run: RunId,
        /// Its state.
        found: RunState,
        /// The state in which this can be done.
        expected: &'static str,
    },
    /// There is no generation to which the service can roll back.
    #[error("cannot roll back: {0}")]
    NoRollback(String),
    /// The release cannot go where it was asked to.
    #[error("cannot promote: {0}")]
    Promotion(String),
    /// The key opens nothing any more, or was rotated already.
    #[error("cannot rotate: {0}")]
    KeyEnded(String),
    /// The service has no release in production: nothing can run.
    #[error("no release of {0} is in production; promote one")]
    NothingInProduction(String),
    /// A login of Postgres cannot be given or denied the role of a tenant.
    #[error("{0}")]
    Login(String),
    /// Nothing of the service has this name.
    #[error("{0}")]
    UnknownRelease(String),
    /// Several releases of the service have this name.
    #[error("{0}")]
    AmbiguousRelease(String),
    /// A text that is no key of the type that it should have.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system gave no random numbers.
    #[error("the operating system gives no random numbers, which a tenant's first erasure needs")]
    NoRandomness,
    /// More than a named bound allows.
    #[error("at most {limit} {what}, found {found}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// What was asked for.
        found: usize,
    },
    /// A batch or key of another schema than the generation's.
    #[error("{0}")]
    Schema(String),
    /// A writer whose earlier `send` failed or was cancelled.
    #[error("the writer was interrupted; begin a new attempt")]
    WriterInterrupted,
    /// The task that did the work ended without an answer.
    #[error("the database task ended early")]
    TaskEnded(#[source] tokio::task::JoinError),
    /// The database has a newer schema, which keeps this binary out.
    #[error(
        "the database has schema {found}, on which versions of Cameo work that know schema {works_since}; this \
         one knows {known}: use a newer one"
    )]
    SchemaTooNew {
        /// The schema of the database.
        found: i64,
        /// The schema that a binary has to know.
        works_since: i64,
        /// The newest schema that this binary knows.
        known: i64,
    },
    /// Migrations are missing.
    #[error(
        "the database has schema {found}, and this version of Cameo works on schema {known}; `cameo migrate` \
         brings it there, and so does the start of `cameo up` and `cameo serve`"
    )]
    SchemaBehind {
        /// The schema of the database.
        found: i64,
        /// The schema that this binary brings.
        known: i64,
    },
    /// Two versions of one migration.
    #[error(
        "migration {0} of the database is another one than that of this version of Cameo: they come from \
         different builds; use the one that made the database"
    )]
    MigrationChanged(i64),
    /// A migration failed, and changed nothing.
    #[error(
        "migration {version} ({name}) failed and changed nothing, so that the version from before still works"
    )]
    MigrationFailed {
        /// Its number.
        version: i64,
        /// Its name.
        name: String,
        /// What Postgres says.
        source: sqlx::Error,
    },
    /// Others hold what a migration has to change.
    #[error(
        "others held locks that a migration needs for {seconds} s, and nothing was changed; \
         `cameo migrate --check` names them"
    )]
    MigrationBlocked {
        /// For how long it was tried.
        seconds: u64,
        /// The last attempt.
        source: Box<StoreError>,
    },
    /// The server is older than what the migrations use.
    #[error("the database is served by Postgres {found}; expected {wanted} or newer")]
    ServerTooOld {
        /// Its version.
        found: String,
        /// The oldest major version that will do.
        wanted: i32,
    },
    /// A backup of a database that was never migrated.
    #[error("there is nothing to back up: the database has no schema `cameo`")]
    NothingToBackUp,
    /// Tables came and went at each attempt to look at all of them.
    #[error("tables were made and dropped at every attempt to list them; try again")]
    Unsettled,
    /// A backup goes into an empty database alone.
    #[error(
        "the database is not empty, it has {schemas}; restore into a new one, so that nothing of the two is \
         mixed or lost"
    )]
    NotEmpty {
        /// Its schemas of Cameo.
        schemas: String,
    },
    /// A backup whose tables are not those of the schema that it names.
    #[error("the backup does not fit its schema: {0}")]
    BackupShape(String),
    /// What lists the migrations, or their entries, are not as they should be.
    #[error("the migrations cannot be applied")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The connection URL is wrong.
    #[error("the database URL cannot be used")]
    Url(#[source] sqlx::Error),
    /// Postgres or the connection to it.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Classes of SQLSTATE after which the same statement may succeed later: lost connection,
/// transaction rolled back, resources, operator, system.
const TRANSIENT_CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
/// `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// `feature_not_supported`; of a prepared statement, with the words below: a migration has added a column to
/// what it reads.
const FEATURE_NOT_SUPPORTED: &str = "0A000";
const PLAN_OUTLIVED: &str = "cached plan must not change result type";

impl StoreError {
    /// Whether trying again later may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                code == LOCK_NOT_AVAILABLE
                    || code == FEATURE_NOT_SUPPORTED && error.message() == PLAN_OUTLIVED
                    || TRANSIENT_CLASSES.iter().any(|class| code.starts_with(class))
            }),
            Self::Database(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Protocol(_)
                | sqlx::Error::WorkerCrashed,
            )
            | Self::TaskEnded(_)
            | Self::WriterInterrupted
            | Self::DigestMismatch { .. } => true,
            _ => false,
        }
    }

    /// The SQLSTATE, where Postgres gave one.
    pub(crate) fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Database(error) => sqlstate(error),
            _ => None,
        }
    }
}

/// The SQLSTATE of an error that Postgres sent.
pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}
