//! The embedded warehouse: DuckDB over Parquet and CSV tables in a folder.
//!
//! `<folder>/<tenant>/<dataset>/<table>.parquet`, `.csv`, or `<table>/*.parquet`. A tenant sees its
//! own folder and nothing else.

mod erase;
mod mirror;
mod tables;
mod views;

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use cameo_batch::RowDigest;
use cameo_domain::{ColumnName, GenerationId, Key, ServiceName, Sha256, TenantName};

use self::tables::Table;
use crate::{
    BatchStream, Erased, LoadId, LoadOutcome, Query, QueryDescription, ReadOptions, ReadOutcome,
    TableStats, Warehouse, WarehouseError,
    engine::{self, Cancel, Engine, EngineLimits},
    googlesql::{self, Context, Rewritten},
    postprocess,
};

/// What the lake may use besides what each read is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeLimits {
    /// Where queries spill; a subfolder per query, removed afterwards.
    pub scratch_folder: PathBuf,
    /// Most bytes that one query may spill.
    pub scratch_bytes_max: u64,
    /// Memory for descriptions, loads and digests.
    pub memory_bytes: u64,
    /// Threads for descriptions, loads and digests.
    pub threads: usize,
}

impl LakeLimits {
    /// 64 GiB of scratch, 1 GiB of memory and two threads.
    #[must_use]
    pub fn with_scratch(scratch_folder: impl Into<PathBuf>) -> Self {
        Self {
            scratch_folder: scratch_folder.into(),
            scratch_bytes_max: 64 << 30,
            memory_bytes: 1 << 30,
            threads: 2,
        }
    }
}

/// Tables in a folder, read by DuckDB.
#[derive(Debug, Clone)]
pub struct Lake {
    folder: PathBuf,
    limits: LakeLimits,
}

impl Lake {
    /// Opens the lake in `folder`; both folders are made when they are missing.
    pub fn open(folder: &Path, limits: LakeLimits) -> Result<Self, WarehouseError> {
        for wanted in [folder, &limits.scratch_folder] {
            std::fs::create_dir_all(wanted)
                .map_err(|error| WarehouseError::io("create", wanted, &error))?;
        }
        let folder =
            folder.canonicalize().map_err(|error| WarehouseError::io("find", folder, &error))?;
        Ok(Self { folder, limits })
    }

    fn tenant_folder(&self, tenant: &TenantName) -> PathBuf {
        self.folder.join(tenant.as_str())
    }

    fn engine(&self, memory_bytes: u64, threads: usize) -> Result<Engine, WarehouseError> {
        let limits =
            EngineLimits { memory_bytes, threads, scratch_bytes: self.limits.scratch_bytes_max };
        Engine::open(&self.limits.scratch_folder, limits)
    }

    /// An engine that knows the query's tables and is locked, and that `cancel` watches.
    fn prepared(
        &self,
        tenant: &TenantName,
        rewritten: &Rewritten,
        memory_bytes: u64,
        threads: usize,
        cancel: &Cancel,
    ) -> Result<(Engine, Vec<Table>), WarehouseError> {
        let root = self.tenant_folder(tenant);
        let tables = rewritten.tables.iter().map(|name| tables::locate(&root, name));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        let engine = self.engine(memory_bytes, threads)?;
        cancel.watch(&engine)?;
        for table in &tables {
            views::create(&engine, table)?;
        }
        let files =
            tables.iter().flat_map(|table| table.files.iter().map(|file| file.path.clone()));
        engine.lock(&files.collect::<Vec<_>>())?;
        Ok((engine, tables))
    }

