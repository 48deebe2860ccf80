//! Rows per CPU second of a tree ensemble on one thread: `Scorer::score` over Arrow batches, then each kernel alone,
//! for all rows at once and, for those that are made for it, for one row at a time.
//!
//! `speed MODEL INPUTS.f32`; the inputs are rows of little-endian floats as `speed_onnxruntime.py` writes them.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

mod support;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch};
use cameo_scoring::{Scorer, ScoringLimits, inspect, measure};
use support::{cpu_seconds, floats};

/// CPU time of one measurement; the best of [`ATTEMPTS`] counts, since a busy machine only ever slows one down.
const SECONDS: f64 = 1.0;
const ATTEMPTS: usize = 3;
const BATCHES: [usize; 3] = [1024, 8192, 65_536];
/// Rows that are scored one at a time.
const SINGLE_ROWS: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, inputs] = &arguments[..] else {
        return Err("expected two arguments: MODEL INPUTS.f32".into());
    };
    let model = std::fs::read(model)?;
    let width =
        inspect(&model)?.inputs[0].width.ok_or("the model's input must have a fixed width")?;
    let values = floats(inputs)?;
    let rows = values.len() / width;

    for double in [false, true] {
        let columns = (0..width).map(|index| {
            let column = values.iter().skip(index).step_by(width);
            let column: ArrayRef = if double {
                Arc::new(column.map(|value| f64::from(*value)).collect::<Float64Array>())
            } else {
                Arc::new(column.copied().collect::<Float32Array>())
            };
            (format!("f{index}"), column)
        });
        let batch = RecordBatch::try_from_iter(columns)?;
        let scorer = Scorer::load(&model, None, &batch.schema(), &ScoringLimits::default())?;
        for count in BATCHES.into_iter().filter(|count| *count <= rows) {
            let parts: Vec<RecordBatch> = (0..rows)
                .step_by(count)
                .map(|start| batch.slice(start, count.min(rows - start)))
                .collect();
            let kind = if double { "float64" } else { "float32" };
            report(&format!("Scorer::score, {kind}, batches of {count}"), rows, || {
                for part in &parts {
                    black_box(scorer.score(black_box(part)).expect("scores"));
                }
            })?;
        }
    }
    for kernel in measure::kernels(&model)? {
        report(&format!("kernel {}", kernel.name()), rows, || {
            black_box(kernel.score(black_box(&values), width));
        })?;
        if kernel.name().contains("walk") {
            let single = &values[..width * rows.min(SINGLE_ROWS)];
            report(&format!("kernel {}, row by row", kernel.name()), single.len() / width, || {
                for row in single.chunks_exact(width) {
                    black_box(kernel.score(black_box(row), width));
                }
            })?;
        }
    }
    Ok(())
}

fn report(name: &str, rows: usize, mut work: impl FnMut()) -> Result<(), Box<dyn Error>> {
    work();
    let mut best = 0f64;
    for _ in 0..ATTEMPTS {
        let start = cpu_seconds()?;
        let mut scored = 0;
        let mut spent = 0.0;
        while spent < SECONDS {
            work();
            scored += rows;
            spent = cpu_seconds()? - start;
        }
        best = best.max(scored as f64 / spent);
    }
    println!("{name:<48} {:>8.3} million rows per CPU second", best / 1e6);
    Ok(())
}
