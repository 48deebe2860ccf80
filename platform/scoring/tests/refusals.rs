//! What is refused, and that the refusal says where and what to do.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use cameo_scoring::{ModelError, Scorer, ScoringLimits, inspect};
use support::{json, matrix_batch, mixed_batch, model, schema};

fn features(width: usize) -> Schema {
    Schema::new(
        (0..width)
            .map(|index| Field::new(format!("f{index}"), DataType::Float32, true))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn no_prefix_and_no_flipped_byte_of_a_model_panics() {
    let whole = model("xgboost_three");
    for length in (0..whole.len()).step_by(97) {
        let _ = inspect(&whole[..length]);
    }
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        let _ = Scorer::load(&flipped, None, &features(8), &ScoringLimits::default());
    }
}

#[test]
fn a_model_over_a_limit_is_refused_with_the_limit() {
    let limits = ScoringLimits { model_bytes_max: 100, ..ScoringLimits::default() };
    let error =
        Scorer::load(&model("xgboost_binary"), None, &features(8), &limits).expect_err("too large");
    assert!(matches!(error, ModelError::Limit { limit: 100, .. }), "{error}");
    let limits = ScoringLimits { constants_max: 1, ..ScoringLimits::default() };
    let error = Scorer::load(&model("network_binary"), None, &features(8), &limits)
        .expect_err("too many constants");
    assert!(error.to_string().contains("number of constants"), "{error}");
    let limits = ScoringLimits { row_steps_max: 100, ..ScoringLimits::default() };
    for (name, place) in [("network_binary", "work per row"), ("xgboost_binary", "comparisons")] {
        let error = Scorer::load(&model(name), None, &features(8), &limits).expect_err(name);
        assert!(error.to_string().contains(place), "{error}");
    }
    let limits = ScoringLimits { nodes_max: 1, ..ScoringLimits::default() };
    let error = Scorer::load(&model("logistic_pipeline"), None, &features(8), &limits)
        .expect_err("too many");
    assert!(error.to_string().contains("number of nodes"), "{error}");
}

#[test]
fn a_matrix_of_another_width_is_refused_with_the_columns_it_got() {
    let error =
        Scorer::load(&model("xgboost_binary"), None, &features(7), &ScoringLimits::default())
            .expect_err("one column short");
    let text = error.to_string();
    assert!(
        text.contains("expected 8 feature columns, found 7") && text.contains("float32[N, 8]"),
        "{text}"
    );
}

#[test]
fn a_missing_column_and_a_column_of_the_wrong_type_are_named() {
    let limits = ScoringLimits::default();
    let whole = schema(&mixed_batch(1));
    let without: Vec<_> =
        whole.fields().iter().filter(|field| field.name() != "visits").cloned().collect();
    let error = Scorer::load(&model("mixed_one_hot"), None, &Schema::new(without), &limits)
        .expect_err("no visits");
    assert!(error.to_string().contains("`visits`"), "{error}");
    let retyped = |data_type: DataType| {
        let fields: Vec<_> = whole
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "visits" => Field::new("visits", data_type.clone(), true),
                _ => field.as_ref().clone(),
            })
            .collect();
        Scorer::load(&model("mixed_one_hot"), None, &Schema::new(fields), &limits)
    };
    let error = retyped(DataType::Float64).expect_err("floats for integers");
    assert!(error.to_string().contains("CAST"), "{error}");
    assert!(retyped(DataType::Date32).is_ok());
    let mut fields: Vec<Field> =
        features(7).fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("seen_at", DataType::Timestamp(TimeUnit::Microsecond, None), true));
    let error = Scorer::load(&model("xgboost_binary"), None, &Schema::new(fields), &limits)
        .expect_err("an instant");
    assert!(error.to_string().contains("seen_at"), "{error}");
}

