//! Whatever the files hold, reading them ends with problems and never with a panic.

use std::{fmt::Write as _, fs};

use cameo_bundle::{Bundle, Diagnostic, discover, load, render_human};
use proptest::prelude::*;

fn read(config: &[u8], sql: &[u8]) -> Result<Bundle, Vec<Diagnostic>> {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = root.path().join("marketing/gender");
    fs::create_dir_all(&folder).expect("the bundle's folder");
    fs::write(folder.join("config.yaml"), config).expect("a config");
    fs::write(folder.join("features.sql"), sql).expect("a query");
    fs::write(root.path().join("marketing/tenant.yaml"), config).expect("a tenant");
    let _ = discover(root.path());
    load(&folder)
}

fn assert_shown(result: Result<Bundle, Vec<Diagnostic>>) {
    let Err(problems) = result else { return };
    assert!(!problems.is_empty(), "refused without a reason");
    assert!(!render_human(&problems, true).is_empty());
    assert!(problems.iter().all(|problem| problem.span.is_some()));
}

/// Pieces that YAML gives a meaning to, so that many of the texts parse.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "MODEL_CONFIG",
        "MODEL_PATH",
        "PREDICTION_CONFIG",
        "PREDICTION_NAMES",
        "RUN_CONFIG",
        "PREDICTION_NAMES_DATATYPE",
        "PREDICTION_SCHEDULE",
        "SERVICE_NAME",
        "gender",
        "INT",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "!t ",
        "<<",
        "? ",
        "| ",
        "> ",
        "'",
        "\"",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\t",
        "\r\n",
        "~",
        "null",
        "0x1F",
        "1e999",
        "-.inf",
        "../",
        "ü",
        "\u{feff}",
        "\u{2028}",
        "\\x",
        "@daily",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(config in prop::collection::vec(any::<u8>(), 0..400), sql in any::<Vec<u8>>()) {
        assert_shown(read(&config, &sql));
    }

    #[test]
    fn anything_like_yaml_is_answered(config in yaml_like()) {
        assert_shown(read(config.as_bytes(), b"SELECT 1"));
    }

    #[test]
    fn a_config_with_a_slip_is_answered(at in 0usize..500, len in 0usize..20, piece in yaml_like()) {
        let mut text = include_str!("../../../tenants/marketing/gender/config.yaml").to_owned();
        let start = at.min(text.len());
        let end = (start + len).min(text.len());
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            text.replace_range(start..end, &piece);
        }
        assert_shown(read(text.as_bytes(), b"SELECT 1"));
    }
}

#[test]
fn nesting_and_growth_are_bounded() {
    for text in ["[".repeat(200_000), "- ".repeat(100_000), "{a: ".repeat(60_000)] {
        assert_shown(read(text.as_bytes(), b"SELECT 1"));
    }
    let mut laughs = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        writeln!(laughs, "a{level}: &a{level} [*a{below}, *a{below}]").expect("text is written");
    }
    assert_shown(read(laughs.as_bytes(), b"SELECT 1"));
}
