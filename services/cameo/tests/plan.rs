//! What `plan` says of every kind of change, against a running server, and what `apply` makes of it
//! (A4, W14, X6).

mod support;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use support::{Server, copy, edit, root, steady};

/// `plan` found changes.
const EXIT_CHANGES: i32 = 2;
/// Customers of the table.
const CUSTOMERS: u64 = 200;
/// The number that a model's output `twin` is the multiple by, as it is kept in the file.
const TWO: [u8; 4] = 2_f32.to_le_bytes();
const THREE: [u8; 4] = 3_f32.to_le_bytes();

const FEATURES: &str = "SELECT
  user_id,
  {{ team.known('level') }} AS level,
  visits
FROM shop.customers
";
const MACROS: &str = "{# A level, also of whoever has none. #}
{% macro known(level) %}COALESCE({{ level }}, 0){% endmacro %}
";
const PREDICTIONS: &str = "SELECT
  user_id,
  twin AS score,
  CASE WHEN twin >= 16 THEN 'High' WHEN twin >= 8 THEN 'Medium' ELSE 'Low' END AS tier,
  NTILE(4) OVER (ORDER BY score, user_id) AS quarter
FROM model_outputs
";

/// A tree of bundles that was applied, on a server that published one of them.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
}

impl Place {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for tenant in ["crm", "finance", "marketing"] {
            customers(&folder.path().join("data/lake").join(tenant));
        }
        let tree = folder.path().join("tenants");
        for path in ["crm/churn", "marketing/gender", "marketing/reach"] {
            bundle(&tree, path);
        }
        let server = Server::start(&folder.path().join("data"));
        let place = Self { folder, server };
        let path = place.tree().display().to_string();
        place.server.cameo(&["apply", &path]).exits(0);
        let run = place.server.cameo(&["run", "--now", "--wait", "marketing/gender"]).exits(0);
        assert_eq!(run.json()["state"], "published");
        place
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tenants")
    }

    /// A copy of the tree in which something is changed.
    fn changed(&self, change: impl FnOnce(&Path)) -> PathBuf {
        let changed = self.folder.path().join("changed");
        let _ = fs::remove_dir_all(&changed);
        copy(&self.tree(), &changed);
        change(&changed);
        changed
    }

    /// What the plan of a changed tree says, and that it says it twice the same.
    fn plan(&self, format: &str, change: impl FnOnce(&Path)) -> String {
        let tree = self.changed(change).display().to_string();
        let arguments = ["plan", &tree, "-o", format];
        let planned = self.server.cameo(&arguments).exits(EXIT_CHANGES).stdout;
        assert_eq!(self.server.cameo(&arguments).exits(EXIT_CHANGES).stdout, planned);
        for line in planned.lines().filter(|_| format == "human") {
            assert!(line.chars().count() <= 100, "too wide: {line}");
        }
        steady(&planned)
    }
}

/// Customer n is at level n % 5 + 0.5 and has made n % 7 visits.
fn customers(tenant: &Path) {
    let mut table = "user_id,level,visits\n".to_owned();
    for user in 1..=CUSTOMERS {
        let _ = writeln!(table, "{user},{}.5,{}", user % 5, user % 7);
    }
    fs::create_dir_all(tenant.join("shop")).expect("a folder");
    fs::write(tenant.join("shop/customers.csv"), table).expect("a table");
}

fn bundle(tree: &Path, path: &str) {
    let folder = tree.join(path);
    fs::create_dir_all(&folder).expect("a folder");
    let (_, service) = path.split_once('/').expect("tenant/service");
    let config = format!(
        "MODEL_CONFIG:
  MODEL_PATH: model.onnx
  FRAMEWORK: BASE
FEATURE_CONFIG:
  FEATURE_SQL_PATH: features.sql
PREDICTION_CONFIG:
  SERVICE_NAME: {service}
  VERSION: 0.1.0
  PREDICTION_SCHEDULE: \"0 3 29 2 *\"
  PREDICTION_NAMES: [user_id, score, tier, quarter]
  PREDICTION_NAMES_DATATYPE: [INT, FLOAT64, STRING, INT]
"
    );
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    write("config.yaml", &config);
    write("features.sql", FEATURES);
    let macros = folder.with_file_name("macros");
    fs::create_dir_all(&macros).expect("a folder");
    fs::write(macros.join("levels.sql"), MACROS).expect("a macro");
    write("predictions.sql", PREDICTIONS);
    let model = root().join("tests/models/level.onnx");
    fs::copy(model, folder.join("model.onnx")).expect("a model");
}