#[test]
fn a_null_is_missing_for_a_float_and_rejects_the_row_for_anything_else() {
    let batch = mixed_batch(4);
    let scorer =
        Scorer::load(&model("mixed_one_hot"), None, &schema(&batch), &ScoringLimits::default())
            .expect("loads");
    let whole = scorer.score(&batch).expect("scores");
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let visits = columns[1].clone();
    let visits = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&visits);
    columns[1] = Arc::new(
        visits
            .iter()
            .enumerate()
            .map(|(row, value)| value.filter(|_| row != 2))
            .collect::<Int64Array>(),
    );
    let colours = arrow::array::AsArray::as_string::<i32>(&columns[0]).clone();
    columns[0] = Arc::new(
        colours
            .iter()
            .enumerate()
            .map(|(row, colour)| colour.filter(|_| row % 2 == 1))
            .collect::<StringArray>(),
    );
    let nullable: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let holes =
        RecordBatch::try_new(Arc::new(Schema::new(nullable)), columns).expect("nullable columns");
    let partial = scorer.score(&holes).expect("scores");
    assert_eq!(partial.rejected.iter().map(|rejected| rejected.row).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        partial.rejected.iter().map(|rejected| rejected.column.as_str()).collect::<Vec<_>>(),
        ["COLOUR", "visits"],
        "the first unusable column in the order of the model is named"
    );
    let kept = arrow::array::BooleanArray::from(vec![false, true, false, true]);
    let expected = arrow::compute::filter_record_batch(&whole.outputs, &kept).expect("a filter");
    assert_eq!(partial.outputs, expected, "the other rows score as before");
    assert!(partial.rejected[0].reason.contains("COALESCE"));
    assert!(whole.rejected.is_empty());

    let with_nan = matrix_batch(true, 64);
    let trees = Scorer::load(
        &model("xgboost_regressor"),
        None,
        &schema(&with_nan),
        &ScoringLimits::default(),
    )
    .expect("loads");
    let as_nulls: Vec<ArrayRef> = with_nan
        .columns()
        .iter()
        .map(|column| {
            let column =
                arrow::array::AsArray::as_primitive::<arrow::datatypes::Float32Type>(column);
            let nulls: Float32Array =
                column.iter().map(|value| value.filter(|value| !value.is_nan())).collect();
            Arc::new(nulls) as ArrayRef
        })
        .collect();
    let fields: Vec<Field> =
        features(8).fields().iter().map(|field| field.as_ref().clone()).collect();
    let as_nulls =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), as_nulls).expect("nullable columns");
    assert_eq!(
        trees.score(&as_nulls).expect("scores").outputs,
        trees.score(&with_nan).expect("scores").outputs
    );
}

#[test]
fn a_batch_may_order_its_columns_otherwise_but_not_lack_or_retype_one() {
    let batch = matrix_batch(false, 32);
    let scorer =
        Scorer::load(&model("gradient_binary"), None, &schema(&batch), &ScoringLimits::default())
            .expect("loads");
    let reversed: Vec<usize> = (0..8).rev().collect();
    let reversed = batch.project(&reversed).expect("known columns");
    assert_eq!(
        scorer.score(&reversed).expect("by name").outputs,
        scorer.score(&batch).expect("in order").outputs
    );
    let error = scorer.score(&batch.project(&[0, 1]).expect("known columns")).expect_err("too few");
    assert!(error.to_string().contains("`f2`"), "{error}");
    let doubles = batch.columns().iter().enumerate().map(|(index, column)| {
        let column = arrow::compute::cast(column, &DataType::Float64).expect("widens");
        (format!("f{index}"), column)
    });
    let doubles = RecordBatch::try_from_iter(doubles).expect("equal lengths");
    assert!(scorer.score(&doubles).expect_err("retyped").to_string().contains("Float64"));
    let retyped =
        Scorer::load(&model("gradient_binary"), None, &schema(&doubles), &ScoringLimits::default())
            .expect("loads");
    assert_eq!(
        retyped.score(&doubles).expect("rounds").outputs,
        scorer.score(&batch).expect("scores").outputs
    );
}

