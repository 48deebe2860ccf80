//! How fast a model is here, on rows that are made up.

use std::sync::Arc;

use anyhow::bail;
use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
        RecordBatchOptions, StringArray,
    },
    datatypes::{DataType, SchemaRef},
};
use cameo_scoring::Scorer;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde::Serialize;

/// Rows of the first trial, and of a batch at most; a run scores as many at a time.
const ROWS: (usize, usize) = (64, 16_384);
/// Most values that are made up.
const VALUES_MAX: usize = 8 << 20;
/// CPU time in which batches and single rows are scored.
const BATCHES_SECONDS: f64 = 0.25;
const SINGLES_SECONDS: f64 = 0.05;
/// What is timed as one piece; the fastest piece counts.
const SLICE_SECONDS: f64 = 0.005;
/// Single rows that take turns.
const SINGLES: usize = 50;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    /// On one thread, rows per CPU second.
    pub(super) rows_per_second: f64,
    /// One row alone, in microseconds of CPU time.
    pub(super) single_row_us: f64,
    /// Rows of each batch.
    pub(super) batch_rows: usize,
    /// How it was measured, in words.
    pub(super) how: String,
}

/// Scores made-up rows on one thread for a fraction of a second.
pub(super) fn measure(scorer: &Scorer, schema: &SchemaRef) -> anyhow::Result<Speed> {
    let most = (VALUES_MAX / schema.fields().len().max(1)).clamp(1, ROWS.1);
    let trial = made_up(schema, ROWS.0.min(most))?;
    let begun = thread_seconds();
    let rejected = scorer.score(&trial)?.rejected;
    if let Some(rejected) = rejected.first() {
        bail!("the model rejects made-up rows: column {} {}", rejected.column, rejected.reason);
    }
    // A model that is slow on a few rows is measured on a few, so that looking at it stays quick.
    let per_row = (thread_seconds() - begun) / trial.num_rows() as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a row count")]
    let affordable = (BATCHES_SECONDS / 4.0 / per_row.max(1e-9)) as usize;
    let batch = made_up(schema, affordable.clamp(ROWS.0.min(most), most))?;
    let batch_rows = batch.num_rows();
    // Different rows, since one and the same would find all that it needs in the nearest cache.
    let singles: Vec<_> = (0..batch_rows.min(SINGLES)).map(|row| batch.slice(row, 1)).collect();
    let rows_per_second = 1.0 / seconds_per_row(scorer, &[batch], BATCHES_SECONDS)?;
    let single_row_us = seconds_per_row(scorer, &singles, SINGLES_SECONDS)? * 1e6;
    let how = format!(
        "CPU time on one thread of this machine just now, in batches of {batch_rows} made-up rows"
    );
    Ok(Speed { rows_per_second, single_row_us, batch_rows, how })
}

/// CPU time per row. Not the time on the clock, in which whatever else runs here has its share.
fn seconds_per_row(scorer: &Scorer, batches: &[RecordBatch], seconds: f64) -> anyhow::Result<f64> {
    scorer.score(&batches[0])?;
    let mut fastest = f64::INFINITY;
    let begun = thread_seconds();
    while fastest.is_infinite() || thread_seconds() - begun < seconds {
        let (slice, mut rows) = (thread_seconds(), 0);
        while rows == 0 || thread_seconds() - slice < SLICE_SECONDS {
            for batch in batches {
                scorer.score(batch)?;
                rows += batch.num_rows();
            }
        }
        fastest = fastest.min((thread_seconds() - slice) / rows as f64);
    }
    Ok(fastest)
}

/// CPU seconds of this thread.
fn thread_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0.0, |usage| {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

/// Rows around zero, the same ones each time.
fn made_up(schema: &SchemaRef, rows: usize) -> anyhow::Result<RecordBatch> {
    let mut state = 7_u64;
    let mut draw = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1_u64 << 22) as f32 - 2.0
    };
    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let values = (0..rows).map(|_| draw());
            match field.data_type() {
                DataType::Float32 => Arc::new(values.collect::<Float32Array>()) as ArrayRef,
                DataType::Float64 => Arc::new(values.map(f64::from).collect::<Float64Array>()),
                DataType::Int64 => {
                    Arc::new(values.map(|value| value.abs() as i64).collect::<Int64Array>())
                }
                DataType::Int32 => {
                    Arc::new(values.map(|value| value.abs() as i32).collect::<Int32Array>())
                }
                DataType::Boolean => {
                    Arc::new(values.map(|value| Some(value > 0.0)).collect::<BooleanArray>())
                }
                _ => Arc::new(StringArray::from(vec!["a"; rows])),
            }
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}