/// The model with another constant.
fn other_weights(model: &Path) {
    let mut bytes = fs::read(model).expect("a model");
    let at = bytes.windows(4).rposition(|four| four == TWO).expect("its constant");
    bytes[at..at + 4].copy_from_slice(&THREE);
    fs::write(model, bytes).expect("the model");
}

#[test]
fn every_kind_of_change_is_told_before_it_is_made() {
    let place = Place::start();
    every_change_of_a_service_is_a_picture(&place);
    a_changed_macro_reaches_all_who_use_it(&place);
    tenants_and_what_is_gone(&place);
    what_is_scored_is_shown_beside_what_is_served(&place);
    a_comment_on_a_pull_request_says_the_same(&place);
    one_bundle_speaks_for_itself_alone(&place);
    an_unchanged_tree_changes_nothing(&place);
    consumers_are_broken_only_by_somebody_who_says_so(&place);
}

fn every_change_of_a_service_is_a_picture(place: &Place) {
    let config = "marketing/gender/config.yaml";
    let predictions = "marketing/gender/predictions.sql";
    let human = |change: &dyn Fn(&Path)| place.plan("human", |tree| change(tree));
    insta::assert_snapshot!("new-service", human(&|tree| bundle(tree, "crm/upsell")));
    insta::assert_snapshot!(
        "sql-only",
        human(&|tree| edit(
            &tree.join("marketing/gender/features.sql"),
            "  {{ team.known('level') }} AS",
            "  -- newcomers start at level 1\n  GREATEST({{ team.known('level') }}, 1) AS"
        ))
    );
    insta::assert_snapshot!(
        "model-only",
        human(&|tree| other_weights(&tree.join("marketing/gender/model.onnx")))
    );
    insta::assert_snapshot!(
        "config-only",
        human(&|tree| {
            let settings = "RUN_CONFIG: {STALE_AFTER_HOURS: 24, MISSED_RUN_POLICY: ALL}\n\
                            EXPLANATION_CONFIG: {STORE: NONE}\nPREDICTION_CONFIG:";
            edit(&tree.join(config), "PREDICTION_CONFIG:", settings);
        })
    );
    insta::assert_snapshot!(
        "schedule-only",
        human(&|tree| {
            edit(
                &tree.join(config),
                "\"0 3 29 2 *\"",
                "\"0 4 29 2 *\"\n  PREDICTION_TIMEZONE: Asia/Tokyo",
            );
        })
    );
    insta::assert_snapshot!(
        "prediction-added",
        human(&|tree| {
            edit(&tree.join(config), "tier, quarter]", "tier, quarter, is_high]");
            edit(&tree.join(config), "STRING, INT]", "STRING, INT, BOOL]");
            edit(&tree.join(predictions), "  NTILE(4)", "  twin >= 16 AS is_high,\n  NTILE(4)");
        })
    );
    insta::assert_snapshot!("prediction-removed", human(&|tree| without_quarter(tree)));
    insta::assert_snapshot!(
        "prediction-retyped",
        human(&|tree| {
            edit(&tree.join(config), "[INT, FLOAT64,", "[INT, INT,");
            edit(
                &tree.join(predictions),
                "  twin AS score,\n",
                "  CAST(twin AS INT64) AS score,\n",
            );
        })
    );
}

fn without_quarter(tree: &Path) {
    let config = tree.join("marketing/gender/config.yaml");
    edit(&config, "tier, quarter]", "tier]");
    edit(&config, "STRING, INT]", "STRING]");
}

/// All services of its team are rendered anew, and no other.
fn a_changed_macro_reaches_all_who_use_it(place: &Place) {
    let changed = place.plan("human", |tree| {
        edit(&tree.join("marketing/macros/levels.sql"), "{{ level }}, 0", "{{ level }}, 1");
    });
    insta::assert_snapshot!("macro-changed", changed);
}

fn tenants_and_what_is_gone(place: &Place) {
    let quota = |tree: &Path| {
        let settings = "MAX_CONCURRENT_RUNS: 3\nLIMITS:\n  REQUESTS_PER_SECOND: 50\n";
        fs::write(tree.join("marketing/tenant.yaml"), settings).expect("a quota");
    };
    insta::assert_snapshot!("tenant-quota", place.plan("human", quota));
    let remove = |path: &'static str| {
        move |tree: &Path| fs::remove_dir_all(tree.join(path)).expect("the folder goes")
    };
    insta::assert_snapshot!("service-removed", place.plan("human", remove("marketing/gender")));
    insta::assert_snapshot!("tenant-removed", place.plan("human", remove("crm")));
    insta::assert_snapshot!(
        "tenant-added",
        place.plan("human", |tree| bundle(tree, "finance/risk"))
    );
}

