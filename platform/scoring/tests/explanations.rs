//! Contributions add up to the score and match what is known to be right.

mod support;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, Scalar};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use cameo_scoring::explain::{Covers, ExplainOptions, Explained, Explainer, Method, Unit};
use cameo_scoring::{LoadOptions, ModelError, NullDefault, Scorer, ScoringLimits};
use support::{json, matrix_batch, mixed_batch, model, schema};

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
    let loaded =
        Scorer::load(&model(name), None, &schema(batch), &ScoringLimits::default()).expect("loads");
    let scored = loaded.score(batch).expect("scores").outputs;
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

#[test]
fn tree_ensembles_are_explained_exactly() {
    for (name, unit) in [
        ("xgboost_regressor", Unit::Output),
        ("xgboost_binary", Unit::Margin),
        ("lightgbm_regressor", Unit::Output),
        ("lightgbm_binary", Unit::Margin),
        ("forest_binary", Unit::Output),
        ("forest_regressor", Unit::Output),
        ("gradient_regressor", Unit::Output),
        ("gradient_binary", Unit::Margin),
    ] {
        let nan = json(name)["nan"].as_bool().expect("a flag");
        let background = matrix_batch(nan, 200);
        for method in [Method::Auto, Method::TreePathDependent, Method::TreeInterventional] {
            for table_bytes_max in [0, 1 << 24] {
                if method == Method::TreeInterventional && table_bytes_max == 0 {
                    continue;
                }
                let options = ExplainOptions { table_bytes_max, ..options(method) };
                let explainer = load(name, &background, &options);
                assert_ne!(explainer.method(), Method::Kernel, "{}", explainer.describe());
                assert_eq!(explainer.unit(), unit, "{name}");
                assert_adds_up(name, &explainer, &matrix_batch(nan, 700));
                assert!(explainer.explain(&background).expect("explains").error.is_none());
            }
        }
    }
}

#[test]
fn a_lightgbm_classifier_is_explained_by_its_trees_and_not_by_sampling() {
    // The second ends in a multiplication by 1, which the converter adds without a `ZipMap`.
    for name in ["lightgbm_binary", "explain_lightgbm_classifier"] {
        let background = matrix_batch(true, 200);
        let explainer = load(name, &background, &options(Method::Auto));
        let described = explainer.describe();
        assert_eq!(explainer.method(), Method::TreePathDependent, "{name}: {described}");
        assert!(described.starts_with("exact TreeSHAP"), "{name}: {described}");
        assert_eq!(explainer.unit(), Unit::Margin, "{name}");
        let found = explainer.explain(&background).expect("explains");
        assert!(found.error.is_none(), "{name}: exact contributions have no error to state");
        assert_adds_up(name, &explainer, &background);
    }
}

#[test]
fn each_of_several_classes_is_explained() {
    for name in ["xgboost_three", "lightgbm_three", "gradient_three", "forest_three"] {
        let nan = json(name)["nan"].as_bool().expect("a flag");
        let batch = matrix_batch(nan, 300);
        let scorer = Scorer::load(&model(name), None, &schema(&batch), &ScoringLimits::default())
            .expect("loads");
        let classes: Vec<String> = scorer
            .output_schema()
            .fields()
            .iter()
            .filter(|field| field.data_type().is_floating())
            .map(|field| field.name().clone())
            .collect();
        assert_eq!(classes.len(), 3, "{name}");
        let mut by_class = Vec::new();
        for class in &classes {
            let options = ExplainOptions { output: Some(class.clone()), ..options(Method::Auto) };
            let explainer = load(name, &batch, &options);
            assert_eq!(explainer.method(), Method::TreePathDependent, "{}", explainer.describe());
            let found = explainer.explain(&batch).expect("explains");
            by_class.push((
                explainer.unit(),
                totals(&explainer, &found),
                outputs(name, &batch, class),
            ));
        }
        let [(unit, first, first_score), rest @ ..] = &by_class[..] else {
            panic!("three classes")
        };
        for (_, other, other_score) in rest {
            for row in 0..batch.num_rows() {
                let (found, expected) = match unit {
                    // Of a softmax only differences of margins come out.
                    Unit::Margin => {
                        (other[row] - first[row], (other_score[row] / first_score[row]).ln())
                    }
                    Unit::Output => (other[row], other_score[row]),
                };
                if first_score[row] > 1e-3 && other_score[row] > 1e-3 {
                    assert!(
                        (found - expected).abs() < 1e-4,
                        "{name}, row {row}: {found} for {expected}"
                    );
                }
            }
        }
    }
    let refused = Explainer::load(
        &model("xgboost_three"),
        None,
        &schema(&matrix_batch(true, 9)),
        &matrix_batch(true, 9),
        &ExplainOptions::default(),
        &ScoringLimits::default(),
    );
    let refused = refused.expect_err("which class?").to_string();
    assert!(refused.contains("name the one to explain"), "{refused}");
}

