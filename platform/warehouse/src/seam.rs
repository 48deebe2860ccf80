//! The seam itself: what every warehouse does, in types that belong to none of them.

use std::{fmt, pin::Pin, str::FromStr};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use async_trait::async_trait;
use cameo_batch::RowDigest;
use cameo_domain::{ColumnName, GenerationId, Key, ServiceName, Sha256, TenantName};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::Stream;

use crate::WarehouseError;

/// Longest load id, in bytes: it becomes part of a file's metadata and of a BigQuery job id.
pub const LOAD_ID_BYTES_MAX: usize = 128;

/// The named parameters of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// `@run_time`, a TIMESTAMP: the due instant of the run.
    pub run_time: DateTime<Utc>,
    /// `@run_date`, a DATE: the date of `run_time` in the service's zone.
    pub run_date: NaiveDate,
}

impl Parameters {
    /// `run_time` with its date in UTC.
    #[must_use]
    pub fn utc(run_time: DateTime<Utc>) -> Self {
        Self { run_time, run_date: run_time.date_naive() }
    }
}

/// A query as the tenant wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// One GoogleSQL query statement.
    pub sql: String,
    /// Values of `@run_time` and `@run_date`.
    pub parameters: Parameters,
}

/// One table that a query reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStats {
    /// `dataset.table`.
    pub name: String,
    /// Rows, where the format carries the count.
    pub rows: Option<u64>,
    /// Stored bytes.
    pub bytes: Option<u64>,
    /// Newest modification.
    pub modified_at: Option<DateTime<Utc>>,
}

/// What a query would give and cost, found without running it.
#[derive(Debug, Clone)]
pub struct QueryDescription {
    /// Output columns, in order.
    pub schema: SchemaRef,
    /// The tables it reads, by name.
    pub tables: Vec<TableStats>,
    /// Rows of the largest table it reads: no query gives more than it reads unless it joins or
    /// unnests.
    pub rows_estimated: Option<u64>,
    /// Stored bytes of all tables that it reads.
    pub bytes_estimated: Option<u64>,
    /// Newest modification of what it reads.
    pub watermark: Option<DateTime<Utc>>,
    /// Digest of names, sizes and modification times of what it reads.
    pub data_fingerprint: Sha256,
    /// The SQL that the engine is given.
    pub sql_rewritten: String,
}

/// Batches that arrive one after the other. Dropping it cancels what produces them.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, WarehouseError>> + Send>>;

/// Bounds of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Memory of the engine; beyond it, it spills to disk, and what cannot spill fails.
    pub memory_limit_bytes: u64,
    /// Threads of the engine.
    pub threads: usize,
    /// How many streams the rows are dealt to.
    pub partitions: usize,
    /// Rows per batch; only the last batch of a stream is smaller.
    pub batch_rows: usize,
}

/// A running query.
pub struct ReadOutcome {
    /// Schema of every batch.
    pub schema: SchemaRef,
    /// The rows, each in exactly one stream. Dropping all of them cancels the query.
    pub partitions: Vec<BatchStream>,
}

/// The warehouse's copy of a service's predictions, one part per generation. Tenants read it as
/// `predictions.<service>` with an additional column `generation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorTable {
    /// Whose predictions.
    pub service: ServiceName,
}

impl MirrorTable {
    /// The dataset that holds the mirrored tables.
    pub const DATASET: &'static str = "predictions";
    /// The column that tells generations apart.
    pub const GENERATION_COLUMN: &'static str = "generation";
}

/// Names one load. Repeating a load with the same id changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoadId(String);

/// A text that is no load id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a load id of 1 to {LOAD_ID_BYTES_MAX} letters, digits, `_` or `-`, found `{0}`")]
pub struct LoadIdError(String);

impl LoadId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LoadId {
    type Err = LoadIdError;

    fn from_str(text: &str) -> Result<Self, LoadIdError> {
        let valid = !text.is_empty()
            && text.len() <= LOAD_ID_BYTES_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(LoadIdError(text.to_owned())) }
    }
}

impl fmt::Display for LoadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOutcome {
    /// Rows of the generation in the warehouse.
    pub rows: u64,
    /// The same load had been completed before; nothing was written.
    pub already_loaded: bool,
}

/// What erasing from a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// How many rows of each key were removed, in the order of the keys.
    pub rows: Vec<u64>,
    /// Count and checksum of what the copy holds now, computed from what is stored; none where it had no
    /// row of these keys and was left as it was, or where there is no copy.
    pub copy: Option<RowDigest>,
}

/// Where features come from and predictions are mirrored to.
#[async_trait]
pub trait Warehouse: Send + Sync {
    /// Schema, tables and estimated cost of a query, without running it.
    async fn describe(
        &self,
        tenant: &TenantName,
        query: &Query,
    ) -> Result<QueryDescription, WarehouseError>;

    /// Runs a query and streams its rows. Dropping the streams cancels it.
    async fn read(
        &self,
        tenant: &TenantName,
        query: &Query,
        options: &ReadOptions,
    ) -> Result<ReadOutcome, WarehouseError>;

    /// Writes one generation of a service's predictions, whole or not at all. A repeat with the
    /// same load id writes nothing; another load id replaces the generation.
    async fn load(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        load: &LoadId,
        generation: GenerationId,
        schema: SchemaRef,
        rows: BatchStream,
    ) -> Result<LoadOutcome, WarehouseError>;

    /// Removes customers from the copy of a generation: the file, or whatever holds it, is written anew
    /// under its load id without their rows, whole or not at all. The caller makes sure that nobody loads
    /// the service's generations meanwhile; what an interrupted load left behind is removed as well.
    async fn erase(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        generation: GenerationId,
        key_column: &ColumnName,
        keys: &[Key],
    ) -> Result<Erased, WarehouseError>;

    /// Removes what queries of processes that were killed had spilled.
    async fn remove_orphans(&self) -> Result<(), WarehouseError>;

    /// Count and checksum of a mirrored generation, computed from what is stored.
    async fn digest(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        generation: GenerationId,
    ) -> Result<RowDigest, WarehouseError>;
}
