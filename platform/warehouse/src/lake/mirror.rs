//! The lake's copy of the predictions: one Parquet file per generation.
//!
//! What identifies a load (its id, rows and checksum) lies in the file's own metadata, so one rename
//! publishes data and identity together: there is no moment at which one is new and the other old.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use cameo_batch::RowDigest;
use cameo_domain::{GenerationId, ServiceName};

use super::Lake;
use crate::{
    BatchStream, LoadId, LoadOutcome, MirrorTable, WarehouseError, batches,
    engine::{Engine, quote_text, text},
    error::from_duckdb,
    postprocess,
};

pub(super) const STAGING: &str = "staging";
/// What the name of a file begins with that is not yet in its place.
pub(super) const STAGED_PREFIX: &str = ".loading-";
/// Memory of a load and of a digest: rows beyond it wait in the scratch folder, so that a mirror
/// needs no more for a hundred million rows than for one.
pub(super) const MEMORY_BYTES: u64 = 128 << 20;

/// Where a generation lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) file: PathBuf,
}

impl Place {
    pub(super) fn new(root: &Path, service: &ServiceName, generation: GenerationId) -> Self {
        let folder = root.join(MirrorTable::DATASET).join(service.as_str());
        let file = folder.join(format!("generation={generation}.parquet"));
        Self { folder, file }
    }
}

pub(super) struct Stored {
    pub(super) load: String,
    rows: u64,
}

pub(super) fn load(
    lake: &Lake,
    place: &Place,
    load: &LoadId,
    schema: &SchemaRef,
    rows: BatchStream,
    runtime: &tokio::runtime::Handle,
) -> Result<LoadOutcome, WarehouseError> {
    std::fs::create_dir_all(&place.folder)
        .map_err(|error| WarehouseError::io("create", &place.folder, &error))?;
    let engine = lake.engine(MEMORY_BYTES.min(lake.limits.memory_bytes), lake.limits.threads)?;
    // What cannot be read is no copy of this load: it is replaced like any other.
    if let Ok(Some(stored)) = stored(&engine, place)
        && stored.load == load.as_str()
    {
        return Ok(LoadOutcome { rows: stored.rows, already_loaded: true });
    }
    postprocess::create(&engine, STAGING, schema)?;
    let mut digest = RowDigest::default();
    let count =
        postprocess::append(&engine, STAGING, schema, rows, runtime, |batch| digest.add(batch))?;
    write(&engine, place, load.as_str(), digest)?;
    Ok(LoadOutcome { rows: count, already_loaded: false })
}

/// Writes beside the place, syncs, and renames: a reader sees the old file or the new one.
pub(super) fn write(
    engine: &Engine,
    place: &Place,
    load: &str,
    digest: RowDigest,
) -> Result<(), WarehouseError> {
    let staged = tempfile::Builder::new()
        .prefix(STAGED_PREFIX)
        .suffix(".tmp")
        .tempfile_in(&place.folder)
        .map_err(|error| WarehouseError::io("write in", &place.folder, &error))?;
    engine.execute(&format!(
        "COPY {STAGING} TO {} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{cameo_load: {}, \
         cameo_rows: '{}', cameo_checksum: '{:016x}'}})",
        text(staged.path()),
        quote_text(load),
        digest.rows,
        digest.checksum,
    ))?;
    let io = |error| WarehouseError::io("publish", &place.file, &error);
    // Opened anew: DuckDB may have replaced the file.
    File::open(staged.path()).and_then(|file| file.sync_all()).map_err(io)?;
    cameo_crashpoint::hit("mirror_staged");
    let staged = staged.into_temp_path();
    staged.persist(&place.file).map_err(|error| io(error.error))?;
    File::open(&place.folder).and_then(|folder| folder.sync_all()).map_err(io)
}

pub(super) fn stored(engine: &Engine, place: &Place) -> Result<Option<Stored>, WarehouseError> {
    if !place.file.is_file() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT decode(key), decode(value) FROM parquet_kv_metadata({})",
        text(&place.file)
    );
    let mut statement = engine.connection().prepare(&sql).map_err(|error| from_duckdb(&error))?;
    let pairs = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .map_err(|error| from_duckdb(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| from_duckdb(&error))?;
    let value =
        |wanted: &str| pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
    let (load, rows) =
        (value("cameo_load"), value("cameo_rows").and_then(|rows| rows.parse().ok()));
    Ok(load.zip(rows).map(|(load, rows)| Stored { load, rows }))
}

pub(super) fn digest(lake: &Lake, place: &Place) -> Result<RowDigest, WarehouseError> {
    if !place.file.is_file() {
        return Err(WarehouseError::Corrupt(format!(
            "{} is missing; the mirror must load the generation again",
            place.file.display()
        )));
    }
    let engine = lake.engine(MEMORY_BYTES.min(lake.limits.memory_bytes), lake.limits.threads)?;
    digest_of(&engine, place, &format!("read_parquet({})", text(&place.file)))
}

/// Count and checksum of what is read from the place's file.
pub(super) fn digest_of(
    engine: &Engine,
    place: &Place,
    relation: &str,
) -> Result<RowDigest, WarehouseError> {
    let sql = format!("SELECT * FROM {relation}");
    let broken = |error| unreadable(place, &error);
    let mut statement = engine.connection().prepare(&sql).map_err(broken)?;
    drop(statement.stream_arrow([]).map_err(broken)?);
    let schema = batches::output_schema(&statement.schema());
    let mut digest = RowDigest::default();
    while let Some(chunk) = statement.step().map_err(broken)? {
        digest.add(&batches::conform(&RecordBatch::from(&chunk), &schema)?);
    }
    Ok(digest)
}

/// The file is there and may be read: whatever else DuckDB objects to is in the file.
pub(super) fn unreadable(place: &Place, error: &duckdb::Error) -> WarehouseError {
    match from_duckdb(error) {
        known @ (WarehouseError::Limit { .. } | WarehouseError::Denied(_)) => known,
        other => WarehouseError::Corrupt(format!(
            "{} cannot be read: {other}; the mirror must load the generation again",
            place.file.display()
        )),
    }
}
