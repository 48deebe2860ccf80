//! Rows per CPU second of the scorer beside ONNX Runtime and the trainers' own libraries.
//!
//! All engines take turns in short rounds and the median of the rounds counts, so that whatever else
//! loads the machine slows all of them alike.

use std::{
    hint::black_box,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::Context;
use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use cameo_scoring::{RowValue, Scorer, ScoringLimits, inspect, measure::Level};
use serde::Serialize;

use super::{
    measure::cpu_seconds,
    median,
    models::{Measurable, prepare},
    peer::{Peer, Work},
};
use crate::{
    cli::BenchScoring,
    output::{Output, grouped, markdown},
};

/// Rows of a batch.
const BATCH_ROWS: usize = 4_096;
/// CPU time of one measurement per thread, and of one with single rows.
const BATCH_SECONDS: f64 = 0.3;
const SINGLE_SECONDS: f64 = 0.1;
/// Single rows between two looks at the clock.
const SINGLES: usize = 100;
/// Numbers of threads that are measured.
const THREADS: [usize; 2] = [1, 2];

/// Figures of one engine on one model.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    model: String,
    #[serde(flatten)]
    engine: Engine,
    threads: usize,
    rows_per_cpu_second: f64,
    rows_per_second: f64,
    /// CPU time of one row alone, in microseconds.
    single_row_us: Option<f64>,
    /// Largest difference from ONNX Runtime's scores, relative for scores above 1.
    difference_max: Option<f64>,
}

/// Who scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "engine", content = "version", rename_all = "snake_case")]
enum Engine {
    OnnxRuntime(String),
    /// The library that trained the model.
    Native(String),
    /// With the instructions that it may use at most and what it makes of them.
    Cameo {
        instructions: String,
        way: String,
    },
}

/// An engine on a number of threads with what its rounds measured so far.
struct Contestant {
    engine: Engine,
    threads: usize,
    scorer: Option<Arc<Scorer>>,
    batches: Vec<Work>,
    singles: Vec<Work>,
}

