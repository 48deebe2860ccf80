//! One installation from its first start to its restart after a kill, by the command line and HTTP
//! alone (M1, M3, M5, M8, M9, M11, V11, V12, W1, W3, R4).

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{Server, ask, cameo, command, copy, edit, root, steady, wait_for};

/// Customers of the generated table.
const CUSTOMERS: &str = "2000";
/// A schedule that does not come due while the test runs.
const ONCE_A_YEAR: &str = "\"0 3 29 2 *\"";
/// `plan` found changes.
const EXIT_CHANGES: i32 = 2;

/// The repository's tenants and their tables, in a place where they may be edited.
fn prepare(place: &Path) {
    copy(&root().join("tenants"), &place.join("tenants"));
    copy(&root().join("deploy/demo/lake"), &place.join("data/lake"));
    let data = place.join("data").display().to_string();
    let made = cameo(&["demo-data", "--customers", CUSTOMERS, "--data-dir", &data]).exits(0);
    assert_eq!(made.json()["customers"], 2000);
    for (service, cron) in [
        ("crm/clv", "\"30 2 * * *\""),
        ("crm/clv_bgnbd", "\"45 2 * * *\""),
        ("marketing/gender", "\"00 18 * * *\""),
    ] {
        edit(&place.join("tenants").join(service).join("config.yaml"), cron, ONCE_A_YEAR);
    }
}

fn apply(server: &Server, tenants: &str) -> Value {
    server.cameo(&["apply", tenants]).exits(0).json()
}

fn run_now(server: &Server, service: &str) -> Value {
    let run = server.cameo(&["run", "--now", "--wait", service]).exits(0).json();
    assert_eq!(run["state"], "published", "{run}");
    run
}

/// The prediction once the API serves `generation`: another process moved the pointer, and the API
/// hears of that within a second.
fn prediction_of(server: &Server, generation: &Value, path: &str, key: &str) -> Value {
    wait_for("the API to follow the pointer", || {
        let answer = ask(&server.api, "GET", path, key, "");
        let body = (answer.status == 200).then(|| answer.json())?;
        (body["generation"] == *generation).then_some(body)
    })
}

fn key_for(server: &Server, who: &str) -> (String, String) {
    let created = server.cameo(&["keys", "create", who, "--name", "life"]).exits(0).json();
    let text = |name: &str| created[name].as_str().expect("text").to_owned();
    (text("key"), text("prefix"))
}

/// One look-up of the service whose life this is.
const ONE: &str = "/v1/tenants/crm/services/clv/predictions/1";

#[test]
fn a_bundle_lives_through_changes_a_rollback_a_kill_and_a_restart() {
    let place = tempfile::tempdir().expect("a temporary folder");
    prepare(place.path());
    let data = place.path().join("data");
    let tenants = place.path().join("tenants").display().to_string();
    let server = Server::start(&data);
    without_bundles_every_command_says_so(&server);
    a_plan_changes_nothing_and_applying_twice_neither(&server, &tenants);
    let (key, prefix) = key_for(&server, "crm");
    let first = the_first_runs_publish(&server, &key);
    predictions_are_served_to_their_tenant_alone(&server, &first, &key);
    every_prediction_is_explained(&server, &first, &key);
    a_second_server_is_kept_off_the_data_directory(&server, &data);
    a_fault_of_the_data_halts_the_run_and_leaves_what_is_served(&server, &data, &first, &key);
    let second = a_changed_bundle_is_planned_applied_and_run(&server, &tenants, &key);
    a_rollback_brings_the_old_columns_back(&server, &first, &second, &key);
    what_happened_is_on_record(&server, &first, &second);
    releases_are_listed_promoted_and_remembered(&server, &first, &second);
    what_git_lost_is_archived_only_where_that_was_asked_for(&server, &tenants);

    let before = prediction_of(&server, &second["generation"], ONE, &key);
    server.kill_dash_nine();
    let server = Server::start(&data);
    let again = prediction_of(&server, &second["generation"], ONE, &key);
    assert_eq!(again["predictions"], before["predictions"]);
    run_now(&server, "crm/clv");
    let healthy = server.cameo(&["doctor", "-o", "human"]).exits(0);
    assert_eq!(healthy.stdout, "every invariant holds\n");

    an_erasure_has_a_receipt_that_is_checked_offline(&server, place.path(), &key);
    a_revoked_key_opens_nothing(&server, &key, &prefix);
    an_orderly_end_leaves_no_address_behind(server, &data);
}