fn what_is_scored_is_shown_beside_what_is_served(place: &Place) {
    // A query that divides the sample among fewer customers, and one that a run would halt at.
    let few = place.changed(|tree| {
        let features = tree.join("marketing/gender/features.sql");
        edit(&features, "  visits\n", "  IF(user_id = 7, NULL, visits) AS visits\n");
    });
    let few = few.display().to_string();
    let planned = place.server.cameo(&["plan", &few, "--sample", "50"]).exits(EXIT_CHANGES).json();
    let sample = &planned["services"][0]["sample"];
    assert_eq!((&sample["outcome"], &sample["customers"]), (&json!("ran"), &json!(50)));
    assert_eq!(sample["compared_with"]["rows_matched"], 49, "customer 7 is set aside: {sample}");
    assert_eq!(sample["quarantined"][0]["rows"], 1, "{sample}");
    assert_eq!(sample["predictions"][0]["share_changed"], 0.0, "{sample}");
    let none = place.server.cameo(&["plan", &few, "--sample", "0"]).exits(EXIT_CHANGES).json();
    assert_eq!(none["services"][0]["sample"], json!(null));

    let halts = place.plan("human", |tree| {
        let predictions = tree.join("marketing/gender/predictions.sql");
        edit(&predictions, "FROM model_outputs", "FROM model_outputs WHERE twin > 2");
    });
    let told = "a run would halt: predictions_sql_rows: predictions.sql must give exactly one row";
    let halts: Vec<&str> = halts.split_whitespace().collect();
    assert!(halts.join(" ").contains(told), "{halts:?}");
}

fn a_comment_on_a_pull_request_says_the_same(place: &Place) {
    let commented = place.plan("markdown", |tree| {
        without_quarter(tree);
        edit(&tree.join("marketing/gender/config.yaml"), "VERSION: 0.1.0", "VERSION: 0.2.0");
        bundle(tree, "crm/upsell");
        fs::remove_dir_all(tree.join("marketing/reach")).expect("the folder goes");
    });
    insta::assert_snapshot!("markdown", commented);
}

/// What is missing beside it was not removed.
fn one_bundle_speaks_for_itself_alone(place: &Place) {
    let tree = place.changed(|tree| fs::remove_dir_all(tree.join("crm")).expect("the folder goes"));
    let summary_of = |path: &Path, code| {
        let path = path.display().to_string();
        place.server.cameo(&["plan", &path]).exits(code).json()["summary"].clone()
    };
    assert_eq!(summary_of(&tree, EXIT_CHANGES)["archive"], 1);
    for path in [tree.join("marketing"), tree.join("marketing/gender")] {
        assert_eq!(summary_of(&path, 0)["archive"], 0, "{}", path.display());
    }
}

fn an_unchanged_tree_changes_nothing(place: &Place) {
    let tree = place.tree().display().to_string();
    let human =
        |command: &str| place.server.cameo(&[command, &tree, "-o", "human"]).exits(0).stdout;
    assert_eq!(human("plan"), "✓ nothing to change: 3 services unaffected\n");
    assert_eq!(human("apply"), "✓ nothing to change: 3 services unaffected\n");
    // A model that is not looked at because nothing changed is not looked at.
    let planned = place.server.cameo(&["plan", &tree]).exits(0).json();
    assert_eq!(planned["services"], json!([]));
    let nowhere = place.folder.path().join("nowhere").display().to_string();
    place.server.cameo(&["plan", &nowhere]).exits(1);
}

fn consumers_are_broken_only_by_somebody_who_says_so(place: &Place) {
    let tree = place.changed(without_quarter).display().to_string();
    let refused = place.server.cameo(&["apply", &tree, "-o", "human"]).exits(1).stdout;
    insta::assert_snapshot!("refused", steady(&refused));
    let json = place.server.cameo(&["apply", &tree]).exits(1).json();
    let change = &json["breaking"][0]["changes"][0];
    assert_eq!((&change["kind"], &change["breaking"]), (&json!("removed"), &json!(true)));
    let applied =
        place.server.cameo(&["apply", &tree, "--accept-breaking", "marketing/gender"]).exits(0);
    assert_eq!(applied.json()["services"][1]["applied"], "changed");
    // What was accepted is not asked again.
    place.server.cameo(&["apply", &tree]).exits(0);
}
