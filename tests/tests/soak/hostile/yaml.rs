//! Configs that grow, nest or lie.

use std::{fmt::Write, fs};

use cameo_bundle::{Diagnostic, load, render_human};

use super::Corpus;

/// What every config here goes wrong beside.
const SOUND: &str = "MODEL_CONFIG: {MODEL_PATH: model.onnx, FRAMEWORK: BASE}\n\
    FEATURE_CONFIG: {FEATURE_SQL_PATH: features.sql}\n\
    PREDICTION_CONFIG:\n  SERVICE_NAME: gender\n  VERSION: 0.1.0\n  \
    PREDICTION_SCHEDULE: \"0 4 * * *\"\n  PREDICTION_NAMES: [id, score]\n  \
    PREDICTION_NAMES_DATATYPE: [INT, FLOAT64]\n";

fn laughs() -> String {
    let mut text = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        let _ = writeln!(text, "a{level}: &a{level} [*a{below}, *a{below}]");
    }
    text
}

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let with = |from: &str, to: &str| SOUND.replace(from, to).into_bytes();
    let deep = |open: &str, times: usize| open.repeat(times).into_bytes();
    vec![
        ("a billion laughs", laughs().into_bytes()),
        ("an alias of itself", b"a: &a [*a]\n".to_vec()),
        ("merged keys", b"a: &a {b: 1}\nMODEL_CONFIG: {<<: *a}\n".to_vec()),
        ("200,000 brackets", deep("[", 200_000)),
        ("100,000 dashes", deep("- ", 100_000)),
        ("60,000 maps", deep("{a: ", 60_000)),
        ("50,000 question marks", deep("? ", 50_000)),
        ("100,000 quotes", deep("'", 100_001)),
        ("a scalar of 300 KB", with("gender", &"g".repeat(300_000))),
        ("a scalar of 200 KB", with("gender", &"g".repeat(200_000))),
    ]
}

/// The first problem, with its code and place.
fn told(problems: &[Diagnostic]) -> String {
    let shown = render_human(problems, false);
    // The line at fault is shown as it is, and a config may be one line.
    assert!(shown.len() < 1 << 20, "what is told of it stays short: {} bytes", shown.len());
    let first = problems.iter().find(|problem| problem.is_error()).expect("an error");
    first.to_string().chars().take(300).collect()
}

#[test]
fn every_hostile_config_is_refused_at_its_place() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("marketing/gender");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("features.sql"), "SELECT 1 AS id, 2.0 AS x").expect("a query");
    fs::write(folder.join("model.onnx"), "x").expect("a model");
    fs::write(folder.join("config.yaml"), SOUND).expect("a config");
    load(&folder).expect("what is sound is read");
    let mut corpus_ = Corpus::new();
    for (name, text) in corpus() {
        fs::write(folder.join("config.yaml"), &text).expect("a config");
        corpus_.refused(name, || load(&folder).map(|_| ()).map_err(|problems| told(&problems)));
    }
    let told = corpus_.end("hostile configs");
    assert!(told.lines().count() >= 2 * corpus().len(), "{told}");
}