/// The card, the lineage and the audit trail, after a rollback to `first` and one back to `second`.
fn what_happened_is_on_record(server: &Server, first: &Value, second: &Value) {
    let lineage = server.cameo(&["lineage", "crm/clv", "--key", "1"]).exits(0).json();
    assert_eq!(lineage["generation"]["generation"], second["generation"]);
    assert!(lineage["prediction"]["tier"].is_string(), "{lineage}");
    assert!(lineage["run"]["requested_by"].as_str().is_some_and(|who| who.starts_with("cli:")));
    assert_eq!(
        lineage["served"].as_array().map(Vec::len),
        Some(2),
        "published, and rolled back to"
    );
    let until = lineage["served"][1]["from"].as_str().expect("an instant");
    let earlier = ["lineage", "crm/clv", "--key", "1", "--at", &just_before(until)];
    let earlier = server.cameo(&earlier).exits(0).json();
    assert_eq!(earlier["generation"]["generation"], first["generation"]);
    let drawn = server.cameo(&["lineage", "crm/clv", "--key", "1", "-o", "human"]).exits(0);
    assert!(drawn.stdout.contains("┌ generation "), "{}", drawn.stdout);
    let unknown = server.cameo(&["lineage", "crm/clv", "--key", "987654321"]).exits(1);
    assert!(unknown.stderr.contains("has no prediction for `987654321`"), "{}", unknown.stderr);

    let card = server.cameo(&["card", "crm/clv"]).exits(0).json();
    assert_eq!(card["card"]["metrics"]["rmse_usd"], 86.32);
    assert_eq!(card["current"]["generation"], lineage["generation"]["generation"]);
    let shown = server.cameo(&["card", "crm/clv", "-o", "human"]).exits(0).stdout;
    assert!(
        shown.contains("crm-analytics@example.com") && shown.contains("quarantined"),
        "{shown}"
    );

    let trail = server.cameo(&["audit", "list", "crm/clv", "--limit", "200"]).exits(0).json();
    let actions: Vec<_> = trail.as_array().expect("entries").iter().map(|e| &e["action"]).collect();
    for action in
        ["release.applied", "run.halted", "generation.published", "generation.rolled_back"]
    {
        assert!(actions.contains(&&json!(action)), "{action} is missing in {actions:?}");
    }
    let verified = server.cameo(&["audit", "verify"]).exits(0).json();
    assert!(verified["broken"].is_null() && verified["anchors"].as_u64() > Some(0), "{verified}");
}

