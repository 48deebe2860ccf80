//! Models that were made to break a runtime, as the API looks at them.

use std::{path::Path, sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, Float32Array, RecordBatch},
    datatypes::Schema,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cameo_isolation::{Allowance, Fault, Files, Host, Scorer};
use cameo_scoring::NullDefaults;
use cameo_tests::isolation;
use serde_json::Value;

use super::{Corpus, onnx};

/// Features of every case.
const WIDTH: usize = 4;
/// Pieces of a sound model that break off.
const TRUNCATIONS: usize = 64;

fn features() -> RecordBatch {
    let column = |at: usize| -> (String, ArrayRef) {
        let values = (0..100_u8).map(|row| f32::from(row) - 50.0);
        (format!("f{at}"), Arc::new(Float32Array::from_iter_values(values)))
    };
    RecordBatch::try_from_iter((0..WIDTH).map(column)).expect("equal lengths")
}

/// Looks at a model, loads it and scores, as far as it gets.
fn tried(host: &Host, model: &[u8], features: &RecordBatch) -> Result<(), Fault> {
    host.inspect(model)?;
    let schema: &Schema = features.schema_ref();
    let files = Files { model, preprocess: None };
    let scorer = Scorer::load(host, files, schema, &NullDefaults::new())?;
    scorer.score(features).map(|_| ())
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../platform/scoring/tests/fixtures")
}

/// The models of the scorer's own tests, by name.
fn listed() -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read(fixtures().join("hostile.json")).expect("fixtures are committed");
    let cases: Value = serde_json::from_slice(&text).expect("fixtures are JSON");
    let decoded =
        |case: &Value| STANDARD.decode(case["model"].as_str().expect("base64")).expect("base64");
    let cases = cases.as_object().expect("cases by name");
    cases.iter().map(|(name, case)| (name.clone(), decoded(case))).collect()
}

#[test]
fn every_hostile_model_is_refused_with_its_reason_and_its_process_lives_on() {
    // One process for all of them: the checks come before the walls.
    let host = isolation().start(Allowance::default()).expect("a process");
    assert_eq!(host.kept(), [] as [String; 0], "this machine confines it");
    let features = features();
    let mut corpus = Corpus::new();
    for (name, model) in listed().into_iter().chain(onnx::corpus()) {
        let started = Instant::now();
        let outcome = tried(&host, &model, &features);
        if let Err(fault) = &outcome {
            assert!(matches!(fault, Fault::Model(_)), "{name}: {fault:?}");
        }
        corpus.note(&name, outcome.map_err(|fault| fault.to_string()), started.elapsed());
    }
    let text = corpus.end("hostile models");
    insta::assert_snapshot!(text);
    assert!(host.resident_bytes().expect("it lives") < 1 << 30);
}

#[test]
fn a_model_that_breaks_off_is_refused_wherever_it_does() {
    let host = isolation().start(Allowance::default()).expect("a process");
    for name in ["xgboost_binary", "logistic_pipeline", "network_regressor", "forest_words"] {
        let model = std::fs::read(fixtures().join(format!("{name}.onnx"))).expect("a fixture");
        host.inspect(&model).expect("a sound model");
        for at in 0..TRUNCATIONS {
            let end = model.len() * at / TRUNCATIONS;
            match host.inspect(&model[..end]) {
                Err(Fault::Model(problem)) => assert!(problem.len() > 10, "{name}: {problem}"),
                other => panic!("{name} up to byte {end}: {other:?}"),
            }
        }
    }
}
