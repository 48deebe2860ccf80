//! Contributions add up to the score and match what is known to be right.

mod support;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use cameo_scoring::explain::{ExplainOptions, Explained, Explainer, Method, Unit};
use cameo_scoring::{Scorer, ScoringLimits};
use support::{matrix_batch, mixed_batch, model, schema};

fn options(method: Method) -> ExplainOptions {
    ExplainOptions { method, ..ExplainOptions::default() }
}

fn load(name: &str, background: &RecordBatch, options: &ExplainOptions) -> Explainer {
    let limits = ScoringLimits::default();
    Explainer::load(&model(name), None, &schema(background), background, options, &limits)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// By row: base value and contributions together.
fn totals(explainer: &Explainer, found: &Explained) -> Vec<f64> {
    let mut totals = vec![explainer.base_value(); found.contributions.num_rows()];
    for column in found.contributions.columns() {
        for (total, contribution) in
            totals.iter_mut().zip(column.as_primitive::<Float32Type>().values())
        {
            *total += f64::from(*contribution);
        }
    }
    totals
}

fn outputs(name: &str, batch: &RecordBatch, output: &str) -> Vec<f64> {
    let scorer =
        Scorer::load(&model(name), None, &schema(batch), &ScoringLimits::default()).expect("loads");
    let scored = scorer.score(batch).expect("scores").outputs;
    let column = scored.column_by_name(output).expect("the explained column is an output");
    let column = cast(column, &DataType::Float64).expect("a number");
    column.as_primitive::<Float64Type>().values().to_vec()
}

fn assert_adds_up(name: &str, explainer: &Explainer, batch: &RecordBatch) {
    let found = explainer.explain(batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    let scores = outputs(name, batch, explainer.output());
    for (row, (total, score)) in totals(explainer, &found).into_iter().zip(scores).enumerate() {
        // A probability near 0 or 1 has lost the digits that its log-odds had.
        let expected = match explainer.unit() {
            Unit::Output => score,
            Unit::Margin if !(1e-3..=0.999).contains(&score) => continue,
            Unit::Margin => (score / (1.0 - score)).ln(),
        };
        assert!(
            (total - expected).abs() <= 1e-4 * expected.abs().max(1.0),
            "{name}, row {row}: contributions add up to {total}, the output is {expected}"
        );
    }
}

#[test]
fn sampled_contributions_add_up_and_state_their_error() {
    for (name, batch) in [
        ("network_regressor", matrix_batch(false, 12)),
        ("mixed_one_hot", mixed_batch(12)),
        ("xgboost_binary", matrix_batch(true, 12)),
    ] {
        let background =
            if name == "mixed_one_hot" { mixed_batch(40) } else { matrix_batch(true, 40) };
        let background =
            if name == "network_regressor" { matrix_batch(false, 40) } else { background };
        let explainer =
            load(name, &background, &ExplainOptions { samples: 32, ..options(Method::Kernel) });
        assert_eq!((explainer.method(), explainer.unit()), (Method::Kernel, Unit::Output));
        assert_adds_up(name, &explainer, &batch);
        let found = explainer.explain(&batch).expect("explains");
        let errors = found.error.expect("sampling states its error");
        assert_eq!(errors.len(), 12);
        assert!(errors.iter().all(|error| error.is_finite() && *error >= 0.0));
        assert!(errors.iter().any(|error| *error > 0.0), "{name} has interactions to sample");
    }
}

#[test]
fn a_row_has_the_same_sampled_contributions_in_every_batch() {
    let batch = matrix_batch(false, 9);
    let options = ExplainOptions { samples: 16, seed: 5, ..options(Method::Kernel) };
    let explainer = load("network_binary", &matrix_batch(false, 30), &options);
    let whole = explainer.explain(&batch).expect("explains").contributions;
    for row in 0..batch.num_rows() {
        let alone = explainer.explain(&batch.slice(row, 1)).expect("explains").contributions;
        assert_eq!(alone, whole.slice(row, 1), "row {row}");
    }
    let again = load("network_binary", &matrix_batch(false, 30), &options);
    assert_eq!(again.explain(&batch).expect("explains").contributions, whole);
    let other =
        load("network_binary", &matrix_batch(false, 30), &ExplainOptions { seed: 6, ..options });
    assert_ne!(other.explain(&batch).expect("explains").contributions, whole);
}
