//! Every exported model gives what ONNX Runtime gives.

mod support;

use arrow::array::RecordBatch;
use cameo_scoring::{Scorer, ScoringLimits};
use support::{assert_column, json, matrix_batch, mixed_batch, model, schema};

/// ONNX Runtime's vectorised logistic function rounds at the scale of 1: at a margin of -12 it is off by
/// 6 parts in 1,000, at -19 it gives 0. This is one step of a 32-bit float below 1.
const LOGISTIC_STEP: f64 = f32::EPSILON as f64;

/// Batches of one row, of a few, and of more than a block and a chunk.
const BATCHES: [usize; 3] = [1, 7, 4096];

fn assert_matches(name: &str, absolute: f64, batch: impl Fn(bool, usize) -> RecordBatch) {
    let reference = json(name);
    let nan = reference["nan"].as_bool().expect("a flag");
    let outputs = reference["outputs"].as_object().expect("outputs by name");
    let features = schema(&batch(nan, 1));
    let scorer = Scorer::load(&model(name), None, &features, &ScoringLimits::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for rows in BATCHES {
        let found = scorer
            .score(&batch(nan, rows))
            .unwrap_or_else(|error| panic!("{name}, {rows} rows: {error}"));
        assert_eq!(found.outputs.num_rows(), rows, "{name}");
        assert!(found.rejected.is_empty(), "{name}");
        let mut columns = found.outputs.columns().iter();
        for (output, reference) in outputs {
            for (index, reference) in reference.as_array().expect("columns").iter().enumerate() {
                let column =
                    columns.next().unwrap_or_else(|| panic!("{name}: {output}_{index} is missing"));
                let place = format!("{name}, {rows} rows, {output}_{index}");
                assert_column(&place, column, reference.as_array().expect("values"), absolute);
            }
        }
        assert!(columns.next().is_none(), "{name}: more columns than the reference has");
    }
}

#[test]
fn boosted_trees_match_onnx_runtime_with_missing_values() {
    for name in [
        "xgboost_regressor",
        "xgboost_binary",
        "xgboost_three",
        "lightgbm_regressor",
        "lightgbm_binary",
        "lightgbm_three",
    ] {
        assert_matches(name, 0.0, matrix_batch);
    }
}

#[test]
fn scikit_learn_ensembles_match_onnx_runtime() {
    for name in [
        "forest_binary",
        "forest_three",
        "forest_words",
        "forest_regressor",
        "gradient_binary",
        "gradient_three",
        "gradient_regressor",
        "chain_model",
    ] {
        assert_matches(name, 0.0, matrix_batch);
    }
}

#[test]
fn pipelines_and_networks_match_onnx_runtime() {
    for name in [
        "linear_regressor",
        "logistic_pipeline",
        "logistic_words",
        "logistic_binarized",
        "network_binary",
        "network_regressor",
        "chain_preprocess",
    ] {
        assert_matches(name, LOGISTIC_STEP, matrix_batch);
    }
}

#[test]
fn numbers_integers_and_strings_bind_by_name_whatever_their_order_and_case() {
    for name in ["mixed_one_hot", "mixed_ordinal"] {
        assert_matches(name, LOGISTIC_STEP, |_, rows| mixed_batch(rows));
    }
}

#[test]
fn a_zip_map_becomes_one_column_per_class() {
    let batch = matrix_batch(false, 2);
    let load = |name| {
        let scorer = Scorer::load(&model(name), None, &schema(&batch), &ScoringLimits::default())
            .expect(name);
        let schema = scorer.output_schema();
        schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        load("forest_words"),
        [
            "output_label",
            "output_probability_high",
            "output_probability_low",
            "output_probability_middle"
        ]
    );
    assert_eq!(
        load("forest_binary"),
        ["output_label", "output_probability_0", "output_probability_1"]
    );
    assert_eq!(
        load("forest_three"),
        ["label", "probabilities_0", "probabilities_1", "probabilities_2"]
    );
}
