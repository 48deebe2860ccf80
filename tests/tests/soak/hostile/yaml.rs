//! Configs that grow, nest or lie.

use std::{fmt::Write, fs};

use cameo_bundle::{Diagnostic, discover, load, render_human};

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
    let keys: String = (0..20_000).fold(String::new(), |mut text, at| {
        let _ = writeln!(text, "K{at}: 1");
        text
    });
    let names = format!("[{}]", vec!["score"; 30_000].join(", "));
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
        ("20,000 keys", keys.into_bytes()),
        ("30,000 names", with("[id, score]", &names)),
        ("a number of 10,000 digits", with("0.1.0", &"9".repeat(10_000))),
        ("a tag of another language", with("gender", "!!python/object/apply:os.system [id]")),
        ("a tag of bytes", with("gender", "!!binary aGk=")),
        ("a document after the document", [SOUND, "---\n", SOUND].concat().into_bytes()),
        ("a directive", [b"%TAG ! tag:evil,2000:\n---\n".as_slice(), SOUND.as_bytes()].concat()),
        ("a NUL", with("gender", "gen\0der")),
        ("UTF-16", SOUND.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("bytes that are no text", vec![0xff; 1_000]),
        ("a path that leads out", with("model.onnx", "../../crm/clv/model.onnx")),
        ("an absolute path", with("features.sql", "/etc/passwd")),
        ("a path of 100 KB", with("model.onnx", &"a/".repeat(50_000))),
        ("a model on another machine", with("model.onnx", "file:///etc/passwd")),
        ("a schedule of 100 KB", with("0 4 * * *", &"0,".repeat(50_000))),
        ("a name that is SQL", with("[id, score]", "[id, 'x; drop table y']")),
        ("a service that is a path", with("gender", "../gender")),
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
    fs::write(folder.join("config.yaml"), SOUND).expect("a config");
    for (name, text) in corpus() {
        fs::write(root.path().join("marketing/tenant.yaml"), &text).expect("a tenant");
        corpus_.refused(&format!("as a tenant: {name}"), || {
            let problems = discover(root.path()).diagnostics;
            if problems.is_empty() { Ok(()) } else { Err(told(&problems)) }
        });
    }
    let text = corpus_.end("hostile configs");
    let place = root.path().display().to_string();
    insta::assert_snapshot!(text.replace(&place, ""));
}
