//! `cameo new`: a model file is all that a bundle needs to begin with (M1, A4).

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{Done, cameo, copy, root};

const FIXTURES: &str = "platform/scoring/tests/fixtures";

/// Runs `cameo new` into a folder of the test.
fn new(tenants: &Path, service: &str, model: &str, more: &[&str]) -> Done {
    let tenants = tenants.display().to_string();
    let all =
        ["new", service, "--model", model, "--tenants", &tenants, "--owner", "crm@example.com"];
    cameo(&[&all[..], more].concat())
}

fn fixture(name: &str) -> String {
    format!("{FIXTURES}/{name}.onnx")
}

/// Name, type and source of each prediction.
fn predictions(written: &Value) -> Vec<String> {
    let list = written["predictions"].as_array().expect("predictions");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    list.iter()
        .map(|one| {
            format!("{} {} = {}", text(&one["name"]), text(&one["type"]), text(&one["column"]))
        })
        .collect()
}

/// What `cameo check` says about everything below a folder.
fn problems(tenants: &Path) -> Value {
    cameo(&["check", &tenants.display().to_string(), "-o", "json"]).exits(0).json()["problems"]
        .clone()
}

#[test]
fn a_bundle_of_any_model_passes_check_as_it_is_written() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let probabilities = ["label INT = label", "probability_0 FLOAT64 = probabilities_0"];
    for (name, expected) in [
        ("linear_regressor", &["linear_regressor FLOAT64 = variable"][..]),
        ("gradient_regressor", &["gradient_regressor FLOAT64 = variable"]),
        ("network_regressor", &["network_regressor FLOAT64 = variable"]),
        (
            "forest_binary",
            &[
                "label INT = output_label",
                "probability_0 FLOAT64 = output_probability_0",
                "probability_1 FLOAT64 = output_probability_1",
            ],
        ),
        (
            "xgboost_binary",
            &[probabilities[0], probabilities[1], "probability_1 FLOAT64 = probabilities_1"],
        ),
        (
            "lightgbm_three",
            &[
                probabilities[0],
                probabilities[1],
                "probability_1 FLOAT64 = probabilities_1",
                "probability_2 FLOAT64 = probabilities_2",
            ],
        ),
        (
            "logistic_words",
            &[
                "label STRING = output_label",
                "probability_high FLOAT64 = output_probability_high",
                "probability_low FLOAT64 = output_probability_low",
                "probability_middle FLOAT64 = output_probability_middle",
            ],
        ),
        (
            "mixed_ordinal",
            &[
                "label INT = output_label",
                "probability_0 FLOAT64 = output_probability_0",
                "probability_1 FLOAT64 = output_probability_1",
            ],
        ),
        ("rank_towers", &["probability FLOAT64 = probability"]),
        ("rank_network", &["label FLOAT64 = label", "score FLOAT64 = score"]),
    ] {
        let service = format!("crm/{name}");
        let written = new(place.path(), &service, &fixture(name), &[]).exits(0).json();
        assert_eq!(predictions(&written), expected, "{name}");
    }
    assert_eq!(problems(place.path()), Value::Array(vec![]));
}

#[test]
fn the_models_of_this_repository_become_bundles_too() {
    let place = tempfile::tempdir().expect("a temporary folder");
    for (service, key) in [
        ("crm/clv", "customer_id"),
        ("crm/clv_bgnbd", "customer_id:STRING"),
        ("marketing/gender", "user_id:int"),
    ] {
        let model = format!("tenants/{service}/model.onnx");
        new(place.path(), service, &model, &["--key", key]).exits(0);
        let folder = place.path().join(service);
        assert_eq!(fs::read(folder.join("model.onnx")).ok(), fs::read(root().join(model)).ok());
        assert!(!folder.join("predictions.sql").exists(), "{service}: its outputs have names");
    }
    let level = "tests/models/level.onnx";
    new(place.path(), "crm/level", level, &[]).exits(0);
    assert_eq!(problems(place.path()), Value::Array(vec![]));
    let query = fs::read_to_string(place.path().join("crm/level/features.sql")).expect("SQL");
    assert!(query.contains("CAST(NULL AS INT64) AS visits"), "{query}");
    let query =
        fs::read_to_string(place.path().join("marketing/gender/features.sql")).expect("SQL");
    assert!(query.contains("CAST(NULL AS FLOAT64) AS birth_year"), "{query}");
}

#[test]
fn the_files_say_what_to_fill_in() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let timing = ["--schedule", "30 2 * * *", "--timezone", "Asia/Tokyo", "-o", "human"];
    let done = new(place.path(), "shop/taste", &fixture("mixed_one_hot"), &timing).exits(0);
    let mut shown = done.stdout.replace(&place.path().display().to_string(), "tenants");
    let folder = place.path().join("shop/taste");
    for file in ["config.yaml", "features.sql", "predictions.sql", "CARD.md", "../tenant.yaml"] {
        let text = fs::read_to_string(folder.join(file)).expect("a text file");
        shown.push_str(&format!("\n======== {file}\n{text}"));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn columns_that_the_table_has_are_taken_from_it() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let data = place.path().join("data");
    cameo(&["demo-data", "--customers", "50", "--data-dir", &data.display().to_string()]).exits(0);
    let tenants = place.path().join("tenants");
    let lake = data.join("lake").display().to_string();
    let options = ["--key", "user_id", "--table", "demo.customers", "--lake", &lake];
    let model = "tenants/marketing/gender/model.onnx";
    let written = new(&tenants, "marketing/gender", model, &options).exits(0).json();
    let query = fs::read_to_string(tenants.join("marketing/gender/features.sql")).expect("SQL");
    assert!(query.contains("\n  birth_year,\n  beauty_views,"), "{query}");
    assert!(
        query.contains("CAST(NULL AS FLOAT64) AS coupon_used\nFROM demo.customers\n"),
        "{query}"
    );
    assert!(
        written["next"][0]
            .as_str()
            .is_some_and(|step| step.contains("say where coupon_used comes from"))
    );
    let folder = tenants.display().to_string();
    cameo(&["check", &folder, "--lake", &lake]).exits(0);

    let refused =
        new(&tenants, "marketing/other", model, &["--table", "demo.customers", "--lake", &lake]);
    let refused = refused.exits(1);
    assert!(
        refused.stderr.contains("demo.customers has no column `customer_id`"),
        "{}",
        refused.stderr
    );
    let refused =
        new(&tenants, "marketing/other", model, &["--table", "demo.shops", "--lake", &lake]);
    assert!(refused.exits(1).stderr.contains("could not look at the table demo.shops"));
    assert!(!tenants.join("marketing/other").exists());
}

