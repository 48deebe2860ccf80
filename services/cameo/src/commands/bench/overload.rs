//! What the API does with four times the load that it can bear.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    load::{Load, Pace, Tally},
    median,
    serving::Serving,
};
use crate::{
    cli::BenchOverload,
    output::{Output, grouped, table},
};

/// The overload, in multiples of the peak.
const OVERLOAD: f64 = 4.0;
/// The load that counts as none, as a share of the peak.
const LIGHT: f64 = 0.1;
/// How long each of the other loads takes.
const PHASE: Duration = Duration::from_secs(10);
/// Length of the slices in which recovery is looked for.
const SLICE: Duration = Duration::from_millis(250);
/// How many slices without one that is as before.
const SLICES_MAX: u32 = 120;
/// A slice is as before when its slowest answers take at most so many times as long as unloaded.
const RECOVERED: f64 = 3.0;

#[derive(Debug, Serialize)]
struct Measured {
    peak: Row,
    rounds: Vec<Round>,
    /// The medians of the rounds.
    goodput: f64,
    served_p99: f64,
    /// The longest; none: not within 30 s.
    recovery_seconds: Option<f64>,
}

/// What follows upon a peak, up to the next one.
#[derive(Debug, Serialize)]
struct Round {
    unloaded: Row,
    overloaded: Row,
    peak_after: Row,
    /// Of the higher of the peaks before and after.
    goodput: f64,
    /// The 99th percentile of what was served, in multiples of the unloaded one.
    served_p99: f64,
    /// From the end of the overload until light load is served as before; none: not within 30 s.
    recovery_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Row {
    offered_per_second: Option<f64>,
    served_per_second: f64,
    refused_per_second: f64,
    given_up_per_second: f64,
    failed: u64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Row {
    fn new(pace: Pace, tally: &Tally) -> Self {
        let rate = |count: u64| count as f64 / tally.elapsed.as_secs_f64();
        let offered_per_second = match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(rate),
        };
        Self {
            offered_per_second,
            served_per_second: tally.served_per_second(),
            refused_per_second: rate(tally.refused.len()),
            given_up_per_second: rate(tally.given_up),
            failed: tally.failed,
            p50_ms: tally.served_ms(0.5),
            p99_ms: tally.served_ms(0.99),
        }
    }

    fn cells(&self, what: &str) -> Vec<String> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let rate = |rate: f64| grouped(rate.round() as u64);
        vec![
            what.to_owned(),
            self.offered_per_second.map_or("-".to_owned(), rate),
            rate(self.served_per_second),
            rate(self.refused_per_second),
            rate(self.given_up_per_second),
            self.failed.to_string(),
            format!("{:.2}", self.p50_ms),
            format!("{:.2}", self.p99_ms),
        ]
    }
}

pub(super) async fn run(wanted: BenchOverload, output: Output) -> anyhow::Result<ExitCode> {
    let serving = Serving::start(&wanted.bundle, wanted.rows, output).await?;
    let measured = measure(&serving, &wanted, output).await;
    serving.stop().await?;
    output.show(&measured?, show)?;
    Ok(ExitCode::SUCCESS)
}

fn show(measured: &Measured) -> String {
    let mut cells = vec![measured.peak.cells("peak")];
    for round in &measured.rounds {
        cells.push(round.unloaded.cells("unloaded"));
        cells.push(round.overloaded.cells("overloaded"));
        cells.push(round.peak_after.cells("peak again"));
    }
    let rows = table(
        &[
            "look-ups",
            "offered/s",
            "served/s",
            "refused/s",
            "given up/s",
            "failed",
            "p50 ms",
            "p99 ms",
        ],
        cells,
    );
    let Measured { goodput, served_p99, recovery_seconds, rounds, .. } = measured;
    let recovery =
        recovery_seconds.map_or("not within 30 s".to_owned(), |seconds| format!("{seconds:.2} s"));
    let medians = if rounds.len() > 1 { "medians: " } else { "" };
    format!(
        "{rows}\n{medians}goodput {goodput:.2} of the peak · p99 of what was served {served_p99:.2} times unloaded · recovery {recovery}"
    )
}

async fn measure(
    serving: &Serving,
    wanted: &BenchOverload,
    output: Output,
) -> anyhow::Result<Measured> {
    let few = serving.look_ups(wanted.connections);
    few.run(Pace::Closed, PHASE / 5).await?;
    output.line("peak: every connection asks as fast as it is answered");
    let first = few.run(Pace::Closed, PHASE).await?;
    let mut peak_before = first.served_per_second();
    let mut rounds = Vec::new();
    for _ in 0..wanted.rounds {
        let round = round(serving, &few, peak_before, wanted, output).await?;
        peak_before = round.peak_after.served_per_second;
        rounds.push(round);
    }
    let longest = |longest: Option<f64>, round: &Round| Some(longest?.max(round.recovery_seconds?));
    Ok(Measured {
        peak: Row::new(Pace::Closed, &first),
        goodput: median(rounds.iter().map(|round| round.goodput).collect()),
        served_p99: median(rounds.iter().map(|round| round.served_p99).collect()),
        recovery_seconds: rounds.iter().fold(Some(0.0), longest),
        rounds,
    })
}

async fn round(
    serving: &Serving,
    few: &Load,
    peak_before: f64,
    wanted: &BenchOverload,
    output: Output,
) -> anyhow::Result<Round> {
    let light = Pace::Open(peak_before * LIGHT);
    output.line("unloaded: a tenth of the peak");
    let unloaded = few.run(light, PHASE).await?;
    output.line("overloaded: four times the peak");
    let many = serving.look_ups(wanted.crowd);
    let heavy = Pace::Open(peak_before * OVERLOAD);
    let overloaded = many.run(heavy, Duration::from_secs(wanted.seconds)).await?;
    let unloaded_p99 = unloaded.served_ms(0.99);
    let recovery_seconds = recovery(few, light, unloaded_p99).await?;
    output.line("peak again: the machine may have become slower or faster meanwhile");
    let peak_after = few.run(Pace::Closed, PHASE).await?;
    let higher = peak_before.max(peak_after.served_per_second());
    Ok(Round {
        goodput: overloaded.served_per_second() / higher,
        served_p99: overloaded.served_ms(0.99) / unloaded_p99,
        recovery_seconds,
        unloaded: Row::new(light, &unloaded),
        overloaded: Row::new(heavy, &overloaded),
        peak_after: Row::new(Pace::Closed, &peak_after),
    })
}

/// How long after the overload light load is served as before, with nothing refused.
async fn recovery(few: &Load, light: Pace, unloaded_p99: f64) -> anyhow::Result<Option<f64>> {
    let ended = Instant::now();
    for _ in 0..SLICES_MAX {
        let before = ended.elapsed();
        let slice = few.run(light, SLICE).await?;
        let is_clean = slice.refused.is_empty() && slice.failed == 0;
        if is_clean && slice.served_ms(0.99) <= unloaded_p99 * RECOVERED {
            return Ok(Some(before.as_secs_f64()));
        }
    }
    Ok(None)
}
