//! `cameo bench`: measurements that anyone can repeat, each beside its peer in the same run.

mod check;
mod explain;
mod export;
mod http;
mod load;
mod lookup;
mod measure;
mod memory;
mod models;
mod overload;
mod peer;
mod run;
mod scoring;
mod segments;
mod serving;
mod setting;
mod slow;

use std::process::ExitCode;

use crate::{cli::Bench, output::Output};

pub(crate) async fn run(bench: Bench, output: Output) -> anyhow::Result<ExitCode> {
    match bench {
        // On the heap: it holds a bundle that is applied, and every command would hold it as well.
        Bench::Run(wanted) => Box::pin(run::run(wanted, output)).await,
        Bench::Check(wanted) => check::run(wanted, output).await,
        Bench::Lookup(wanted) => lookup::run(wanted, output).await,
        Bench::Overload(wanted) => overload::run(wanted, output).await,
        Bench::Slow(wanted) => slow::run(wanted, output).await,
        Bench::Memory(wanted) => memory::run(wanted, output).await,
        Bench::Segments(wanted) => segments::run(wanted, output).await,
        Bench::Scoring(wanted) => scoring::run(&wanted, output),
        Bench::Explain(wanted) => explain::run(&wanted, output),
        Bench::Export(wanted) => export::run(wanted, output).await,
    }
}

/// The middle of `values`.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
