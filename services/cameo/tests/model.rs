//! `cameo model inspect`: what a person sees of a model before it runs, and of a file that is none.

mod support;

use std::fs;

use serde_json::Value;
use support::{cameo, copy, edit, root};

const MODELS: &str = "platform/scoring/tests/fixtures";

/// The text without what the machine decides: instructions and speed.
fn steady(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut heading, mut kernels) = ("", 0);
    for line in text.lines() {
        if !line.starts_with(' ') {
            heading = line;
        }
        // Tables are as wide as their cells, in characters.
        if let Some(at) = line.find("KERNEL") {
            kernels = line[..at].chars().count();
        }
        let below = line.starts_with(' ');
        lines.push(match heading {
            "speed" | "runs on" if below => "  <machine>".to_owned(),
            "trees" if below && !line.contains("KERNEL") => {
                line.chars().take(kernels).chain("<kernel>".chars()).collect()
            }
            // Which operators are whose changes with every one that is added.
            "operators" => {
                line.trim_end_matches("tract").trim_end_matches("Cameo").trim_end().to_owned()
            }
            _ => line.to_owned(),
        });
    }
    lines.dedup();
    lines.join("\n")
}

#[test]
fn a_bundle_is_drawn_from_its_query_to_its_predictions() {
    let shown = cameo(&["model", "inspect", "--bundle", "tenants/crm/clv", "-o", "human"]).exits(0);
    insta::assert_snapshot!("bundle", steady(&shown.stdout));
}

#[test]
fn columns_of_several_types_are_drawn_as_branches() {
    let model = format!("{MODELS}/mixed_one_hot.onnx");
    let shown = cameo(&["model", "inspect", &model, "-o", "human"]).exits(0);
    insta::assert_snapshot!("branches", steady(&shown.stdout));
}

#[test]
fn a_preprocess_model_is_drawn_before_the_model() {
    let [model, first] =
        ["chain_model", "chain_preprocess"].map(|name| format!("{MODELS}/{name}.onnx"));
    let shown =
        cameo(&["model", "inspect", &model, "--preprocess", &first, "-o", "human"]).exits(0);
    insta::assert_snapshot!("preprocess", steady(&shown.stdout));
    assert!(!shown.stdout.contains('\u{1b}'), "no colour where nobody looks");
}

#[test]
fn programs_get_the_same_as_json() {
    let model = format!("{MODELS}/forest_words.onnx");
    let found = cameo(&["model", "inspect", &model]).exits(0).json();
    assert_eq!(found["ensembles"][0]["trees"], 6);
    assert_eq!(found["outputs_become"][1]["columns"][0], "output_probability_high");
    let operators = found["operator_uses"].as_array().expect("operators");
    let trees = operators.iter().find(|operator| operator["name"] == "TreeEnsembleClassifier");
    assert_eq!(trees.expect("it is used")["native"], true);
    assert!(
        found["speed"]["rows_per_second"].as_f64().is_some_and(|rate| rate > 1000.0),
        "{found}"
    );
    assert!(found["runs_on"].is_string(), "{found}");
    assert_eq!(found["not_measured"], Value::Null);
}

#[test]
fn a_prediction_that_nothing_gives_is_told_at_its_line() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join("crm/clv");
    copy(&root().join("tenants/crm/clv"), &folder);
    fs::remove_file(folder.join("predictions.sql")).expect("it was there");
    edit(&folder.join("config.yaml"), "[customer_id, clv_39w, tier, decile]", "[customer_id, clv]");
    edit(&folder.join("config.yaml"), "[INT, FLOAT64, STRING, INT]", "[INT, FLOAT64]");
    let bundle = folder.display().to_string();
    let sound = cameo(&["model", "inspect", "--bundle", &bundle]).exits(0).json();
    assert_eq!(sound["predictions"][1]["from"], "output clv");
    assert_eq!(sound["features"][0], "recency_days");

    edit(&folder.join("config.yaml"), "[customer_id, clv]", "[customer_id, value]");
    let broken = cameo(&["model", "inspect", "--bundle", &bundle, "-o", "human"]).exits(1);
    assert!(broken.stdout.contains("nothing gives it"), "{}", broken.stdout);
    assert!(broken.stdout.contains("CAM0300"), "{}", broken.stdout);
    // Another model may be tried in the place of the bundle's own.
    let other = format!("{MODELS}/xgboost_regressor.onnx");
    let tried = cameo(&["model", "inspect", &other, "--bundle", &bundle]).exits(1).json();
    assert!(tried["problems"].to_string().contains("takes 8 features"), "{tried}");
}

#[test]
fn a_file_that_is_no_usable_model_is_refused_with_what_to_do() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, content: &[u8]| {
        let file = place.path().join(name);
        fs::write(&file, content).expect("a file");
        file.display().to_string()
    };
    let whole = fs::read(root().join(MODELS).join("xgboost_binary.onnx")).expect("a fixture");
    for (model, expected) in [
        (file("pickle", b"\x80\x04\x95abc"), "is a Python pickle; expected an ONNX model"),
        (file("pointer", b"version https://git-lfs.github.com/spec/v1"), "run `git lfs pull`"),
        (file("empty", b""), "is empty"),
        (file("cut", &whole[..whole.len() / 2]), "not an ONNX model"),
        ("no/such.onnx".to_owned(), "could not read no/such.onnx"),
        (
            "services/cameo/tests/fixtures/bundles/unsupported-operator/marketing/gender/model.onnx".to_owned(),
            "is not supported; ",
        ),
    ] {
        let refused = cameo(&["model", "inspect", &model]).exits(1);
        assert!(refused.stderr.contains(expected), "{model}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "{model}");
    }
    cameo(&["model", "inspect"]).exits(64);
}

#[test]
fn one_limit_holds_for_reading_and_for_scoring_a_model() {
    let scoring = cameo_scoring::ScoringLimits::default().model_bytes_max as u64;
    assert_eq!(scoring, cameo_bundle::MODEL_BYTES_MAX);
}
