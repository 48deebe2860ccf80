//! A generation to look up in, made from nothing but the keys' numbers.

use std::{ops::Range, sync::Arc};

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use cameo_batch::{RowDigest, arrow_schema};
use cameo_domain::{DataType, PredictionSchema, ServicePath};
use cameo_store::{
    Store,
    generations::{self, Generation, GenerationMeta, Writer},
    runs::{self, RunCounts},
};
use chrono::Utc;
use tokio::task::JoinSet;

use crate::commands::run;

/// COPY connections, as many as a worker has for a run.
const WRITERS: i64 = 2;
/// Rows of a batch.
const BATCH_ROWS: usize = 16_384;
/// The lease of the run; nobody else works here.
const LEASE_SECONDS: u32 = 3_600;

/// A generation that is complete, and that nobody reads yet.
pub(super) struct Sealed {
    pub(super) generation: Generation,
    pub(super) digest: RowDigest,
}

/// Writes and seals predictions for the keys from 1 to `rows`, as a worker does when a run has scored them.
pub(super) async fn load(
    store: &Store,
    path: &ServicePath,
    rows: i64,
    seed: i64,
) -> anyhow::Result<Sealed> {
    let (tenant, service) = (&path.tenant, &path.service);
    runs::create_manual(store, tenant, service, &run::fresh_key(), Utc::now(), "bench").await?;
    let claimed = runs::claim(store, "bench", LEASE_SECONDS).await?.context("no run is queued")?;
    let meta = GenerationMeta {
        release: claimed.release,
        hashes: claimed.hashes,
        watermark: None,
        data_fingerprint: None,
        predicted_at: Utc::now(),
        schema: claimed.schema.clone(),
    };
    let generation = generations::begin(store, &claimed, &meta).await?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let part = rows * writer / WRITERS..rows * (writer + 1) / WRITERS;
        writers.spawn(write(store.clone(), generation.clone(), part, seed));
    }
    let mut sent = RowDigest::default();
    while let Some(part) = writers.join_next().await {
        let part = part??;
        sent = RowDigest { rows: sent.rows + part.rows, checksum: sent.checksum ^ part.checksum };
    }
    let sealed = generations::seal(store, &generation).await?;
    if sealed != sent {
        bail!("expected {sent:?} in the table, found {sealed:?}");
    }
    Ok(Sealed { generation, digest: sent })
}

/// Publishes them.
pub(super) async fn publish(store: &Store, sealed: &Sealed) -> anyhow::Result<()> {
    let Sealed { generation, digest } = sealed;
    let rows = digest.rows;
    let counts = RunCounts { rows_read: rows, rows_scored: rows, ..RunCounts::default() };
    let (run, epoch) = (generation.run, generation.epoch);
    generations::publish(store, run, epoch, generation, *digest, &counts).await?;
    generations::refresh_views(store).await?;
    Ok(())
}

async fn write(
    store: Store,
    generation: Generation,
    rows: Range<i64>,
    seed: i64,
) -> anyhow::Result<RowDigest> {
    let mut writer = Writer::open(&store, &generation).await?;
    for start in rows.clone().step_by(BATCH_ROWS) {
        let keys: Vec<i64> = (start + 1..=rows.end).take(BATCH_ROWS).collect();
        writer.send(&batch(&generation.schema, &keys, seed)?).await?;
    }
    Ok(writer.finish().await?)
}

fn batch(schema: &PredictionSchema, keys: &[i64], seed: i64) -> anyhow::Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (at, column) in (0_i64..).zip(schema.columns()) {
        columns.push(match (at, column.data_type) {
            (0, DataType::Int) => Arc::new(Int64Array::from_iter_values(keys.iter().copied())),
            (1.., DataType::Float64) => {
                let score = |key: &i64| score(*key, seed.wrapping_add(at));
                Arc::new(Float64Array::from_iter_values(keys.iter().map(score)))
            }
            _ => bail!("expected an INT key and FLOAT64 predictions, found {column:?}"),
        });
    }
    Ok(RecordBatch::try_new(arrow_schema(schema), columns)?)
}

/// A number between 0 and 1 with as many digits as a model's.
fn score(key: i64, seed: i64) -> f64 {
    let mixed = (key ^ seed.rotate_left(32)).cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