#[test]
fn linear_models_are_explained_in_closed_form() {
    for (name, unit, batch, background) in [
        ("logistic_pipeline", Unit::Margin, matrix_batch(true, 600), matrix_batch(true, 100)),
        ("logistic_binarized", Unit::Margin, matrix_batch(false, 600), matrix_batch(false, 100)),
        ("mixed_one_hot", Unit::Margin, mixed_batch(600), mixed_batch(100)),
        ("mixed_ordinal", Unit::Margin, mixed_batch(600), mixed_batch(100)),
    ] {
        let explainer = load(name, &background, &options(Method::Auto));
        assert_eq!(explainer.method(), Method::Linear, "{name}: {}", explainer.describe());
        assert_eq!(explainer.unit(), unit, "{name}");
        assert_adds_up(name, &explainer, &batch);
    }
}

#[test]
fn a_step_that_mixes_features_leaves_only_sampling_and_the_description_says_so() {
    // A normaliser divides every feature by the length of the row.
    let background = matrix_batch(false, 50);
    let explainer = load("linear_regressor", &background, &options(Method::Auto));
    assert_eq!(explainer.method(), Method::Kernel);
    let text = explainer.describe();
    assert!(text.contains("makes one value of several feature columns"), "{text}");
    let refused = Explainer::load(
        &model("linear_regressor"),
        None,
        &schema(&background),
        &background,
        &options(Method::Linear),
        &ScoringLimits::default(),
    );
    let refused = refused.expect_err("linear was asked for").to_string();
    assert!(refused.contains("take the automatic method"), "{refused}");
}

#[test]
fn trees_behind_a_preprocess_model_are_explained_by_feature_column() {
    let batch = matrix_batch(true, 300);
    let (graph, first) = (model("chain_model"), model("chain_preprocess"));
    let limits = ScoringLimits::default();
    let explainer = Explainer::load(
        &graph,
        Some(&first),
        &schema(&batch),
        &batch,
        &options(Method::Auto),
        &limits,
    )
    .expect("loads");
    assert_eq!(explainer.method(), Method::TreePathDependent, "{}", explainer.describe());
    let scorer = Scorer::load(&graph, Some(&first), &schema(&batch), &limits).expect("loads");
    let outputs = scorer.score(&batch).expect("it loaded").outputs;
    let outputs = outputs.column(0).as_primitive::<Float32Type>();
    let found = explainer.explain(&batch).expect("explains");
    for (total, score) in totals(&explainer, &found).into_iter().zip(outputs.values()) {
        assert!((total - f64::from(*score)).abs() < 1e-4, "{total} for {score}");
    }
}

