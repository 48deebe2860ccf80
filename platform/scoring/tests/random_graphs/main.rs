//! Random graphs of supported operators give what a naive reference computes, whatever the rows,
//! widths, attributes and missing values.

mod draws;
mod heads;
mod onnx;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use cameo_scoring::{Scorer, ScoringLimits};
use draws::Draws;
use heads::Labels;
use onnx::{Chain, FLOAT, INT64};
use proptest::prelude::*;
use table::Table;

/// What 32-bit rounding may change, relative to the largest value of a row.
const TOLERANCE: f64 = 1e-4;

struct Case {
    model: Vec<u8>,
    batch: RecordBatch,
    table: Table,
    labels: Labels,
}

fn case(seed: u64, rows: usize, count: usize) -> Case {
    let mut draws = Draws::new(seed);
    let width = draws.between(1, 6);
    let integers = draws.one_in(5);
    let missing = !integers && draws.one_in(2);
    let values: Vec<Vec<f32>> = (0..rows)
        .map(|_| {
            let value = |draws: &mut Draws| match draws.value() {
                value if integers => value.round(),
                _ if missing && draws.one_in(8) => f32::NAN,
                value => value,
            };
            (0..width).map(|_| value(&mut draws)).collect()
        })
        .collect();
    let columns = (0..width).map(|index| -> (String, ArrayRef) {
        let column = values.iter().map(|row| row[index]);
        let array: ArrayRef = if integers {
            #[allow(clippy::cast_possible_truncation, reason = "whole numbers from -4 to 4")]
            let whole = column.map(|value| value as i64);
            Arc::new(Int64Array::from_iter_values(whole))
        } else {
            Arc::new(Float32Array::from_iter_values(column))
        };
        (format!("f{index}"), array)
    });
    let batch = RecordBatch::try_from_iter(columns).expect("equal lengths");
    let wide = values.iter().map(|row| row.iter().map(|value| f64::from(*value)).collect());
    let mut table = Table::new(wide.collect());
    let mut chain = Chain::new(width, if integers { INT64 } else { FLOAT });
    if integers {
        steps::first_of_integers(&mut draws, &mut chain, &mut table);
    }
    for _ in 0..count {
        steps::step(&mut draws, &mut chain, &mut table);
    }
    // A graph whose output is its input has no node to test.
    steps::step(&mut draws, &mut chain, &mut table);
    let (outputs, labels) = heads::head(&mut draws, &mut chain, &mut table);
    Case { model: chain.finish(&outputs), batch, table, labels }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let limits = ScoringLimits::default();
    let scorer = Scorer::load(&case.model, None, &case.batch.schema(), &limits)
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    let found =
        scorer.score(&case.batch).map_err(|error| TestCaseError::fail(error.to_string()))?.outputs;
    let mut columns = found.columns();
    match &case.labels {
        Labels::None => {}
        Labels::Integers(expected) => {
            prop_assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &expected[..]);
            columns = &columns[1..];
        }
        Labels::Texts(expected) => {
            let found: Vec<&str> = columns[0].as_string::<i32>().iter().flatten().collect();
            prop_assert_eq!(found, expected.iter().map(String::as_str).collect::<Vec<_>>());
            columns = &columns[1..];
        }
    }
    prop_assert_eq!(columns.len(), case.table.width());
    for (index, expected) in case.table.rows.iter().enumerate() {
        let finite = expected.iter().filter(|value| value.is_finite());
        let scale = finite.fold(1.0f64, |scale, value| scale.max(value.abs()));
        for (column, expected) in columns.iter().zip(expected) {
            let found = f64::from(column.as_primitive::<Float32Type>().value(index));
            let close = (found.is_nan() && expected.is_nan())
                || (found - expected).abs() <= TOLERANCE * scale;
            prop_assert!(close, "row {}: expected {}, found {}", index, expected, found);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_chain_of_operators_gives_what_its_definition_gives(
        seed in any::<u64>(),
        rows in 1usize..20,
        count in 0usize..6,
    ) {
        let case = case(seed, rows, count);
        // Where rounding decides, both answers are right.
        prop_assume!(case.table.clear);
        check(&case)?;
    }
}
