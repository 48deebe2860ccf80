//! `cameo check` as a team meets it: in its terminal, in its editor, in CI (M1, A4, W9).

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::{cameo, root};

/// Bundles whose mistake is in the files; the same as platform/bundle's own tests read.
const BROKEN: &str = "tests/fixtures/bundles";
/// Bundles whose mistake only the query engine or the model runtime sees.
const BROKEN_STEPS: &str = "services/cameo/tests/fixtures/bundles";
/// The tables that they read; without them names are matched, but not types.
const LAKE: &str = "services/cameo/tests/fixtures/lake";

/// The folders in a folder of the repository, relative to its root.
fn folders(below: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join(below))
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a readable entry"))
        .filter(|entry| entry.file_type().expect("a type").is_dir())
        .map(|entry| Path::new(below).join(entry.file_name()))
        .collect();
    folders.sort();
    folders
}

/// Whether the text names a file with line and column, as in `config.yaml:10:28`.
fn names_a_place(text: &str) -> bool {
    text.lines().filter_map(|line| line.split_once("╭─[")?.1.strip_suffix(']')).any(|place| {
        let mut parts = place.rsplit(':');
        let mut number = || parts.next().is_some_and(|part| part.parse::<usize>().is_ok());
        number() && number() && parts.next().is_some_and(|file| file.contains('/'))
    })
}

#[test]
fn every_broken_bundle_fails_at_its_line_and_none_panics() {
    let folders = folders(BROKEN);
    assert!(folders.len() >= 30, "found {} fixtures", folders.len());
    for folder in folders {
        let name = folder.display().to_string();
        let human = cameo(&["check", &name, "--lake", LAKE, "-o", "human"]).exits(1);
        assert!(names_a_place(&human.stdout), "{name}: {}", human.stdout);
        assert_eq!(human.stderr, "", "{name}: what is found goes to standard output");
        let json = cameo(&["check", &name, "--lake", LAKE, "-o", "json"]).exits(1).json();
        let problems = json["problems"].as_array().expect("a list of problems");
        assert!(!problems.is_empty(), "{name}");
        for problem in problems {
            assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("CAM")), "{name}");
            assert!(problem["span"]["line"].as_u64().is_some_and(|line| line > 0), "{name}");
        }
    }
}

#[test]
fn mistakes_that_only_the_engines_see_are_shown_at_the_line_as_well() {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        for folder in folders(BROKEN_STEPS) {
            let found =
                cameo(&["check", &folder.display().to_string(), "--lake", LAKE, "-o", "human"])
                    .exits(1);
            assert!(names_a_place(&found.stdout), "{}", found.stdout);
            let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
            insta::assert_snapshot!(name, found.stdout);
        }
    });
}

#[test]
fn the_tenants_of_this_repository_are_sound() {
    let human = cameo(&["check", "tenants", "-o", "human"]).exits(0);
    assert_eq!(human.stdout, "✓ 3 bundles sound\n");
    let json = cameo(&["check", "tenants"]).exits(0).json();
    assert_eq!(json["bundles"], 3);
    assert_eq!(json["problems"], Value::Array(vec![]));
}

#[test]
fn a_folder_without_bundles_is_a_problem_and_not_a_success() {
    for folder in ["docs", "no/such/folder"] {
        let found = cameo(&["check", folder, "-o", "human"]).exits(1);
        assert!(found.stdout.contains("CAM0007"), "{}", found.stdout);
    }
}

#[test]
fn a_lake_that_is_not_there_is_told_and_not_made() {
    let refused = cameo(&["check", "tenants", "--lake", "no/such/lake"]).exits(1);
    assert_eq!(
        refused.stderr,
        "error: the Lake no/such/lake is not a folder; correct --lake or CAMEO_LAKE\n"
    );
    assert!(!root().join("no").exists());
}