/// Every second visit is missing, and the same with `value` in its place.
fn without_visits(batch: &RecordBatch, value: i64) -> [RecordBatch; 2] {
    let schema = batch.schema();
    let at = schema.index_of("visits").expect("a column");
    let missing: BooleanArray = (0..batch.num_rows()).map(|row| Some(row % 2 == 1)).collect();
    let value = cast(&Int64Array::from(vec![value]), batch.column(at).data_type());
    let value = Scalar::new(value.expect("a whole number"));
    let changed = [
        nullif(batch.column(at), &missing).expect("equal lengths"),
        zip(&missing, &value, batch.column(at)).expect("equal lengths"),
    ];
    changed.map(|visits| {
        let fields = schema.fields().iter().zip(batch.columns()).enumerate();
        let columns = fields.map(|(index, (field, column))| {
            (field.name(), if index == at { visits.clone() } else { column.clone() }, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).expect("equal lengths")
    })
}

#[test]
fn a_default_stands_for_nulls_in_what_is_explained_as_in_what_is_scored() {
    let [given, filled] = without_visits(&mixed_batch(200), 4);
    let defaults = |name: &str, value| LoadOptions {
        null_defaults: [(name.to_owned(), value)].into(),
        ..LoadOptions::default()
    };
    let declared = defaults("VISITS", NullDefault::Integer(4));
    for (name, method) in [
        ("mixed_one_hot", Method::Auto),
        ("mixed_one_hot", Method::Kernel),
        ("mixed_ordinal", Method::Auto),
    ] {
        let load = |background: &RecordBatch, load: &LoadOptions| {
            let options = ExplainOptions { samples: 8, ..options(method) };
            let schema = schema(background);
            Explainer::load_with(&model(name), None, &schema, background, &options, load)
        };
        let plain = load(&filled, &LoadOptions::default()).expect(name);
        let explainer = load(&given, &declared).expect(name);
        assert_eq!(explainer.method(), plain.method(), "{name}");
        assert_eq!(explainer.base_value().to_bits(), plain.base_value().to_bits(), "{name}");
        let found = explainer.explain(&given).expect("explains");
        assert!(found.rejected.is_empty(), "{name}");
        let expected = plain.explain(&filled).expect("explains");
        assert_eq!(found.contributions, expected.contributions, "{name}");
        let without = load(&filled, &LoadOptions::default()).expect(name);
        assert_eq!(without.explain(&given).expect("explains").rejected.len(), 100, "{name}");
        let refused = load(&given, &defaults("visitors", NullDefault::Integer(4)));
        assert!(matches!(refused, Err(ModelError::NullDefault { .. })), "{name}: {refused:?}");
    }
}

/// Compares with rows of reference contributions that end in the base value.
fn assert_reference(name: &str, explainer: &Explainer, reference: &serde_json::Value) {
    let reference = reference.as_array().expect("rows");
    let found = explainer.explain(&matrix_batch(true, reference.len())).expect("explains");
    for (row, reference) in reference.iter().enumerate() {
        let reference: Vec<f64> = reference
            .as_array()
            .expect("numbers")
            .iter()
            .filter_map(serde_json::Value::as_f64)
            .collect();
        let (base, contributions) = reference.split_last().expect("a base value");
        assert!((explainer.base_value() - base).abs() < 1e-5, "{name}: base value {base}");
        for (column, expected) in found.contributions.columns().iter().zip(contributions) {
            let value = f64::from(column.as_primitive::<Float32Type>().value(row));
            let close = (value - expected).abs() <= 1e-5 * expected.abs().max(1.0);
            assert!(close, "{name}, row {row}: {value} for {expected}");
        }
    }
}

#[test]
fn contributions_equal_those_of_the_trainers_and_of_shap() {
    for name in ["explain_xgboost", "explain_lightgbm", "explain_lightgbm_classifier"] {
        let reference = json(name);
        let trees = reference["covers"].as_array().expect("trees").iter().map(|tree| {
            tree.as_array().expect("covers").iter().filter_map(serde_json::Value::as_f64).collect()
        });
        let covers = Covers { trees: trees.collect() };
        let rows = matrix_batch(true, 256);
        let background = rows.slice(64, 100);
        let limits = ScoringLimits::default();
        for table_bytes_max in [0, 1 << 26] {
            let options = ExplainOptions { table_bytes_max, ..ExplainOptions::default() };
            let explainer = Explainer::load_with_covers(
                &model(name),
                None,
                &schema(&rows),
                &background,
                &covers,
                &options,
                &limits,
            )
            .expect("loads");
            assert!(explainer.describe().contains("covers of the trainer"));
            assert_reference(name, &explainer, &reference["path_dependent"]);
            let options = ExplainOptions { method: Method::TreeInterventional, ..options };
            let explainer = load(name, &background, &options);
            assert_eq!(explainer.method(), Method::TreeInterventional);
            assert_reference(name, &explainer, &reference["interventional"]);
        }
    }
}
