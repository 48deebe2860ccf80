//! Distributions of predictions, drawn in the terminal.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Context;
use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType as ArrowType, Float64Type},
};
use cameo_domain::{Column, DataType};
use cameo_store::services::ServiceRecord;
use cameo_warehouse::{Parameters, Query, ReadOptions};
use chrono::Utc;
use futures_util::StreamExt;

use crate::{deployment::Deployment, output::grouped};

/// Bars of a distribution.
const BARS: usize = 48;
/// Values that are drawn at most; beyond it the shape no longer changes.
const VALUES_MAX: usize = 2_000_000;
/// Words that are counted at most.
const WORDS_MAX: usize = 6;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Each prediction of the current generation as the mirror holds it.
pub(crate) async fn of_current(
    deployment: &Deployment,
    service: &ServiceRecord,
) -> anyhow::Result<String> {
    let generation = service.current_generation.context("nothing is published")?;
    let path = &service.path;
    let query = Query {
        sql: format!("SELECT * FROM predictions.{} WHERE generation = {generation}", path.service),
        parameters: Parameters::utc(Utc::now()),
    };
    let options = ReadOptions {
        memory_limit_bytes: 512 << 20,
        threads: 2,
        partitions: 1,
        batch_rows: 64 << 10,
    };
    let outcome = deployment.warehouse.read(&path.tenant, &query, &options).await?;
    let mut numbers: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut words: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for mut partition in outcome.partitions {
        while let Some(batch) = partition.next().await {
            let batch = batch?;
            for column in service.schema.predictions() {
                match column.data_type {
                    DataType::Int | DataType::Float64 => {
                        let values = numbers.entry(column.name.as_str()).or_default();
                        add_numbers(&batch, column, values)?;
                    }
                    DataType::Json => {}
                    _ => add_words(&batch, column, words.entry(column.name.as_str()).or_default())?,
                }
            }
        }
    }
    let mut text = format!("\n{path}, generation {generation}");
    for column in service.schema.predictions() {
        let name = column.name.as_str();
        let drawn = match (numbers.get_mut(name), words.get(name)) {
            (Some(values), _) => histogram(values),
            (None, Some(counts)) => shares(counts),
            (None, None) => continue,
        };
        let _ = write!(text, "\n  {name:<20} {drawn}");
    }
    Ok(text)
}

fn add_numbers(batch: &RecordBatch, column: &Column, values: &mut Vec<f64>) -> anyhow::Result<()> {
    let array =
        batch.column_by_name(column.name.as_str()).context("a mirrored column is missing")?;
    let array = cast(array, &ArrowType::Float64)?;
    let room = VALUES_MAX - values.len();
    values.extend(array.as_primitive::<Float64Type>().iter().flatten().take(room));
    Ok(())
}

fn add_words(
    batch: &RecordBatch,
    column: &Column,
    counts: &mut BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    let array =
        batch.column_by_name(column.name.as_str()).context("a mirrored column is missing")?;
    let array = cast(array, &ArrowType::Utf8)?;
    for word in array.as_string::<i32>().iter().flatten() {
        if let Some(count) = counts.get_mut(word) {
            *count += 1;
        } else if counts.len() < WORDS_MAX {
            counts.insert(word.to_owned(), 1);
        }
    }
    Ok(())
}

/// Bars between the 1st and the 99th percentile, so that a few outliers do not flatten the rest.
fn histogram(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else {
        return "no values".to_owned();
    };
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = ((values.len() - 1) as f64 * share) as usize;
        values[index]
    };
    let (low, high) = (at(0.01), at(0.99));
    let width = (high - low) / BARS as f64;
    if width <= 0.0 {
        return format!("all {least:.3}");
    }
    let mut counts = [0_u64; BARS];
    for value in values.iter().filter(|value| (low..=high).contains(value)) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (((value - low) / width) as usize).min(BARS - 1);
        counts[index] += 1;
    }
    let tallest = counts.iter().copied().max().unwrap_or(1).max(1);
    let bars: String = counts.iter().map(|count| bar(*count, tallest)).collect();
    format!("{bars}  {least:.2} … median {:.2} … {greatest:.2}", at(0.5))
}

fn bar(count: u64, tallest: u64) -> char {
    if count == 0 {
        return ' ';
    }
    let top = BLOCKS.len() as u64 - 1;
    let level = (count * top).div_ceil(tallest);
    BLOCKS[usize::try_from(level).unwrap_or(0).min(BLOCKS.len() - 1)]
}

fn shares(counts: &BTreeMap<String, u64>) -> String {
    let total: u64 = counts.values().sum();
    let parts: Vec<_> = counts
        .iter()
        .map(|(word, count)| {
            let percent = *count as f64 * 100.0 / total.max(1) as f64;
            format!("{word} {percent:.0} % ({})", grouped(*count))
        })
        .collect();
    parts.join("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_flatten_the_picture() {
        let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
        values.push(1e12);
        let drawn = histogram(&mut values);
        assert!(drawn.starts_with("███"), "{drawn}");
        assert_eq!(drawn.chars().take_while(|c| *c == '█').count(), BARS);
    }

    #[test]
    fn a_constant_prediction_is_said_to_be_one() {
        assert_eq!(histogram(&mut [2.0, 2.0, 2.0]), "all 2.000");
        assert_eq!(histogram(&mut []), "no values");
    }
}
