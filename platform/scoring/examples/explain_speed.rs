//! Rows per CPU second of exact `TreeSHAP` on one thread, at each instruction level of the machine.
//!
//! `explain_speed MODEL INPUTS.f32`; the inputs are rows of little-endian floats as
//! `explain_speed_peer.py` measures its peer on. The first rows are the background.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

mod support;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use cameo_scoring::explain::{ExplainOptions, Explainer, Method};
use cameo_scoring::measure::Level;
use cameo_scoring::{ScoringLimits, inspect};
use support::{cpu_seconds, floats};

/// Rows of the background.
const BACKGROUND_ROWS: usize = 200;
/// Rows that are explained at once.
const BATCH_ROWS: usize = 4_096;
/// CPU time of one measurement at least; the best of [`ATTEMPTS`] counts.
const SECONDS: f64 = 0.3;
const ATTEMPTS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, inputs] = &arguments[..] else {
        return Err("expected two arguments: MODEL INPUTS.f32".into());
    };
    let model = std::fs::read(model)?;
    let width =
        inspect(&model)?.inputs[0].width.ok_or("the model's input must have a fixed width")?;
    let values = floats(inputs)?;
    let columns = (0..width).map(|index| {
        let column: ArrayRef = Arc::new(Float32Array::from_iter_values(
            values.iter().skip(index).step_by(width).copied(),
        ));
        (format!("f{index}"), column)
    });
    let rows = RecordBatch::try_from_iter(columns)?;
    let background = rows.slice(0, BACKGROUND_ROWS);
    for method in [Method::TreePathDependent, Method::TreeInterventional] {
        for level in Level::available() {
            let options = ExplainOptions { method, ..ExplainOptions::default() };
            let start = cpu_seconds()?;
            let limits = ScoringLimits::default();
            let explainer = level.at_most(|| {
                Explainer::load(&model, None, &rows.schema(), &background, &options, &limits)
            })?;
            let load = cpu_seconds()? - start;
            println!("{} (loaded in {load:.2} CPU s)", explainer.describe());
            for count in [BATCH_ROWS, 1] {
                let rate = rate(&explainer, &rows, count)?;
                println!("  batches of {count}: {rate:.0} rows per CPU second");
            }
        }
    }
    Ok(())
}

fn rate(explainer: &Explainer, rows: &RecordBatch, count: usize) -> Result<f64, Box<dyn Error>> {
    let mut best = 0f64;
    for _ in 0..ATTEMPTS {
        let (start, begun) = (cpu_seconds()?, Instant::now());
        let mut done = 0;
        while cpu_seconds()? - start < SECONDS && begun.elapsed().as_secs() < 30 {
            let at = done % (rows.num_rows() - count);
            black_box(explainer.explain(black_box(&rows.slice(at, count)))?);
            done += count;
        }
        best = best.max(done as f64 / (cpu_seconds()? - start));
    }
    Ok(best)
}
