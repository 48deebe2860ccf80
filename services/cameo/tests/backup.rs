//! Moving an installation by the command line: a backup taken at work, checked, restored elsewhere, and served there
//! (W12).

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{Server, ask, cameo, copy, root, wait_for};

const ONE: &str = "/v1/tenants/marketing/services/gender/predictions/1";

fn prediction(server: &Server, key: &str) -> Value {
    wait_for("the prediction", || {
        let answer = ask(&server.api, "GET", ONE, key, "");
        (answer.status == 200).then(|| answer.json())
    })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn an_installation_moves_by_its_backup_with_its_keys_and_its_history() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    copy(&root().join("deploy/demo/lake"), &first.join("lake"));
    cameo(&["demo-data", "--customers", "500", "--data-dir", &text(&first)]).exits(0);
    let server = Server::start(&first);
    let gender = text(&root().join("tenants/marketing/gender"));
    server.cameo(&["apply", &gender]).exits(0);
    let run = server.cameo(&["run", "--now", "--wait", "marketing/gender"]).exits(0).json();
    assert_eq!(run["state"], "published", "{run}");
    let created = server.cameo(&["keys", "create", "marketing", "--name", "move"]).exits(0).json();
    let key = created["key"].as_str().expect("a key").to_owned();
    let before = prediction(&server, &key);

    let backup = text(&place.path().join("backups/monday"));
    let taken = server.cameo(&["backup", &backup]).exits(0).json();
    assert!(taken["rows"].as_u64() > Some(500), "{taken}");
    let again = server.cameo(&["backup", &backup]).exits(1);
    assert!(again.stderr.contains("each backup goes into one of its own"), "{}", again.stderr);
    let checked = cameo(&["backup", "--check", &backup]).exits(0).json();
    assert_eq!((&checked["rows"], &checked["schema"]), (&taken["rows"], &taken["schema"]));
    let nothing = server.cameo(&["migrate", "--check"]).exits(0).json();
    assert_eq!(
        (&nothing["missing"], &nothing["schema"]),
        (&Value::Array(vec![]), &taken["schema"])
    );
    let done = server.cameo(&["migrate", "-o", "human"]).exits(0);
    assert!(done.stdout.starts_with("nothing to do: the database has schema "), "{}", done.stdout);

    // Not into what is there, running or not.
    let running = cameo(&["restore", &backup, "--data-dir", &text(&first)]).exits(1);
    assert!(running.stderr.contains("is in use by process"), "{}", running.stderr);
    server.terminate();
    let full = cameo(&["restore", &backup, "--data-dir", &text(&first)]).exits(1);
    assert!(full.stderr.contains("the database is not empty"), "{}", full.stderr);

    let restored = cameo(&["restore", &backup, "--data-dir", &text(&second)]).exits(0).json();
    assert_eq!(restored["breaches"], Value::Array(vec![]), "{restored}");
    copy(&first.join("lake"), &second.join("lake"));
    let server = Server::start(&second);
    let after = prediction(&server, &key);
    assert_eq!(
        (&after["predictions"], &after["generation"]),
        (&before["predictions"], &before["generation"])
    );
    let doctor = server.cameo(&["doctor", "-o", "human"]).exits(0);
    assert_eq!(doctor.stdout, "every invariant holds\n");
    server.cameo(&["audit", "verify"]).exits(0);
    let trail = server.cameo(&["audit", "list"]).exits(0).stdout;
    assert!(trail.contains("platform.restored"), "{trail}");
    let run = server.cameo(&["run", "--now", "--wait", "marketing/gender"]).exits(0).json();
    assert_eq!(run["state"], "published", "{run}");
    assert!(run["generation"].as_i64() > Some(1_000_000), "no number is given twice: {run}");

    let table = place.path().join("backups/monday/tables/cameo.runs.copy.zst");
    let mut bytes = fs::read(&table).expect("a table");
    bytes.truncate(bytes.len() / 2);
    fs::write(&table, bytes).expect("the damage");
    for arguments in [&["backup", "--check", &backup][..], &["restore", &backup][..]] {
        let refused = cameo(arguments).exits(1);
        assert!(
            refused.stderr.contains("cameo.runs.copy.zst should have the digest"),
            "{}",
            refused.stderr
        );
    }
}
