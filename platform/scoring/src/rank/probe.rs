//! Whether a model that was taken apart still gives what the whole one gives, on drawn pairs.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Schema};

use super::load::{Method, Ranking};
use super::pairs::{doubles, product, score};
use super::tail;
use crate::error::ScoreError;

/// Customers and items that are drawn. Different, so that a confused dimension shows.
const ROWS: (usize, usize) = (7, 5);
/// Sizes of the drawn numbers: trees split anywhere, sigmoids saturate early.
const SCALES: [f64; 2] = [1.0, 30.0];
/// Relative difference that summing in another order explains.
const TOLERANCE: f64 = 1e-4;

/// Whether the parts agree with the whole; where the whole cannot be evaluated on drawn values, they
/// count as not agreeing.
pub(super) fn agree(parts: &Ranking, whole: &Ranking, customers: &Schema, items: &Schema) -> bool {
    SCALES.iter().all(|scale| {
        let (Ok(customers), Ok(items)) =
            (drawn(customers, ROWS.0, *scale, 1), drawn(items, ROWS.1, *scale, 2))
        else {
            return false;
        };
        match (scores(parts, &customers, &items), by_pairs(whole, &customers, &items)) {
            (Ok(found), Ok(expected)) => {
                found.len() == expected.len()
                    && found.iter().zip(&expected).all(|(found, expected)| close(*found, *expected))
            }
            _ => false,
        }
    })
}

fn close(found: f64, expected: f64) -> bool {
    (found.is_nan() && expected.is_nan())
        || found.total_cmp(&expected).is_eq()
        || (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
}

fn by_pairs(
    ranking: &Ranking,
    customers: &RecordBatch,
    items: &RecordBatch,
) -> Result<Vec<f64>, ScoreError> {
    let customers = ranking.customer.score(customers)?.outputs;
    let items = ranking.item.score(items)?.outputs;
    doubles(&score(ranking, &product(&customers, &items)?)?)
}

fn scores(
    ranking: &Ranking,
    customers: &RecordBatch,
    items: &RecordBatch,
) -> Result<Vec<f64>, ScoreError> {
    let pairs = by_pairs(ranking, customers, items)?;
    let Method::Dot(dot) = &ranking.method else { return Ok(pairs) };
    // The recognised formula must give what the parts give.
    let customers = ranking.customer.score(customers)?.outputs;
    let items = ranking.item.score(items)?.outputs;
    let value = |batch: &RecordBatch, column: usize, row: usize| {
        let column = batch.column(column).as_primitive_opt::<Float32Type>();
        column.map_or(f32::NAN, |column| column.value(row))
    };
    let mut found = Vec::with_capacity(pairs.len());
    for customer in 0..customers.num_rows() {
        for item in 0..items.num_rows() {
            let columns = dot.customer.iter().zip(&dot.item);
            let sum = columns.fold(0.0f32, |sum, (a, b)| {
                value(&customers, *a, customer).mul_add(value(&items, *b, item), sum)
            });
            let bias = dot.item_bias.map_or(0.0, |column| value(&items, column, item));
            let cut = |cut: usize| value(&customers, dot.cut_columns[cut], customer);
            found.push(f64::from(tail::apply(&dot.steps, sum + bias, cut)));
        }
    }
    let agrees = found.iter().zip(&pairs).all(|(found, expected)| close(*found, *expected));
    // Neither can be trusted then, and a score that nothing equals says so.
    Ok(if agrees { pairs } else { Vec::new() })
}

/// Rows of numbers without a pattern; integers are 0 or 1, which every index allows.
fn drawn(schema: &Schema, rows: usize, scale: f64, seed: u64) -> Result<RecordBatch, ScoreError> {
    let mut state = seed;
    let mut draw = || {
        // Constants of Knuth's linear congruential generator.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1u32 << 24)
    };
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, ScoreError> {
        let wanted = field.data_type();
        if matches!(wanted, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            return Ok(cast(&StringArray::from(vec![""; rows]), wanted)?);
        }
        let whole = wanted.is_integer() || !wanted.is_numeric();
        let values =
            (0..rows).map(|_| if whole { draw().round() } else { (draw() * 2.0 - 1.0) * scale });
        let values = Float64Array::from_iter_values(values);
        let castable = if wanted.is_numeric() || *wanted == DataType::Boolean {
            Arc::new(values) as ArrayRef
        } else {
            cast(&values, &DataType::Int32)?
        };
        Ok(cast(&castable, wanted)?)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::new(schema.clone()), columns)?)
}
