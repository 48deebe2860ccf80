//! Pairs per CPU second of ranking on one thread, and the memory that customers cost.
//!
//! `rank_speed MODEL CUSTOMERS.f32 WIDTH ITEMS.f32 WIDTH [TOP_N [SECONDS]]`; the files hold rows of
//! little-endian floats, as `rank_speed_peer.py` writes them. That script runs this program beside its peers.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

mod support;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use cameo_scoring::ScoringLimits;
use cameo_scoring::rank::{RankOptions, Ranking};
use support::{cpu_seconds, floats};

/// Customers of a batch, as a run of the platform has them.
const BATCH_CUSTOMERS: usize = 16 * 1024;
/// CPU time of one measurement by default, in seconds; the best of [`ATTEMPTS`] counts.
const SECONDS: f64 = 2.0;
const ATTEMPTS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, customers, customer_width, items, item_width, rest @ ..] = &arguments[..] else {
        return Err("expected MODEL CUSTOMERS.f32 WIDTH ITEMS.f32 WIDTH [TOP_N [SECONDS]]".into());
    };
    let top_n = rest.first().map_or(Ok(10), |text| text.parse())?;
    let seconds = rest.get(1).map_or(Ok(SECONDS), |text| text.parse())?;
    let customers = batch("c", customers, customer_width.parse()?)?;
    let features = batch("i", items, item_width.parse()?)?;
    let keys: ArrayRef =
        Arc::new(Int64Array::from_iter_values(0..i64::try_from(features.num_rows())?));
    let columns = std::iter::once(("item".to_owned(), keys)).chain(
        features
            .schema_ref()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(features.columns().iter().cloned()),
    );
    let items = RecordBatch::try_from_iter(columns)?;

    let options = RankOptions { item_key: "item".to_owned(), top_n, score: None };
    let (model, limits) = (std::fs::read(model)?, ScoringLimits::default());
    let ranking = Ranking::load(&model, &customers.schema(), &items.schema(), &options, &limits)?;
    let by = ranking.describe();
    let ranker = Arc::new(ranking).over(&items)?;
    let parts: Vec<RecordBatch> = (0..customers.num_rows())
        .step_by(BATCH_CUSTOMERS)
        .map(|from| customers.slice(from, BATCH_CUSTOMERS.min(customers.num_rows() - from)))
        .collect();

    let first = ranker.rank(&parts[0])?;
    let before = resident_bytes_max()?;
    let mut best = 0f64;
    for _ in 0..ATTEMPTS {
        let start = cpu_seconds()?;
        let (mut pairs, mut spent) = (0, 0.0);
        for part in parts.iter().cycle() {
            drop(black_box(ranker.rank(black_box(part))?));
            pairs += part.num_rows() * ranker.items();
            spent = cpu_seconds()? - start;
            if spent >= seconds {
                break;
            }
        }
        best = best.max(pairs as f64 / spent);
    }
    println!(
        "{{\"by\": \"{by}\", \"customers\": {}, \"items\": {}, \"top_n\": {top_n}, \
         \"pairs_per_cpu_second\": {best:.0}, \"rows_of_first_batch\": {}, \"resident_bytes_max\": {}, \
         \"resident_growth_bytes\": {}}}",
        customers.num_rows(),
        ranker.items(),
        first.rows.num_rows(),
        resident_bytes_max()?,
        resident_bytes_max()?.saturating_sub(before),
    );
    Ok(())
}

fn batch(prefix: &str, path: &str, width: usize) -> Result<RecordBatch, Box<dyn Error>> {
    let values = floats(path)?;
    let columns = (0..width).map(|index| {
        let column = values.iter().skip(index).step_by(width).copied();
        (format!("{prefix}{index}"), Arc::new(Float32Array::from_iter_values(column)) as ArrayRef)
    });
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The most memory that the process has held so far.
fn resident_bytes_max() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: u64 = line.split_whitespace().next().ok_or("an empty VmHWM")?.parse()?;
    Ok(kilobytes * 1024)
}