#[test]
fn a_matrix_may_be_given_names() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let names = "recency,frequency,monetary,tenure,orders,returns,visits,age of account";
    new(
        place.path(),
        "crm/spend",
        &fixture("chain_model"),
        &["--preprocess", &fixture("chain_preprocess"), "--features", names],
    )
    .exits(0);
    let query = fs::read_to_string(place.path().join("crm/spend/features.sql")).expect("SQL");
    assert!(query.contains("CAST(NULL AS FLOAT64) AS `age of account`"), "{query}");
    assert!(query.contains("in the order of its training"), "{query}");
    assert_eq!(problems(place.path()), Value::Array(vec![]));
    let refused = new(place.path(), "crm/other", &fixture("chain_model"), &["--features", "a,b"]);
    assert_eq!(
        refused.exits(1).stderr,
        "error: the model's input `X` takes 8 features, --features names 2; name all of them, in the order of \
         the training\n"
    );
    let refused = new(place.path(), "crm/other", &fixture("mixed_one_hot"), &["--features", "a,b"]);
    assert!(refused.exits(1).stderr.contains("the model needs no --features"));
}

#[test]
fn a_bundle_is_not_written_over_by_mistake() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = place.path().join("crm/churn");
    new(place.path(), "crm/churn", &fixture("forest_words"), &[]).exits(0);
    let tenant = fs::read(place.path().join("crm/tenant.yaml")).expect("a tenant");
    let config = fs::read(folder.join("config.yaml")).expect("a config");
    let refused = new(place.path(), "crm/churn", &fixture("rank_towers"), &[]).exits(1);
    assert_eq!(
        refused.stderr,
        format!(
            "error: {} already has config.yaml, features.sql, predictions.sql, CARD.md, model.onnx; choose another \
             name, or replace them with --force\n",
            folder.display()
        )
    );
    assert_eq!(fs::read(folder.join("config.yaml")).ok(), Some(config));
    new(place.path(), "crm/churn", &fixture("rank_towers"), &["--force"]).exits(0);
    assert!(!folder.join("predictions.sql").exists(), "the new model's output has a name");
    assert_eq!(fs::read(place.path().join("crm/tenant.yaml")).ok(), Some(tenant));
    assert_eq!(problems(place.path()), Value::Array(vec![]));
}

#[test]
fn what_is_no_model_or_no_name_is_refused_with_a_cure_and_leaves_nothing() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let pickle = place.path().join("model.pkl");
    fs::write(&pickle, b"\x80\x04\x95rest").expect("a file");
    let damaged = place.path().join("damaged.onnx");
    let bytes = fs::read(root().join(fixture("forest_words"))).expect("a model");
    fs::write(&damaged, &bytes[..bytes.len() / 2]).expect("a file");
    let tenants = place.path().join("tenants");
    let (pickle, damaged) = (pickle.display().to_string(), damaged.display().to_string());
    for (model, more, code, expected) in [
        (&pickle, &[][..], 1, "is a Python pickle; expected an ONNX model, so export it (skl2onnx"),
        (&damaged, &[], 1, "damaged.onnx is refused"),
        (&"no/such.onnx".to_owned(), &[], 1, "could not read no/such.onnx"),
        (&fixture("mixed_one_hot"), &["--key", "Age"], 1, "which is also the key; choose another"),
        (&fixture("mixed_one_hot"), &["--key", "id:DATE"], 64, "expected INT or STRING"),
        (&fixture("mixed_one_hot"), &["--table", "customers"], 64, "expected dataset.table"),
        (&fixture("mixed_one_hot"), &["--schedule", "daily"], 1, "five fields"),
        (&fixture("mixed_one_hot"), &["--timezone", "CET+1"], 1, "CET+1"),
    ] {
        let refused = new(&tenants, "crm/churn", model, more).exits(code);
        assert!(refused.stderr.contains(expected), "{model}: {}", refused.stderr);
    }
    assert!(!tenants.exists());
}

#[test]
fn a_tenant_that_is_there_keeps_its_file_and_lends_its_owner() {
    let place = tempfile::tempdir().expect("a temporary folder");
    copy(&root().join("tenants/crm"), &place.path().join("crm"));
    let tenants = place.path().display().to_string();
    let model = fixture("linear_regressor");
    cameo(&["new", "crm/spend", "--model", &model, "--tenants", &tenants]).exits(0);
    let card = fs::read_to_string(place.path().join("crm/spend/CARD.md")).expect("a card");
    assert!(card.starts_with("---\nOWNER: \"crm-analytics@example.com\"\n"), "{card}");
    let kept = fs::read(place.path().join("crm/tenant.yaml")).expect("a tenant");
    assert_eq!(kept, fs::read(root().join("tenants/crm/tenant.yaml")).expect("a tenant"));
}
