//! Bundles whose SQL calls macros.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cameo_bundle::{Bundle, Code, ReleaseManifest, discover, load};
use cameo_domain::Sha256;

const FEATURES: &str = "{# One row per customer. #}\n\
    {% set days = 30 %}\n\
    SELECT\n  user_id,\n  {{ std.count_within('bought_on', days) }} AS purchases,\n  \
    {{ team.basket('spend', 'orders') }} AS basket\nFROM demo.customers\nGROUP BY user_id\n";
const BASKETS: &str = "{% macro basket(amount, orders) %}\n\
    {{ std.safe_divide(amount, orders, otherwise=0) }}\n{%- endmacro %}\n";

/// The files of `marketing/gender` whose model is in an object store, with other SQL.
fn tenant(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tenants/marketing/gender");
    let config = fs::read_to_string(shipped.join("config.yaml")).expect("the shipped config");
    let config = config.replace("MODEL_PATH: model.onnx", "MODEL_PATH: gs://models/model.onnx");
    let base = [("gender/config.yaml", config.as_str()), ("gender/features.sql", FEATURES)];
    for (name, text) in base.iter().chain(files) {
        let file = root.path().join("marketing").join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    root
}

fn folder(root: &tempfile::TempDir) -> PathBuf {
    root.path().join("marketing/gender")
}

fn loaded(root: &tempfile::TempDir) -> Bundle {
    load(&folder(root)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn manifest(bundle: &Bundle) -> ReleaseManifest {
    ReleaseManifest::new(bundle, Sha256::of(b"model"), None, None)
}

fn codes(root: &tempfile::TempDir) -> Vec<Code> {
    discover(root.path()).diagnostics.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_release_keeps_the_rendered_sql_and_the_macros_that_gave_it() {
    let root = tenant(&[("macros/baskets.sql", BASKETS)]);
    let first = manifest(&loaded(&root));
    assert_eq!(
        first.feature_sql,
        "SELECT\n  user_id,\n  COUNTIF(DATE_DIFF(@run_date, bought_on, DAY) BETWEEN 0 AND 29) AS \
         purchases,\n  COALESCE(SAFE_DIVIDE(spend, orders), 0) AS basket\nFROM demo.customers\n\
         GROUP BY user_id\n"
    );
    let names: Vec<_> = first.macros.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["std.count_within", "std.safe_divide", "team.basket"]);
    let read: ReleaseManifest = serde_json::from_str(&first.to_json()).expect("it reads back");
    assert_eq!(read, first);

    let other = BASKETS.replace("otherwise=0", "otherwise=1");
    fs::write(root.path().join("marketing/macros/baskets.sql"), other).expect("another macro");
    let second = manifest(&loaded(&root));
    let changed: Vec<_> = first.macros.iter().zip(&second.macros).map(|(a, b)| a != b).collect();
    assert_eq!(changed, [false, false, true]);
    assert_ne!(first.hashes.sql, second.hashes.sql);
    assert_ne!(first.id(), second.id());
}

#[test]
fn a_bundle_without_tags_is_the_release_that_it_was() {
    let plain = "SELECT user_id, '{' AS brace FROM demo.customers -- }}\r\n\n";
    let root = tenant(&[("macros/baskets.sql", BASKETS), ("gender/features.sql", plain)]);
    let bundle = loaded(&root);
    assert_eq!(&*bundle.feature_sql.text, plain);
    assert!(!manifest(&bundle).to_json().contains("macros"), "older releases keep their ids");
}

#[test]
fn all_sql_files_of_a_bundle_are_rendered() {
    let predictions = "SELECT user_id, {{ std.tier('p') }} AS tier FROM model_outputs\n";
    let root = tenant(&[("macros/baskets.sql", BASKETS), ("gender/predictions.sql", predictions)]);
    let bundle = loaded(&root);
    let rendered = &bundle.predictions_sql.as_ref().expect("the file").text;
    assert!(rendered.starts_with("SELECT user_id, CASE\n  WHEN p IS NULL THEN NULL"), "{rendered}");
    let names: Vec<_> = bundle.macros().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["std.count_within", "std.safe_divide", "std.tier", "team.basket"]);
}

#[test]
fn what_is_wrong_with_the_rendered_sql_is_shown_where_it_was_written() {
    let root = tenant(&[("macros/baskets.sql", BASKETS)]);
    let sql = loaded(&root).feature_sql;
    // Line 3 of the rendered SQL is line 5 of the file.
    let macros = sql.problem_at(Code::SqlInvalid, 3, 11, "wrong");
    assert!(macros.place().ends_with("features.sql:5:6"), "{}", macros.place());
    let help = macros.help.expect("the line that the macro gave");
    assert!(help.contains("COUNTIF(DATE_DIFF(@run_date"), "{help}");
    let written = sql.problem_at(Code::SqlInvalid, 5, 6, "wrong");
    assert!(written.place().ends_with("features.sql:7:6"), "{}", written.place());
    assert_eq!(written.help, None);
    let end = sql.span_at(999, 999);
    assert!(end.line <= 9, "{end:?}");
}

#[test]
fn a_tenant_sees_its_own_macros_alone() {
    let root = tenant(&[("../crm/macros/baskets.sql", BASKETS)]);
    assert_eq!(codes(&root), [Code::MacroUnknown]);
    let root = tenant(&[("gender/macros/baskets.sql", BASKETS)]);
    assert_eq!(codes(&root), [Code::MacroUnknown], "only the tenant's folder has macros");
}

#[test]
fn a_broken_macro_file_is_told_once_and_hurts_only_bundles_with_tags() {
    let root = tenant(&[("macros/a.sql", "SELECT 1"), ("macros/README.md", "what is here")]);
    assert_eq!(codes(&root), [Code::MacroFileInvalid]);
    let problems = load(&folder(&root)).expect_err("it needs the macros");
    assert_eq!(problems[0].code, Code::MacroFileInvalid);
    fs::write(folder(&root).join("features.sql"), "SELECT user_id FROM demo.customers")
        .expect("SQL without tags");
    loaded(&root);
}

#[test]
fn no_path_leads_to_the_files_of_others() {
    let root = tenant(&[("../crm/clv/secret.sql", BASKETS), ("macros/other.sql", BASKETS)]);
    let macros = root.path().join("marketing/macros");
    std::os::unix::fs::symlink("../../crm/clv/secret.sql", macros.join("secret.sql"))
        .expect("a link");
    assert_eq!(codes(&root), [Code::UnsafePath]);
}

#[test]
fn the_number_of_macro_files_is_bounded() {
    let names: Vec<_> =
        (0..=cameo_bundle::MACRO_FILES_MAX).map(|number| format!("macros/m{number}.sql")).collect();
    let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), "{# none #}")).collect();
    files.push(("gender/features.sql", "SELECT user_id FROM demo.customers"));
    assert_eq!(codes(&tenant(&files)), [Code::MacroFileInvalid]);
}