#[test]
fn an_empty_batch_gives_an_empty_batch() {
    for name in ["gradient_binary", "logistic_pipeline"] {
        let batch = matrix_batch(false, 4);
        let scorer = Scorer::load(&model(name), None, &schema(&batch), &ScoringLimits::default())
            .expect(name);
        let found = scorer.score(&batch.slice(0, 0)).expect(name);
        assert_eq!(found.outputs.num_rows(), 0);
        assert_eq!(found.outputs.schema(), scorer.output_schema());
    }
}

#[test]
fn a_preprocess_model_feeds_the_model() {
    let batch = matrix_batch(true, 4096);
    let limits = ScoringLimits::default();
    let both = Scorer::load(
        &model("chain_model"),
        Some(&model("chain_preprocess")),
        &schema(&batch),
        &limits,
    )
    .expect("chains");
    let first =
        Scorer::load(&model("chain_preprocess"), None, &schema(&batch), &limits).expect("loads");
    let between = first.score(&batch).expect("scores").outputs;
    let second =
        Scorer::load(&model("chain_model"), None, &schema(&between), &limits).expect("loads");
    assert_eq!(
        both.score(&batch).expect("scores").outputs,
        second.score(&between).expect("scores").outputs
    );
    let error = Scorer::load(
        &model("chain_preprocess"),
        Some(&model("chain_model")),
        &schema(&batch),
        &limits,
    )
    .expect_err("one value for eight");
    assert!(error.to_string().contains("preprocess"), "{error}");
}

#[test]
fn one_scorer_serves_many_threads() {
    let batch = matrix_batch(true, 5000);
    for name in ["xgboost_binary", "logistic_pipeline"] {
        let scorer = Scorer::load(&model(name), None, &schema(&batch), &ScoringLimits::default())
            .expect(name);
        let alone = scorer.score(&batch).expect(name).outputs;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(scorer.score(&batch).expect(name).outputs, alone));
            }
        });
    }
}

#[test]
fn a_batch_that_takes_too_long_fails_with_the_rows_that_were_done() {
    let batch = matrix_batch(false, 1_000).project(&[0, 1, 2, 3]).expect("four columns");
    let limits = ScoringLimits { batch_time_max: Duration::ZERO, ..ScoringLimits::default() };
    // A graph that only the general runtime takes.
    let case = &json("hostile")["a gather out of range at run time"];
    let model = support::base64(case["model"].as_str().expect("base64"));
    let scorer = Scorer::load(&model, None, &schema(&batch), &limits).expect("loads");
    let error = scorer.score(&batch).expect_err("no time at all").to_string();
    assert!(error.contains("0 of 1000 rows done"), "{error}");
}

#[test]
fn a_scorer_says_how_it_evaluates() {
    let batch = matrix_batch(false, 1);
    let described = |name: &str| {
        Scorer::load(&model(name), None, &schema(&batch), &ScoringLimits::default())
            .expect(name)
            .describe()
    };
    assert!(described("xgboost_binary").contains("bytes"), "{}", described("xgboost_binary"));
    // Its converter multiplies the scores with 1.
    assert!(described("lightgbm_binary").contains("trees"), "{}", described("lightgbm_binary"));
    assert!(!described("network_binary").contains("trees"), "{}", described("network_binary"));
    let slowest = cameo_scoring::measure::Level::Portable.at_most(|| described("xgboost_binary"));
    assert!(slowest.contains("portable"), "{slowest}");
}

#[test]
fn inspect_tells_inputs_outputs_and_operators() {
    let signature = inspect(&model("forest_words")).expect("a model");
    assert_eq!(signature.inputs[0].to_string(), "float32[N, 8]");
    assert_eq!(signature.outputs[1].columns().expect("classes")[0], "output_probability_high");
    assert_eq!(signature.operators["ZipMap"], 1);
}