    fn describe_now(
        &self,
        tenant: &TenantName,
        query: &Query,
        cancel: &Cancel,
    ) -> Result<QueryDescription, WarehouseError> {
        let rewritten = googlesql::to_duckdb(&query.sql, &Context::lake(query.parameters))?;
        let LakeLimits { memory_bytes, threads, .. } = self.limits;
        let (engine, tables) = self.prepared(tenant, &rewritten, memory_bytes, threads, cancel)?;
        let schema = postprocess::describe(&engine, &rewritten.sql)?;
        let stats = tables.iter().map(|table| table.stats(&engine));
        let stats = stats.collect::<Result<Vec<TableStats>, _>>()?;
        let largest = stats.iter().filter_map(|table| table.rows).max();
        Ok(QueryDescription {
            schema,
            rows_estimated: largest,
            bytes_estimated: stats.iter().map(|table| table.bytes).sum(),
            watermark: stats.iter().filter_map(|table| table.modified_at).max(),
            data_fingerprint: fingerprint(&tables),
            tables: stats,
            sql_rewritten: rewritten.sql,
        })
    }
}

/// Names, sizes and modification times of everything that is read.
fn fingerprint(tables: &[Table]) -> Sha256 {
    let parts = tables.iter().flat_map(|table| {
        table.files.iter().map(move |file| {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            let state = format!("{}\0{name}\0{}\0{:?}", table.name(), file.bytes, file.modified_at);
            (table.name(), state)
        })
    });
    let parts: Vec<_> = parts.collect();
    Sha256::of_parts(parts.iter().map(|(name, state)| (name.as_str(), state.as_bytes())))
}

/// Runs blocking work off the async threads.
async fn blocking<T, F>(work: F) -> Result<T, WarehouseError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, WarehouseError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| WarehouseError::Transient(format!("the lake's thread failed: {error}")))?
}

#[async_trait]
impl Warehouse for Lake {
    async fn describe(
        &self,
        tenant: &TenantName,
        query: &Query,
    ) -> Result<QueryDescription, WarehouseError> {
        let (lake, tenant, query) = (self.clone(), tenant.clone(), query.clone());
        let (cancel, _guard) = Cancel::new();
        blocking(move || {
            let described = lake.describe_now(&tenant, &query, &cancel);
            cancel.ended();
            described
        })
        .await
    }

    async fn read(
        &self,
        tenant: &TenantName,
        query: &Query,
        options: &ReadOptions,
    ) -> Result<ReadOutcome, WarehouseError> {
        let rewritten = googlesql::to_duckdb(&query.sql, &Context::lake(query.parameters))?;
        let (lake, tenant, options) = (self.clone(), tenant.clone(), *options);
        let prepare = move |cancel: &Cancel| {
            let ReadOptions { memory_limit_bytes, threads, .. } = options;
            let (engine, _) =
                lake.prepared(&tenant, &rewritten, memory_limit_bytes, threads, cancel)?;
            Ok((engine, rewritten.sql))
        };
        engine::stream(prepare, options).await
    }

    async fn load(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        load: &LoadId,
        generation: GenerationId,
        schema: SchemaRef,
        rows: BatchStream,
    ) -> Result<LoadOutcome, WarehouseError> {
        let lake = self.clone();
        let place = mirror::Place::new(&self.tenant_folder(tenant), service, generation);
        let (load, runtime) = (load.clone(), tokio::runtime::Handle::current());
        blocking(move || mirror::load(&lake, &place, &load, &schema, rows, &runtime)).await
    }

    async fn erase(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        generation: GenerationId,
        key_column: &ColumnName,
        keys: &[Key],
    ) -> Result<Erased, WarehouseError> {
        let lake = self.clone();
        let place = mirror::Place::new(&self.tenant_folder(tenant), service, generation);
        let (key_column, keys) = (key_column.clone(), keys.to_vec());
        blocking(move || erase::erase(&lake, &place, &key_column, &keys)).await
    }

    async fn remove_orphans(&self) -> Result<(), WarehouseError> {
        let scratch = self.limits.scratch_folder.clone();
        blocking(move || engine::remove_orphans(&scratch)).await
    }

    async fn digest(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        generation: GenerationId,
    ) -> Result<RowDigest, WarehouseError> {
        let lake = self.clone();
        let place = mirror::Place::new(&self.tenant_folder(tenant), service, generation);
        blocking(move || mirror::digest(&lake, &place)).await
    }
}
