//! Contributions of every row, beside those of the libraries that trained the models.

use std::{hint::black_box, process::ExitCode, time::Instant};

use anyhow::Context;
use arrow::{array::AsArray, array::RecordBatch, datatypes::Float32Type};
use cameo_scoring::{
    ScoringLimits,
    explain::{Covers, ExplainOptions, Explained, Explainer},
};
use serde::Serialize;

use super::{
    measure::cpu_seconds,
    median,
    models::{Measurable, prepare},
    peer::{Peer, Work},
    scoring::in_thousands,
};
use crate::{
    cli::BenchExplain,
    output::{Output, markdown},
};

/// Rows of a batch, and those that the slower libraries explain.
const BATCH_ROWS: usize = 4_096;
const PEER_ROWS: usize = 256;
/// CPU time of one measurement.
const SECONDS: f64 = 0.5;
/// Rows against whom the others are explained where the trainer's own counts are not used.
const BACKGROUND_ROWS: usize = 1_000;

/// Figures of one model.
#[derive(Debug, Serialize)]
struct Measured {
    model: String,
    peer: String,
    way: String,
    peer_rows_per_cpu_second: f64,
    rows_per_cpu_second: f64,
    /// CPU time of one row alone, in microseconds.
    single_row_us: f64,
    prepared_seconds: f64,
    /// Largest difference of a contribution from the peer's, relative for contributions above 1.
    difference_max: f64,
}

pub(super) fn run(wanted: &BenchExplain, output: Output) -> anyhow::Result<ExitCode> {
    let models = prepare(&wanted.models, &wanted.models_script, Some(&wanted.peer))?;
    let mut peer = Peer::start(&wanted.peer, &wanted.peer_script, &wanted.models)?;
    let mut measured = Vec::new();
    for model in &models {
        if matches!(model.listed.library.as_deref(), Some("xgboost" | "lightgbm")) {
            output.line(output.dim(&model.listed.title));
            measured.push(measure(model, &mut peer, wanted.rounds.max(1))?);
        }
    }
    output.show(&measured, |measured| report(measured))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(model: &Measurable, peer: &mut Peer, rounds: u32) -> anyhow::Result<Measured> {
    peer.load(&model.listed.name, 1)?;
    let covers = Covers { trees: peer.covers()? };
    let began = cpu_seconds();
    let explainer = Explainer::load_with_covers(
        &model.model,
        None,
        &model.schema(),
        &model.rows.slice(0, BACKGROUND_ROWS),
        &covers,
        &ExplainOptions::default(),
        &ScoringLimits::default(),
    )
    .with_context(|| format!("{} cannot be explained", model.listed.name))?;
    let prepared_seconds = cpu_seconds() - began;
    let (batches, singles) = (model.batches(BATCH_ROWS), model.batches(1));
    let (mut ours, mut alone, mut theirs) = (vec![], vec![], vec![]);
    let mut expected = vec![];
    for _ in 0..rounds {
        let (work, contributions) = peer.contributions(PEER_ROWS)?;
        expected = contributions;
        theirs.push(rate(&work));
        ours.push(rate(&explain(&explainer, &batches)?));
        alone.push(1e6 / rate(&explain(&explainer, &singles[..PEER_ROWS])?));
    }
    let found = explainer.explain(&model.rows.slice(0, PEER_ROWS))?;
    Ok(Measured {
        model: model.listed.title.clone(),
        peer: peer.version(model.listed.library.as_deref().unwrap_or_default()),
        way: explainer.describe(),
        peer_rows_per_cpu_second: median(theirs),
        rows_per_cpu_second: median(ours),
        single_row_us: median(alone),
        prepared_seconds,
        difference_max: difference(&found, explainer.base_value(), &expected),
    })
}

fn rate(work: &Work) -> f64 {
    work.rows as f64 / work.cpu_seconds
}

/// Explains the batches over and over on one thread, until it had its CPU time.
fn explain(explainer: &Explainer, batches: &[RecordBatch]) -> anyhow::Result<Work> {
    let (began, wall, mut rows) = (cpu_seconds(), Instant::now(), 0);
    while cpu_seconds() - began < SECONDS {
        for batch in batches {
            black_box(explainer.explain(black_box(batch))?);
            rows += batch.num_rows() as u64;
            if cpu_seconds() - began >= SECONDS {
                break;
            }
        }
    }
    Ok(Work {
        rows,
        cpu_seconds: cpu_seconds() - began,
        wall_seconds: wall.elapsed().as_secs_f64(),
    })
}

/// Largest difference from the peer's rows of contributions with the base value last.
fn difference(found: &Explained, base_value: f64, expected: &[f64]) -> f64 {
    let width = found.contributions.num_columns() + 1;
    let apart = |found: f64, expected: f64| (found - expected).abs() / expected.abs().max(1.0);
    let mut largest = 0f64;
    for (row, expected) in expected.chunks_exact(width).enumerate() {
        for (column, expected) in found.contributions.columns().iter().zip(expected) {
            let value = column.as_primitive::<Float32Type>().value(row);
            largest = largest.max(apart(f64::from(value), *expected));
        }
        largest = largest.max(apart(base_value, expected[width - 1]));
    }
    largest
}

fn report(measured: &[Measured]) -> String {
    let rows = measured.iter().map(|one| {
        let times = one.rows_per_cpu_second / one.peer_rows_per_cpu_second;
        vec![
            one.model.clone(),
            format!("{}: {:.0}", one.peer, one.peer_rows_per_cpu_second),
            format!("{} thousand", in_thousands(one.rows_per_cpu_second)),
            format!("**{times:.0}**"),
            format!("{:.1}", one.single_row_us),
            format!("{:.1} s", one.prepared_seconds),
            format!("{:.1e}", one.difference_max),
        ]
    });
    let table = markdown(
        &[
            "contributions of every feature",
            "the trainer's own, rows per CPU second",
            "Cameo, rows per CPU second",
            "×",
            "one row, µs",
            "prepared in",
            "largest difference",
        ],
        rows,
    );
    let ways: Vec<String> =
        measured.iter().map(|one| format!("{}: {}", one.model, one.way)).collect();
    format!("{table}\n\n{}", ways.join("\n"))
}
