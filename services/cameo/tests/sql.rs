//! `cameo sql render`: what will run, offline.

mod support;

use support::{cameo, root};

const BUNDLE: &str = "tenants/crm/clv_bgnbd";

#[test]
fn a_bundle_is_rendered_for_both_dialects() {
    let googlesql = cameo(&["sql", "render", BUNDLE, "-o", "human"]).exits(0);
    insta::assert_snapshot!("googlesql", googlesql.stdout);
    let at = ["--at", "2026-03-31T06:45:00Z"];
    let lake = ["sql", "render", BUNDLE, "--dialect", "lake", "-o", "human", at[0], at[1]];
    insta::assert_snapshot!("lake", cameo(&lake).exits(0).stdout);
    let json = cameo(&["sql", "render", BUNDLE]).exits(0).json();
    assert_eq!(json[0]["file"], "features.sql");
    assert_eq!(json[0]["macros"], serde_json::json!(["team.weeks"]));
}

#[test]
fn a_file_without_tags_is_printed_as_it_is() {
    let wanted = ["sql", "render", "tenants/crm/clv", "--file", "predictions.sql", "-o", "human"];
    let kept = std::fs::read_to_string(root().join("tenants/crm/clv/predictions.sql"));
    assert_eq!(cameo(&wanted).exits(0).stdout, kept.expect("the file"));
}

#[test]
fn what_cannot_be_rendered_is_told_at_its_line() {
    let folder = "tests/fixtures/bundles/60-unknown-macro/marketing/gender";
    let found = cameo(&["sql", "render", folder, "-o", "human"]).exits(1);
    assert!(found.stdout.contains("features.sql:5:6"), "{}", found.stdout);
    assert!(found.stdout.contains("did you mean `std.monetary`?"), "{}", found.stdout);
    let missing = cameo(&["sql", "render", BUNDLE, "--file", "predictions.sql"]).exits(1);
    assert_eq!(missing.stderr, "error: the bundle has no predictions.sql; it has features.sql\n");
    let function =
        "services/cameo/tests/fixtures/bundles/unknown-function-in-a-macro/marketing/gender";
    let found = cameo(&["sql", "render", function, "--dialect", "lake", "-o", "human"]).exits(1);
    assert!(found.stdout.contains("features.sql:4:6"), "{}", found.stdout);
}