#[test]
fn a_code_is_explained_and_nonsense_is_not() {
    let explained = cameo(&["check", "--explain", "CAM0012", "-o", "human"]).exits(0);
    insta::assert_snapshot!(explained.stdout, @r#"
    CAM0012 A key is not known.

    A misspelt key would otherwise be ignored, and its setting with it. Keys are upper case.

    Correct or remove the key; the message lists the known ones.

    Instead of
          Schedule: "00 18 * * *"
    write
          PREDICTION_SCHEDULE: "00 18 * * *"
    "#);
    for nonsense in ["nonsense", "CAM9999"] {
        let refused = cameo(&["check", "--explain", nonsense]).exits(1);
        assert_eq!(
            refused.stderr,
            format!(
                "error: no such code (docs/error-codes.md lists them all): expected a code such as \
                 CAM0012, found `{nonsense}`\n"
            )
        );
    }
}

/// `tenants/crm/clv` in a folder of its own, whose model names its features in its metadata.
fn bundle_with_named_features(place: &Path, names: &str) -> PathBuf {
    let folder = place.join("crm/clv");
    support::copy(&root().join("tenants/crm/clv"), &folder);
    let model = folder.join("model.onnx");
    let mut bytes = fs::read(&model).expect("the model is committed");
    // `metadata_props` of the model's protobuf: field 14, an entry of key (field 1) and value (field 2).
    let field = |number: u8, text: &[u8]| {
        let mut field = vec![number << 3 | 2];
        let mut length = text.len();
        while length > 127 {
            field.push(u8::try_from(length & 127).expect("seven bits") | 128);
            length >>= 7;
        }
        field.push(u8::try_from(length).expect("seven bits"));
        field.extend_from_slice(text);
        field
    };
    let entry = [field(1, b"feature_names"), field(2, names.as_bytes())].concat();
    bytes.extend(field(14, &entry));
    fs::write(&model, bytes).expect("the model is written");
    folder
}

const CLV_FEATURES: &str = "recency_days,tenure_days,frequency,monetary_usd,order_mean_usd,order_max_usd,\
    order_deviation_usd,gap_mean_days,cds,orders_30d,orders_90d,orders_270d,spend_30d_usd,spend_90d_usd,\
    spend_270d_usd";

#[test]
fn a_model_that_names_its_features_takes_them_by_name_and_leaves_the_others() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = bundle_with_named_features(place.path(), CLV_FEATURES);
    let sql = folder.join("features.sql");
    support::edit(
        &sql,
        "  customer_id,\n  -- Recency",
        "  customer_id,\n  7 AS lucky,\n  -- Recency",
    );
    let found = cameo(&["check", &folder.display().to_string()]).exits(0).json();
    let problems = found["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["severity"], "warning", "{problems:?}");
    assert_eq!(problems[0]["message"], "the model does not take the feature `lucky`");

    support::edit(&sql, "AS frequency", "AS orders");
    let found = cameo(&["check", &folder.display().to_string()]).exits(1).json();
    let problem = &found["problems"][0];
    assert_eq!(problem["code"], "CAM0201", "{found}");
    assert_eq!(problem["message"], "the model's feature `frequency` has no feature column");
}

#[test]
fn a_model_whose_metadata_names_too_few_features_is_told_so() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = bundle_with_named_features(place.path(), "frequency,monetary_usd");
    let found = cameo(&["check", &folder.display().to_string()]).exits(1).json();
    let messages = found["problems"].to_string();
    assert!(messages.contains("takes 15 features, its metadata names 2"), "{messages}");
}

/// A bundle with problems in a checkout of its own, and `cameo check` of it from within.
fn check_in_checkout(place: &Path, format: &str) -> String {
    let broken = root().join(BROKEN).join("46-many-problems-at-once/marketing");
    let tenants = place.join("shop (eu)/tenants");
    support::copy(&broken, &tenants.join("marketing"));
    fs::create_dir_all(place.join("shop (eu)/.git")).expect("a checkout");
    let done = support::command(&["check", "marketing", "-o", format])
        .current_dir(tenants)
        .output()
        .expect("the binary runs");
    assert_eq!(done.status.code(), Some(1));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[test]
fn a_workflow_is_told_each_problem_at_its_line_in_the_repository() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let shown = check_in_checkout(place.path(), "github");
    assert!(shown.contains("::error file=tenants/marketing/gender/config.yaml,line="), "{shown}");
    insta::assert_snapshot!("github", shown);
    let sound = cameo(&["check", "tenants", "-o", "github"]).exits(0);
    assert_eq!(sound.stdout, "✓ 3 bundles sound\n");
}

#[test]
fn code_scanning_is_told_each_problem_with_its_rule() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let log: Value = serde_json::from_str(&check_in_checkout(place.path(), "sarif")).expect("JSON");
    let run = &log["runs"][0];
    let (rules, results) = (&run["tool"]["driver"]["rules"], &run["results"]);
    for result in results.as_array().expect("results") {
        let index =
            usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(
            rules[index]["help"]["markdown"]
                .as_str()
                .is_some_and(|help| help.contains("What to do"))
        );
        let place = &result["locations"][0]["physicalLocation"];
        assert!(
            place["artifactLocation"]["uri"]
                .as_str()
                .is_some_and(|uri| uri.starts_with("tenants/marketing/gender/"))
        );
        let column = |name: &str| place["region"][name].as_u64().expect("a column");
        assert!(column("startColumn") >= 1 && column("endColumn") >= column("startColumn"));
    }
    insta::assert_json_snapshot!("sarif", log);
    let sound: Value = cameo(&["check", "tenants", "-o", "sarif"]).exits(0).json();
    assert_eq!(sound["runs"][0]["results"], Value::Array(vec![]));
}

#[test]
fn formats_of_check_are_refused_where_they_say_nothing() {
    for arguments in
        [&["schema", "-o", "sarif"][..], &["check", "--explain", "CAM0012", "-o", "github"]]
    {
        let refused = cameo(arguments).exits(64);
        assert_eq!(
            refused.stderr,
            format!(
                "error: -o {} is for the problems that `cameo check` finds; use human or json here\n",
                arguments[arguments.len() - 1]
            )
        );
    }
}
