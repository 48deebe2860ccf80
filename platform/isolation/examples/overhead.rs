//! What a process of its own costs a model: `overhead MODEL.onnx WIDTH [SECONDS]`.
//!
//! Rows per second and CPU time per row, in this process and in another, on one and on two threads. Both take
//! turns, so that whatever else loads the machine slows both alike.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use cameo_isolation::{Allowance, Files, Host, Isolation, Program, Scorer, child};
use cameo_scoring::NullDefaults;
use nix::sys::resource::{UsageWho, getrusage};

/// Rows of a batch, as in a run.
const BATCH_ROWS: usize = 16_384;
/// Turns that each side has; the median counts.
const TURNS: usize = 5;

fn main() -> ExitCode {
    if let Some(allowance) = child::allowance(std::env::args_os()) {
        return child::serve(allowance);
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, width, rest @ ..] = &arguments[..] else {
        return Err("expected MODEL.onnx WIDTH [SECONDS]".into());
    };
    let model = std::fs::read(model)?;
    let seconds: f64 = rest.first().map_or(Ok(1.0), |text| text.parse())?;
    let batch = batch(width.parse()?)?;
    let isolation = Isolation::Process(Program::this());

    let began = Instant::now();
    let host = isolation.start(Allowance::default())?;
    let started = began.elapsed();
    drop(host);
    println!("a process is ready after {:.1} ms", started.as_secs_f64() * 1e3);

    println!("threads  where    rows/s      CPU µs/row");
    for threads in [1, 2] {
        let mut turns = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (turns, isolation) in turns.iter_mut().zip([&Isolation::None, &isolation]) {
                let allowance = Allowance { threads, ..Allowance::default() };
                let host = isolation.start(allowance)?;
                turns.push(turn(host, &model, &batch, threads, seconds)?);
            }
        }
        for (turns, place) in turns.iter_mut().zip(["here", "apart"]) {
            turns.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (rate, cpu) = turns[TURNS / 2];
            println!("{threads:>7}  {place:<6} {rate:>9.0} {:>14.3}", cpu * 1e6);
        }
    }
    Ok(())
}

/// Rows per second, and CPU seconds per row.
fn turn(
    host: Host,
    model: &[u8],
    batch: &RecordBatch,
    threads: usize,
    seconds: f64,
) -> Result<(f64, f64), Box<dyn Error>> {
    let files = Files { model, preprocess: None };
    let scorer = Scorer::load(&host, files, batch.schema_ref(), &NullDefaults::new())?;
    scorer.score(batch)?;
    let (cpu, began, rows) = (cpu_seconds()?, Instant::now(), AtomicU64::new(0));
    let ended: Result<(), String> = std::thread::scope(|scope| {
        let work = || {
            while began.elapsed().as_secs_f64() < seconds {
                let scored = scorer.score(batch)?;
                rows.fetch_add(scored.outputs.num_rows() as u64, Ordering::Relaxed);
            }
            Ok::<(), cameo_isolation::Fault>(())
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|one| {
            one.join().map_err(|_| "a thread panicked")?.map_err(|fault| fault.to_string())
        })
    });
    ended?;
    let took = began.elapsed().as_secs_f64();
    drop((scorer, host));
    // The child's time counts once it has ended.
    std::thread::sleep(Duration::from_millis(300));
    let rows = rows.into_inner() as f64;
    Ok((rows / took, (cpu_seconds()? - cpu) / rows))
}

/// Of this process and of its children that have ended.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let mut total = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            total += time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        }
    }
    Ok(total)
}

fn batch(width: usize) -> Result<RecordBatch, Box<dyn Error>> {
    let mut state = 7_u64;
    let columns = (0..width).map(|at| {
        let values = (0..BATCH_ROWS).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % 1_024) as f32 / 64.0 - 8.0
        });
        let column: ArrayRef = Arc::new(Float32Array::from_iter_values(values));
        (format!("f{at}"), column)
    });
    Ok(RecordBatch::try_from_iter(columns.collect::<Vec<_>>())?)
}