pub(super) fn run(wanted: &BenchScoring, output: Output) -> anyhow::Result<ExitCode> {
    let models = prepare(&wanted.models, &wanted.models_script, wanted.peer.as_deref())?;
    let mut peer = match &wanted.peer {
        Some(python) => Some(Peer::start(python, &wanted.peer_script, &wanted.models)?),
        None => None,
    };
    let mut measured = Vec::new();
    for model in &models {
        output.line(output.dim(&model.listed.title));
        measured.extend(measure(model, peer.as_mut(), wanted.rounds)?);
    }
    output.show(&measured, |measured| report(measured))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(
    model: &Measurable,
    mut peer: Option<&mut Peer>,
    rounds: u32,
) -> anyhow::Result<Vec<Measured>> {
    let batches = model.batches(BATCH_ROWS);
    let mut contestants = contestants(model, peer.as_deref_mut())?;
    for _ in 0..rounds.max(1) {
        for contestant in &mut contestants {
            contestant.round(model, peer.as_deref_mut(), &batches)?;
        }
    }
    let expected = match peer {
        Some(peer) => Some(peer.outputs(BATCH_ROWS)?),
        None => None,
    };
    contestants
        .iter()
        .map(|contestant| contestant.figures(model, &batches[0], expected.as_deref()))
        .collect()
}

/// Everything that can score the model, on each number of threads.
fn contestants(model: &Measurable, mut peer: Option<&mut Peer>) -> anyhow::Result<Vec<Contestant>> {
    let scorers = scorers(model)?;
    let mut contestants = Vec::new();
    for threads in THREADS {
        let mut add = |engine, scorer| {
            contestants.push(Contestant {
                engine,
                threads,
                scorer,
                batches: vec![],
                singles: vec![],
            });
        };
        if let Some(peer) = peer.as_deref_mut() {
            add(Engine::OnnxRuntime(peer.version("onnxruntime")), None);
            let library = model.listed.library.as_deref();
            if let Some(library) = library.filter(|_| model.listed.native.is_some()) {
                add(Engine::Native(peer.version(library)), None);
            }
        }
        for (engine, scorer) in &scorers {
            add(engine.clone(), Some(Arc::clone(scorer)));
        }
    }
    Ok(contestants)
}

/// The scorer as it chooses its kernel by itself, then with ever fewer instructions where it has trees
/// or says that this changes how it works.
fn scorers(model: &Measurable) -> anyhow::Result<Vec<(Engine, Arc<Scorer>)>> {
    let mut scorers: Vec<(Engine, Arc<Scorer>)> = Vec::new();
    let mut ways: Vec<String> = Vec::new();
    let signature = inspect(&model.model)?;
    let has_trees = signature.operators.keys().any(|operator| operator.starts_with("TreeEnsemble"));
    for level in Level::available().into_iter().rev() {
        let scorer = level
            .at_most(|| {
                Scorer::load(&model.model, None, &model.schema(), &ScoringLimits::default())
            })
            .with_context(|| format!("{} cannot be loaded", model.listed.name))?;
        let way = scorer.describe();
        if has_trees || !ways.contains(&way) {
            ways.push(way.clone());
            let engine = Engine::Cameo { instructions: level.to_string(), way };
            scorers.push((engine, Arc::new(scorer)));
        }
    }
    Ok(scorers)
}

impl Contestant {
    fn round(
        &mut self,
        model: &Measurable,
        peer: Option<&mut Peer>,
        batches: &[RecordBatch],
    ) -> anyhow::Result<()> {
        let alone = self.threads == 1;
        match (&self.scorer, peer) {
            (Some(scorer), _) => {
                self.batches.push(score(scorer, batches, self.threads, BATCH_SECONDS)?);
                if alone {
                    self.singles.push(score_singles(scorer, &model.values(SINGLES))?);
                }
            }
            (None, Some(peer)) => {
                let native = matches!(self.engine, Engine::Native(_));
                let seconds = BATCH_SECONDS * self.threads as f64;
                peer.load(&model.listed.name, self.threads)?;
                self.batches.push(peer.score(native, BATCH_ROWS, seconds)?);
                if alone {
                    self.singles.push(peer.score(native, 1, SINGLE_SECONDS)?);
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn figures(
        &self,
        model: &Measurable,
        batch: &RecordBatch,
        expected: Option<&[f64]>,
    ) -> anyhow::Result<Measured> {
        let middle =
            |works: &[Work], figure: fn(&Work) -> f64| median(works.iter().map(figure).collect());
        let difference_max = match (&self.scorer, expected) {
            (Some(scorer), Some(expected)) => Some(difference(scorer, batch, expected)?),
            _ => None,
        };
        Ok(Measured {
            model: model.listed.title.clone(),
            engine: self.engine.clone(),
            threads: self.threads,
            rows_per_cpu_second: middle(&self.batches, |work| work.rows as f64 / work.cpu_seconds),
            rows_per_second: middle(&self.batches, |work| work.rows as f64 / work.wall_seconds),
            single_row_us: (!self.singles.is_empty())
                .then(|| middle(&self.singles, |work| work.cpu_seconds * 1e6 / work.rows as f64)),
            difference_max,
        })
    }
}

/// Scores the parts over and over on `threads` threads, until each had its CPU time.
fn score(
    scorer: &Scorer,
    parts: &[RecordBatch],
    threads: usize,
    cpu_seconds_each: f64,
) -> anyhow::Result<Work> {
    let budget = cpu_seconds_each * threads as f64;
    let (rows, cpu, wall) = (AtomicU64::new(0), cpu_seconds(), Instant::now());
    let one_thread = || -> anyhow::Result<()> {
        while cpu_seconds() - cpu < budget {
            let turn = rows.fetch_add(parts[0].num_rows() as u64, Ordering::Relaxed);
            #[expect(clippy::cast_possible_truncation, reason = "64-bit machines only")]
            let part = turn as usize / parts[0].num_rows() % parts.len();
            black_box(scorer.score(black_box(&parts[part]))?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one_thread)).collect();
        one_thread()?;
        for other in others {
            other.join().map_err(|_| anyhow::anyhow!("a scoring thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(Work {
        rows: rows.load(Ordering::Relaxed),
        cpu_seconds: cpu_seconds() - cpu,
        wall_seconds: wall.elapsed().as_secs_f64(),
    })
}

/// Scores rows one by one, as an online prediction would.
fn score_singles(scorer: &Scorer, rows: &[Vec<RowValue<'static>>]) -> anyhow::Result<Work> {
    let mut session = scorer.session();
    let (cpu, wall, mut done) = (cpu_seconds(), Instant::now(), 0);
    while cpu_seconds() - cpu < SINGLE_SECONDS {
        for row in rows {
            black_box(session.score(black_box(row))?);
        }
        done += rows.len() as u64;
    }
    let cpu_seconds = cpu_seconds() - cpu;
    Ok(Work { rows: done, cpu_seconds, wall_seconds: wall.elapsed().as_secs_f64() })
}

/// Largest difference of the last output column from the expected one.
fn difference(scorer: &Scorer, batch: &RecordBatch, expected: &[f64]) -> anyhow::Result<f64> {
    let outputs = scorer.score(batch)?.outputs;
    let last = outputs.columns().last().context("the model has no output")?;
    let last = cast(last, &DataType::Float64)?;
    let found = last.as_primitive::<Float64Type>().values();
    Ok(found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (found - expected).abs() / expected.abs().max(1.0))
        .fold(0.0, f64::max))
}

/// One line per model and way of Cameo, beside the peers' figures of the same rounds.
fn report(measured: &[Measured]) -> String {
    let find = |model: &str, threads: usize, is: &dyn Fn(&Engine) -> bool| {
        measured.iter().find(|one| one.model == model && one.threads == threads && is(&one.engine))
    };
    let onnx = |engine: &Engine| matches!(engine, Engine::OnnxRuntime(_));
    let native = |engine: &Engine| matches!(engine, Engine::Native(_));
    let thousands = |one: Option<&Measured>| {
        one.map_or_else(|| "–".to_owned(), |one| in_thousands(one.rows_per_cpu_second))
    };
    let times = |one: Option<&Measured>, peer: Option<&Measured>| match (one, peer) {
        (Some(one), Some(peer)) => {
            format!("**{:.1}**", one.rows_per_cpu_second / peer.rows_per_cpu_second)
        }
        _ => "–".to_owned(),
    };
    let single = |one: Option<&Measured>| {
        one.and_then(|one| one.single_row_us)
            .map_or_else(|| "–".to_owned(), |microseconds| format!("{microseconds:.1}"))
    };
    let rows = measured.iter().filter_map(|one| {
        let Engine::Cameo { instructions, .. } = &one.engine else { return None };
        if one.threads != 1 {
            return None;
        }
        let (model, same) = (&one.model, |engine: &Engine| *engine == one.engine);
        let (peer, two) = (find(model, 1, &onnx), find(model, 2, &same));
        let peer_of_two = find(model, 2, &onnx);
        Some(vec![
            model.clone(),
            instructions.clone(),
            thousands(peer),
            thousands(find(model, 1, &native)),
            thousands(Some(one)),
            times(Some(one), peer),
            thousands(peer_of_two),
            thousands(two),
            times(two, peer_of_two),
            single(peer),
            single(Some(one)),
        ])
    });
    let table = markdown(
        &[
            "model",
            "instructions",
            "ONNX Runtime",
            "own library",
            "Cameo",
            "×",
            "ONNX Runtime, 2 threads",
            "Cameo, 2 threads",
            "×",
            "one row, ONNX Runtime",
            "one row, Cameo",
        ],
        rows,
    );
    let difference = measured.iter().filter_map(|one| one.difference_max).fold(0.0, f64::max);
    format!(
        "{table}\n\nThousand rows per CPU second in batches of {BATCH_ROWS}; one row alone in \
         microseconds of CPU time. Largest difference from ONNX Runtime's scores: {difference:.1e}."
    )
}

/// `2146.3` for 2,146,300, with three digits that count.
pub(super) fn in_thousands(rows: f64) -> String {
    let thousands = rows / 1000.0;
    if thousands >= 100.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let whole = thousands.round() as u64;
        grouped(whole)
    } else {
        format!("{thousands:.1}")
    }
}
