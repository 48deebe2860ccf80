//! Single rows: the scores of a batch, and no allocation.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use cameo_scoring::{RowValue, ScoreError, Scorer, ScoringLimits};
use support::{matrix_batch, mixed_batch, model, schema};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator cannot be replaced without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Models of every kind that runs fused, and the batches that feed them.
fn fused() -> Vec<(&'static str, RecordBatch)> {
    let matrix = [
        "linear_regressor",
        "logistic_pipeline",
        "network_binary",
        "network_regressor",
        "xgboost_binary",
        "lightgbm_three",
        "forest_binary",
        "forest_regressor",
    ];
    let mixed = ["mixed_one_hot", "mixed_ordinal"];
    let matrix = matrix.into_iter().map(|name| (name, matrix_batch(false, 64)));
    matrix.chain(mixed.into_iter().map(|name| (name, mixed_batch(64)))).collect()
}

fn value(column: &ArrayRef, row: usize) -> RowValue<'_> {
    if column.is_null(row) {
        RowValue::Null
    } else if let Some(floats) = column.as_primitive_opt::<Float32Type>() {
        RowValue::Number(floats.value(row).into())
    } else if let Some(integers) = column.as_primitive_opt::<Int64Type>() {
        RowValue::Integer(integers.value(row))
    } else {
        RowValue::Text(column.as_string::<i32>().value(row).into())
    }
}

/// The values of a row in the order in which a scorer reads columns.
fn row<'a>(scorer: &Scorer, batch: &'a RecordBatch, row: usize) -> Vec<RowValue<'a>> {
    let columns = scorer.input_columns();
    columns
        .iter()
        .map(|name| value(batch.column_by_name(name).expect("a feature column"), row))
        .collect()
}

fn load(name: &str, batch: &RecordBatch) -> Scorer {
    Scorer::load(&model(name), None, &schema(batch), &ScoringLimits::default()).expect(name)
}

#[test]
fn a_row_scores_as_it_does_in_a_batch() {
    for (name, batch) in fused() {
        let scorer = load(name, &batch);
        assert!(scorer.describe().contains("over the columns"), "{name}: {}", scorer.describe());
        let expected = scorer.score(&batch).expect(name).outputs;
        let mut session = scorer.session();
        for index in 0..batch.num_rows() {
            let found = session.score(&row(&scorer, &batch, index)).expect(name);
            let expected: Vec<RowValue<'_>> =
                expected.columns().iter().map(|column| value(column, index)).collect();
            assert_eq!(found, expected, "{name}, row {index}");
        }
    }
}

#[test]
fn a_row_scores_without_an_allocation() {
    for (name, batch) in fused() {
        let scorer = load(name, &batch);
        let rows: Vec<_> = (0..batch.num_rows()).map(|index| row(&scorer, &batch, index)).collect();
        let mut session = scorer.session();
        session.score(&rows[0]).expect(name);
        let before = ALLOCATIONS.get();
        for row in &rows {
            session.score(row).expect(name);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{name}: allocations for {} rows", rows.len());
    }
}

#[test]
fn a_row_with_too_few_or_unfitting_values_is_refused_with_the_column() {
    let batch = mixed_batch(1);
    let scorer = load("mixed_one_hot", &batch);
    let mut session = scorer.session();
    let mut values = row(&scorer, &batch, 0);
    let short = session.score(&values[1..]).expect_err("too few");
    assert!(matches!(short, ScoreError::RowWidth { expected: 4, found: 3 }), "{short}");
    let text = values.iter().position(|value| matches!(value, RowValue::Text(_))).expect("text");
    values[text] = RowValue::Null;
    let missing = session.score(&values).expect_err("null").to_string();
    assert!(missing.contains("COLOUR") && missing.contains("null"), "{missing}");
    values[text] = RowValue::Number(1.0);
    let mistyped = session.score(&values).expect_err("a number").to_string();
    assert!(mistyped.contains("string") && mistyped.contains("Number"), "{mistyped}");
}

#[test]
fn a_model_on_the_general_runtime_scores_single_rows_too() {
    let (name, batch) = ("logistic_binarized", matrix_batch(false, 8));
    let scorer = load(name, &batch);
    let expected = scorer.score(&batch).expect(name).outputs;
    let mut session = scorer.session();
    for index in 0..batch.num_rows() {
        let found = session.score(&row(&scorer, &batch, index)).expect(name);
        let expected: Vec<RowValue<'_>> =
            expected.columns().iter().map(|column| value(column, index)).collect();
        assert_eq!(found, expected, "row {index}");
    }
}
