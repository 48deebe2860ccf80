//! A process of its own changes nothing of what a model says.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
};
use cameo_isolation::{
    Allowance, Explainer, Fault, Files, Host, Isolation, Program, Ranking, Scorer,
};
use cameo_scoring::{
    NullDefault, NullDefaults, explain::ExplainOptions, explain::Method, rank::RankOptions,
};
use cameo_tests::isolation;

const ROWS: usize = 300;

fn model(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../platform/scoring/tests/fixtures");
    std::fs::read(fixtures.join(format!("{name}.onnx"))).expect("fixtures are committed")
}

/// Numbers with nulls and NaN among them.
fn floats(seed: usize) -> ArrayRef {
    let value = |row: usize| match (row * 7 + seed) % 23 {
        0 => None,
        1 => Some(f32::NAN),
        other => Some(other as f32 / 2.0 - 5.0),
    };
    Arc::new(Float32Array::from((0..ROWS).map(value).collect::<Vec<_>>()))
}

fn batch(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("equal lengths")
}

fn numbered(prefix: &str, count: usize) -> Vec<(String, ArrayRef)> {
    (0..count).map(|at| (format!("{prefix}{at}"), floats(at))).collect()
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).expect("a small number")
}

/// Columns of four types, and one that no model reads.
fn mixed() -> RecordBatch {
    let colours = (0..ROWS).map(|row| [Some("red"), None, Some("green")][row % 3]);
    let visits = (0..ROWS).map(|row| (row % 11 > 0).then_some(whole(row)));
    batch(vec![
        ("secret".to_owned(), Arc::new(StringArray::from(vec!["mine"; ROWS]))),
        ("COLOUR".to_owned(), Arc::new(colours.collect::<StringArray>())),
        ("visits".to_owned(), Arc::new(visits.collect::<Int64Array>())),
        ("spend".to_owned(), floats(3)),
        ("age".to_owned(), floats(4)),
    ])
}

fn places() -> [Host; 2] {
    [Host::here(), isolation().start(Allowance::default()).expect("a process")]
}

#[test]
fn scores_are_the_same_in_another_process_with_the_rows_that_are_left_out() {
    let matrix = batch(numbered("f", 8));
    let hosts = places();
    for name in [
        "xgboost_three",
        "lightgbm_regressor",
        "forest_words",
        "logistic_pipeline",
        "network_binary",
    ] {
        let file = model(name);
        let files = Files { model: &file, preprocess: None };
        let [here, apart] = hosts.each_ref().map(|host| {
            let schema: &Schema = matrix.schema_ref();
            let scorer = Scorer::load(host, files, schema, &NullDefaults::new()).expect("it loads");
            assert_eq!(scorer.input_columns().len(), 8);
            let scored = scorer.score(&matrix).expect("it scores");
            assert_eq!(scored.outputs.schema(), scorer.output_schema());
            format!("{scored:?}")
        });
        assert_eq!(here, apart, "{name}");
    }
    let mixed = mixed();
    let defaults = [("visits".to_owned(), NullDefault::Integer(3))];
    for defaults in [NullDefaults::new(), NullDefaults::from(defaults)] {
        let file = model("mixed_one_hot");
        let files = Files { model: &file, preprocess: None };
        let [here, apart] = hosts.each_ref().map(|host| {
            let scorer =
                Scorer::load(host, files, mixed.schema_ref(), &defaults).expect("it loads");
            let scored = scorer.score(&mixed).expect("it scores");
            assert!(!scored.rejected.is_empty(), "null colours are left out");
            format!("{scored:?}")
        });
        assert_eq!(here, apart);
    }
}

#[test]
fn explanations_are_the_same_in_another_process() {
    let matrix = batch(numbered("f", 8));
    let hosts = places();
    for (name, method) in [
        ("xgboost_binary", Method::Auto),
        ("logistic_pipeline", Method::Auto),
        ("network_regressor", Method::Kernel),
    ] {
        let file = model(name);
        let files = Files { model: &file, preprocess: None };
        let options = ExplainOptions { method, samples: 16, ..ExplainOptions::default() };
        let [here, apart] = hosts.each_ref().map(|host| {
            let background = matrix.slice(0, 50);
            let defaults = NullDefaults::new();
            let schema: &Schema = matrix.schema_ref();
            let explainer = Explainer::load(host, files, schema, &background, &options, &defaults)
                .expect("it is ready");
            let explained = explainer.explain(&matrix.slice(50, 40)).expect("it explains");
            format!("{:?} {explained:?}", explainer.about())
        });
        assert_eq!(here, apart, "{name}");
    }
}

#[test]
fn rankings_are_the_same_in_another_process() {
    let customers = batch(numbered("c", 6));
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..whole(ROWS)).rev()));
    let items = batch([vec![("offer".to_owned(), keys)], numbered("i", 4)].concat());
    let options = RankOptions { item_key: "offer".to_owned(), top_n: 5, score: None };
    let hosts = places();
    for name in ["rank_towers", "rank_cosine"] {
        let [here, apart] = hosts.each_ref().map(|host| {
            let (of, over) = (customers.schema(), items.schema());
            let ranking =
                Ranking::load(host, &model(name), &of, &over, &options).expect("it loads");
            let ranker = ranking.over(&items).map_err(|fault| fault.to_string());
            let ranked = ranker
                .and_then(|ranker| ranker.rank(&customers).map_err(|fault| fault.to_string()));
            format!("{} {:?} {ranked:?}", ranking.describe(), ranking.input_columns())
        });
        assert_eq!(here, apart, "{name}");
    }
}

#[test]
fn a_batch_without_a_column_and_a_program_that_is_no_child_are_told() {
    let matrix = batch(numbered("f", 8));
    let host = isolation().start(Allowance::default()).expect("a process");
    let file = model("network_binary");
    let files = Files { model: &file, preprocess: None };
    let schema: &Schema = matrix.schema_ref();
    let scorer = Scorer::load(&host, files, schema, &NullDefaults::new()).expect("it loads");
    let narrow = matrix.project(&[0, 1]).expect("two columns");
    let fault = scorer.score(&narrow).expect_err("columns are missing");
    assert!(matches!(&fault, Fault::Model(problem) if problem.contains("f2")), "{fault}");
    scorer.score(&matrix).expect("the process lives on");

    for path in ["/bin/true", "/nowhere/at/all"] {
        let program = Program { path: path.into(), arguments: Vec::new() };
        let started = Isolation::Process(program).start(Allowance::default());
        let fault = started.expect_err("it is no child");
        assert!(matches!(fault, Fault::Start(_)), "{fault:?}");
        assert!(!fault.is_of_model(), "another attempt may find it");
    }
}