fn just_before(instant: &str) -> String {
    let instant: chrono::DateTime<chrono::Utc> = instant.parse().expect("an instant");
    (instant - chrono::Duration::microseconds(1))
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn without_bundles_every_command_says_so(server: &Server) {
    let empty = server.cameo(&["runs", "-o", "human"]).exits(0);
    assert_eq!(empty.stdout, "no runs yet\n");
    let unknown = server.cameo(&["run", "--now", "crm/clv"]).exits(1);
    assert_eq!(
        unknown.stderr,
        "error: no service crm/clv is applied here; `cameo apply tenants/crm/clv` registers its \
         bundle\n"
    );
    for asked in [&["generations", "crm/clv"][..], &["runs", "crm/clv"], &["rollback", "crm/clv"]] {
        assert_eq!(server.cameo(asked).exits(1).stderr, unknown.stderr);
    }
    assert_eq!(
        server.cameo(&["keys", "create", "crm"]).exits(1).stderr,
        "error: no tenant crm is here (there is none); `cameo apply` registers tenants\n"
    );
}

fn a_plan_changes_nothing_and_applying_twice_neither(server: &Server, tenants: &str) {
    let planned = server
        .cameo(&["plan", tenants, "-o", "human", "--sample", "0", "--steps"])
        .exits(EXIT_CHANGES);
    insta::assert_snapshot!("plan-of-new-services", steady(&planned.stdout));
    assert_eq!(server.cameo(&["runs"]).exits(0).json(), json!([]), "a plan runs nothing");
    let applied = server.cameo(&["apply", tenants]).exits(0).json();
    let applied = &applied["services"];
    assert_eq!(applied[0]["applied"], "created");
    assert_eq!(applied[2]["path"], json!({"tenant": "marketing", "service": "gender"}));
    assert_eq!(apply(server, tenants)["services"][0]["applied"], "unchanged");
    let unchanged = server.cameo(&["plan", tenants]).exits(0).json();
    assert_eq!(
        (&unchanged["services"], &unchanged["summary"]["unaffected"]),
        (&json!([]), &json!(3))
    );
}

fn the_first_runs_publish(server: &Server, key: &str) -> Value {
    // Before the first run there is nothing to serve, and it is not a 404.
    let early = ask(&server.api, "GET", ONE, key, "");
    assert_eq!((early.status, &early.json()["code"]), (409, &json!("not_published")));

    let first = run_now(server, "crm/clv");
    let counts = &first["counts"];
    assert_eq!(counts["rows_read"], 23_570, "{first}");
    assert_eq!(counts["rows_scored"], counts["rows_read"], "nothing is quarantined");
    run_now(server, "marketing/gender");
    let listed = server.cameo(&["runs", "-o", "human"]).exits(0).stdout;
    assert_eq!(listed.matches("published").count(), 2, "{listed}");
    first
}

/// Stored with the prediction, computed on demand and added up over all customers: the same numbers.
fn every_prediction_is_explained(server: &Server, first: &Value, key: &str) {
    let one = server.cameo(&["explain", "crm/clv", "--key", "1"]).exits(0).json();
    assert_eq!(one["generation"], first["generation"]);
    let contributions = one["contributions"].as_array().expect("a list");
    assert_eq!(contributions.len(), 15, "every feature has its part");
    let size = |one: &Value| one["contribution"].as_f64().expect("a number");
    let sum: f64 = contributions.iter().map(size).sum();
    let explained = one["base_value"].as_f64().expect("a number") + sum;
    let value = one["outputs"]["clv"].as_f64().expect("a number");
    assert!((explained - value).abs() < 1e-3, "{explained} is not {value}");
    let stored = &prediction_of(server, &first["generation"], ONE, key)["predictions"];
    assert_eq!(one["published"], *stored, "{one}");
    let greatest = &stored["explanation"][0];
    assert_eq!(greatest["feature"], contributions[0]["feature"]);
    assert!((size(greatest) - size(&contributions[0])).abs() < 1e-3, "{greatest}");
    let drawn = server.cameo(&["explain", "crm/clv", "--key", "1", "-o", "human"]).exits(0).stdout;
    assert!(drawn.contains("expected of anybody") && drawn.contains('█'), "{drawn}");
    let unknown = server.cameo(&["explain", "crm/clv", "--key", "0"]).exits(1).stderr;
    assert!(unknown.contains("gives no customer `0`"), "{unknown}");
    let wrong = server.cameo(&["explain", "crm/clv", "--key", "x"]).exits(1).stderr;
    assert!(wrong.contains("--key is not a key of crm/clv"), "{wrong}");

    let ranked = server.cameo(&["importance", "crm/clv"]).exits(0).json();
    let importance = &ranked["importance"];
    assert_eq!((&importance["rows"], &importance["stored"]), (&json!(23_570), &json!(true)));
    assert_eq!(importance["method"], "TREE_PATH", "{ranked}");
    assert_eq!(importance["features"].as_array().map(Vec::len), Some(15));

    // This model has no exact method, and stores nothing: a sample of its customers speaks for all.
    let ranked = server.cameo(&["importance", "marketing/gender"]).exits(0).json();
    let importance = &ranked["importance"];
    assert_eq!((&importance["rows"], &importance["stored"]), (&json!(300), &json!(false)));
    assert!(importance["standard_error"].as_f64().is_some_and(|error| error > 0.0), "{ranked}");
    let cohorts = importance["cohorts"].as_array().expect("a list");
    let rows: Vec<_> = cohorts.iter().filter_map(|cohort| cohort["rows"].as_u64()).collect();
    assert_eq!((rows.len(), rows.iter().sum::<u64>()), (2, 300), "{ranked}");
    let drawn = server.cameo(&["importance", "marketing/gender", "-o", "human"]).exits(0).stdout;
    assert!(drawn.contains("coupon_used") && drawn.contains("300 customers"), "{drawn}");
    let missing = server.cameo(&["importance", "crm/clv", "--generation", "99"]).exits(1).stderr;
    assert!(missing.contains("no complete generation 99"), "{missing}");
}

fn predictions_are_served_to_their_tenant_alone(server: &Server, first: &Value, key: &str) {
    let answer = prediction_of(server, &first["generation"], ONE, key);
    assert_eq!(answer["predictions"]["tier"], "Low");
    assert_eq!((&answer["version"], &answer["stale"]), (&json!("0.1.0"), &json!(false)));
    let many = ask(
        &server.api,
        "POST",
        "/v1/tenants/crm/services/clv/predictions:batchGet",
        key,
        r#"{"keys": [3, 999999, 1]}"#,
    );
    let many = many.json();
    let statuses: Vec<String> = many["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|result| format!("{}: {}", result["key"], result["status"]))
        .collect();
    assert_eq!(statuses, [r#"3: "found""#, r#"999999: "not_found""#, r#"1: "found""#]);
    let foreign = "/v1/tenants/marketing/services/gender/predictions/1";
    assert_eq!(ask(&server.api, "GET", foreign, key, "").status, 404);
    assert_eq!(ask(&server.api, "GET", ONE, "cameo_nonsense", "").status, 401);
    assert_eq!(ask(&server.api, "GET", "/readyz", "", "").status, 200);
    let metrics = ask(&server.api, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("cameo_runs_total{"), "{metrics}");
}

/// It would be a second Postgres on one cluster.
fn a_second_server_is_kept_off_the_data_directory(server: &Server, data: &Path) {
    let other = command(&["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .output()
        .expect("the binary runs");
    let refusal = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1));
    let owner = format!("is in use by process {}; stop that process or", server.process_id());
    assert!(refusal.contains(&owner), "{refusal}");
}

fn a_fault_of_the_data_halts_the_run_and_leaves_what_is_served(
    server: &Server,
    data: &Path,
    first: &Value,
    key: &str,
) {
    let table = data.join("lake/crm/cdnow/orders.parquet");
    let hidden = data.join("orders.parquet");
    fs::rename(&table, &hidden).expect("the table goes");
    let halted = server.cameo(&["run", "--now", "--wait", "crm/clv", "-o", "human"]).exits(1);
    assert!(halted.stdout.contains("table `cdnow.orders`: no such table"), "{}", halted.stdout);
    let listed = server.cameo(&["runs", "crm/clv", "-o", "human"]).exits(0).stdout;
    assert!(listed.contains("features_sql: line 10, column 8"), "{listed}");
    fs::rename(&hidden, &table).expect("the table comes back");
    let answer = ask(&server.api, "GET", ONE, key, "");
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &first["generation"]));
}

fn a_changed_bundle_is_planned_applied_and_run(server: &Server, tenants: &str, key: &str) -> Value {
    change_clv(&Path::new(tenants).join("crm/clv"));
    let planned =
        server.cameo(&["plan", tenants, "-o", "human", "--sample", "0"]).exits(EXIT_CHANGES);
    insta::assert_snapshot!("plan-of-a-changed-service", steady(&planned.stdout));
    let broken = Path::new(tenants).join("crm/clv/features.sql");
    let sound = fs::read_to_string(&broken).expect("a query");
    edit(&broken, "COUNTIF(", "COUNTIFF(");
    let refused = server.cameo(&["apply", tenants, "-o", "human"]).exits(1);
    assert!(refused.stdout.contains("help: did you mean COUNTIF?"), "{}", refused.stdout);
    assert!(refused.stdout.ends_with("nothing was applied\n"), "{}", refused.stdout);
    fs::write(&broken, sound).expect("a query");
    let refused = server.cameo(&["apply", tenants, "-o", "human"]).exits(1);
    assert!(refused.stdout.contains("prediction decile INT removed"), "{}", refused.stdout);
    let accepted = ["apply", tenants, "--accept-breaking", "crm/clv"];
    let applied = server.cameo(&accepted).exits(0).json()["services"].clone();
    assert_eq!(
        (&applied[0]["applied"], &applied[1]["applied"]),
        (&json!("changed"), &json!("unchanged"))
    );
    let second = run_now(server, "crm/clv");
    let answer = prediction_of(server, &second["generation"], ONE, key);
    assert_eq!(answer["predictions"]["is_high"], false, "{answer}");
    second
}

/// And forth again.
fn a_rollback_brings_the_old_columns_back(
    server: &Server,
    first: &Value,
    second: &Value,
    key: &str,
) {
    let rolled = server.cameo(&["rollback", "crm/clv"]).exits(0).json();
    assert_eq!((&rolled["from"], &rolled["to"]), (&second["generation"], &first["generation"]));
    let old = prediction_of(server, &first["generation"], ONE, key);
    assert_eq!(old["predictions"].get("is_high"), None, "{old}");
    let to = second["generation"].to_string();
    server.cameo(&["rollback", "crm/clv", "--to", &to]).exits(0);
    let generations = server.cameo(&["generations", "crm/clv", "-o", "human"]).exits(0).stdout;
    let current = generations.lines().find(|line| line.contains("current")).expect("one is");
    assert!(current.starts_with(&to), "{generations}");
    assert_eq!(
        server.cameo(&["rollback", "crm/clv", "--to", "99"]).exits(1).stderr,
        "error: cannot roll back: generation 99 is not a published generation that is still kept\n"
    );
}

fn releases_are_listed_promoted_and_remembered(server: &Server, first: &Value, second: &Value) {
    let listed = server.cameo(&["releases", "crm/clv"]).exits(0).json();
    let release = |at: usize| listed[at]["release"].as_str().expect("a hash").to_owned();
    assert_eq!(
        (&listed[0]["release"], &listed[0]["stage"]),
        (&second["release"], &json!("production"))
    );
    assert_eq!(
        (&listed[1]["release"], &listed[1]["stage"]),
        (&first["release"], &json!("archived"))
    );
    let digits = &release(1)[..6];
    let moved =
        server.cameo(&["promote", "crm/clv", digits, "--reason", "once more"]).exits(0).json();
    assert_eq!((&moved["outcome"], &moved["replaced"]), (&json!("moved"), &second["release"]));
    let told = server.cameo(&["history", "crm/clv", "-o", "human"]).exits(0).stdout;
    assert!(told.contains("archived → production") && told.contains("once more"), "{told}");
    let history = server.cameo(&["history", "crm/clv", "--limit", "3"]).exits(0).json();
    assert_eq!(history[0]["action"], "promote", "{history}");
    let before = history[2]["at"].as_str().expect("an instant");
    let then = server.cameo(&["history", "crm/clv", "--at", before]).exits(0).json();
    assert_eq!(then["production"]["release"], second["release"], "{then}");
    assert_eq!(then["served"]["generation"], second["generation"], "{then}");
    server.cameo(&["promote", "crm/clv", &release(0)]).exits(0);

    let unknown = server.cameo(&["promote", "crm/clv", "ffffffff"]).exits(1).stderr;
    let expected = "error: no release of crm/clv is named `ffffffff`; expected a version, or at least 4 digits";
    assert!(unknown.starts_with(expected) && unknown.contains(digits), "{unknown}");
    let nobody = server.cameo(&["approve", "crm/clv", digits]).exits(1).stderr;
    assert!(nobody.contains("nobody has asked to promote"), "{nobody}");
    let verdicts = server.cameo(&["verdicts", "crm/clv", digits, "-o", "human"]).exits(0).stdout;
    assert!(verdicts.contains("was not compared yet"), "{verdicts}");
}

fn what_git_lost_is_archived_only_where_that_was_asked_for(server: &Server, tenants: &str) {
    let gender = Path::new(tenants).join("marketing/gender");
    let refused = server.cameo(&["apply", "--prune", &gender.display().to_string()]).exits(1);
    assert!(refused.stderr.contains("found the bundle"), "{}", refused.stderr);
    let aside = Path::new(tenants).parent().expect("a folder").join("gender");
    fs::rename(&gender, &aside).expect("the bundle is gone");
    let unchanged = |applied: &Value| {
        let services = applied["services"].as_array().expect("a list");
        services.iter().all(|one| one["applied"] == "unchanged")
    };
    let applied = apply(server, tenants);
    assert!(unchanged(&applied) && applied["archived"] == json!([]), "{applied}");
    let pruned = server.cameo(&["apply", "--prune", tenants]).exits(0).json();
    let path = json!({"tenant": "marketing", "service": "gender"});
    assert_eq!(pruned["archived"][0]["path"], path, "{pruned}");
    let again = server.cameo(&["apply", "--prune", tenants]).exits(0).json();
    assert!(unchanged(&again) && again["archived"] == json!([]), "{again}");
    let idle = server.cameo(&["run", "--now", "marketing/gender"]).exits(1).stderr;
    let expected =
        "error: no release of marketing/gender is in production; `cameo promote marketing/gender ";
    assert!(idle.starts_with(expected), "{idle}");
    fs::rename(&aside, &gender).expect("the bundle is back");
    assert_eq!(apply(server, tenants)["services"][2]["applied"], "changed");
    let put_away =
        server.cameo(&["archive", "marketing/gender", "--reason", "a test"]).exits(0).json();
    assert_eq!(put_away["releases"].as_array().map(Vec::len), Some(1), "{put_away}");
    assert_eq!(apply(server, tenants)["services"][2]["applied"], "changed");
}

fn an_erasure_has_a_receipt_that_is_checked_offline(server: &Server, place: &Path, key: &str) {
    let erased = server.cameo(&["erase", "crm", "3", "--wait"]).exits(0).json();
    assert_eq!(erased["state"], "done", "{erased}");
    let number = erased["erasure"].to_string();
    let file = place.join("receipt.json").display().to_string();
    let asked = ["erasures", "receipt", "crm", &number, "--key", "3", "--out", &file];
    server.cameo(&asked).exits(0);
    let public = place.join("data/receipt.pub").display().to_string();
    let verify = ["erasures", "verify", &file, "--trusted-key", &public];
    let verified = cameo(&verify).exits(0).json();
    assert_eq!(verified["statement"]["key"], "3");
    assert_eq!(verified["statement"]["erasure"], erased["erasure"]);
    assert_eq!(verified["statement"]["trail"].as_array().map(Vec::len), Some(2));
    // The API signs the same.
    let path = format!("/v1/tenants/crm/erasures/{number}/receipt");
    let given = ask(&server.api, "POST", &path, key, r#"{"key": 3}"#);
    let written: Value =
        serde_json::from_str(&fs::read_to_string(&file).expect("the receipt")).expect("JSON");
    assert_eq!(given.json(), written);

    let another = server.cameo(&["erasures", "receipt", "crm", &number, "--key", "4"]).exits(1);
    assert!(another.stderr.contains("is of another customer"), "{}", another.stderr);
    let changed = fs::read_to_string(&file).expect("the receipt").replacen("eyJ", "eyI", 1);
    fs::write(&file, changed).expect("written");
    let refused = cameo(&verify).exits(1);
    assert!(refused.stderr.contains("the receipt was changed"), "{}", refused.stderr);
}

fn a_revoked_key_opens_nothing(server: &Server, key: &str, prefix: &str) {
    let keys = server.cameo(&["keys", "list"]).exits(0).json();
    assert_eq!((&keys[0]["prefix"], keys.as_array().map(Vec::len)), (&json!(prefix), Some(1)));
    assert_eq!(
        server.cameo(&["keys", "revoke", prefix]).exits(0).json(),
        json!({"revoked": prefix})
    );
    wait_for("the API to hear of it", || {
        (ask(&server.api, "GET", ONE, key, "").status == 401).then_some(())
    });
    let listed = server.cameo(&["keys", "list", "-o", "human"]).exits(0).stdout;
    assert!(listed.contains("revoked"), "{listed}");
    a_rotated_key_hands_over(server);
    assert!(
        server.cameo(&["keys", "revoke", "nobody"]).exits(1).stderr.contains("cameo keys list")
    );
}

fn a_rotated_key_hands_over(server: &Server) {
    let made = ["keys", "create", "crm", "--scope", "read", "--service", "clv"];
    let made = server.cameo(&made).exits(0).json();
    assert_eq!(made["services"], json!(["clv"]));
    let (old, prefix) = (made["key"].as_str().expect("a key"), made["prefix"].as_str());
    let rotate = ["keys", "rotate", prefix.expect("a prefix"), "--overlap", "0s"];
    let rotated = server.cameo(&rotate).exits(0).json();
    assert_eq!(rotated["replaced"]["successor"], rotated["prefix"]);
    let new = rotated["key"].as_str().expect("a key");
    assert_eq!(ask(&server.api, "GET", ONE, new, "").status, 200);
    assert_eq!(ask(&server.api, "GET", ONE, old, "").status, 401);
    assert!(server.cameo(&rotate).exits(1).stderr.contains("was rotated already"));
    let unknown = ["keys", "create", "crm", "--service", "nothing"];
    assert!(server.cameo(&unknown).exits(1).stderr.contains("no service nothing"));
}

fn an_orderly_end_leaves_no_address_behind(server: Server, data: &Path) {
    assert_eq!(server.terminate().code(), Some(0));
    assert!(!data.join("server.json").exists(), "nobody is sent to a server that has ended");
    assert!(
        cameo(&["runs", "--data-dir", &data.display().to_string()])
            .exits(1)
            .stderr
            .contains("cameo up")
    );
}

/// A new prediction, another schedule and another query.
fn change_clv(bundle: &Path) {
    let config = bundle.join("config.yaml");
    edit(&config, "VERSION: 0.1.0", "VERSION: 0.2.0");
    edit(&config, ONCE_A_YEAR, "\"0 4 29 2 *\"");
    edit(&config, "America/New_York", "America/Chicago");
    edit(&config, "tier, decile]", "tier, is_high]");
    edit(&config, "STRING, INT]", "STRING, BOOL]");
    let sql = bundle.join("predictions.sql");
    edit(&sql, "  decile,\n  --", "  share_below >= 0.8 AS is_high,\n  --");
}
