//! The segments of a bundle, from its config to files, by the command line alone (M12, W2, V20).

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{Done, Server, ask, cameo, command, copy, edit, root, wait_for};

/// `plan` found changes.
const EXIT_CHANGES: i32 = 2;
const SECTION: &str = "
SEGMENT_CONFIG:
  - NAME: likely_women
    DESCRIPTION: Who is probably a woman
    CONDITION: female_percentile >= 50
    ATTRIBUTES: [female_percentile]
";

/// A server with the demo's marketing tenant, whose one service defines a segment.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
}

impl Place {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&root().join("tenants"), &folder.path().join("tenants"));
        let data = folder.path().join("data").display().to_string();
        cameo(&["demo-data", "--customers", "200", "--data-dir", &data]).exits(0);
        let server = Server::start(&folder.path().join("data"));
        let place = Self { folder, server };
        place.configure(SECTION);
        place
    }

    fn tenant(&self) -> String {
        self.folder.path().join("tenants/marketing").display().to_string()
    }

    /// The shipped config with a section below it.
    fn configure(&self, section: &str) {
        let shipped = fs::read_to_string(root().join("tenants/marketing/gender/config.yaml"));
        let text = format!("{}{section}", shipped.expect("the shipped config"));
        let file = Path::new(&self.tenant()).join("gender/config.yaml");
        fs::write(file, text).expect("the config");
    }

    fn plan(&self, output: &str) -> Done {
        self.server.cameo(&["plan", &self.tenant(), "--sample", "0", "-o", output])
    }

    fn segment(&self, arguments: &[&str]) -> Done {
        self.server.cameo(&[&["segment"], arguments].concat())
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The same command over the API, with a key that may read and nothing else.
    fn elsewhere(&self, key: &str, arguments: &[&str]) -> Done {
        let output = command(&[&["segment"], arguments].concat())
            .env("CAMEO_SERVER", format!("http://{}", self.server.api))
            .env("CAMEO_API_KEY", key)
            .env("CAMEO_DATA_DIR", self.folder.path().join("nowhere"))
            .output()
            .expect("the binary runs");
        Done {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

#[test]
fn a_segment_of_a_bundle_is_planned_applied_counted_and_exported() {
    let place = Place::start();
    a_plan_tells_what_becomes_of_segments(&place);
    before_anything_is_published_nobody_is_a_member(&place);
    place.server.cameo(&["run", "--now", "--wait", "marketing/gender"]).exits(0);
    let made = wait_for("the members", || {
        let shown = place.segment(&["show", "marketing", "likely_women"]).exits(0).json();
        shown["materialisations"][0].is_object().then_some(shown)
    });
    let members = made["latest"]["members"].as_u64().expect("a number");
    assert!(members > 0 && members < 200, "{made}");
    members_come_out_in_every_format(&place, members);
    what_changed_is_told_once_to_a_consumer(&place, members);
    the_api_gives_the_same(&place, members);
    what_does_not_fit_the_server_is_refused_at_its_place(&place);
    let metrics = ask(&place.server.api, "GET", "/metrics", "", "").body;
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("cameo_segment_members_total ")?.parse::<u64>().ok());
    assert!(counted.is_some_and(|counted| counted >= members), "{counted:?} of {members}");
    let healthy = place.server.cameo(&["doctor", "-o", "human"]).exits(0);
    assert_eq!(healthy.stdout, "every invariant holds\n");
}

fn a_plan_tells_what_becomes_of_segments(place: &Place) {
    let planned = place.plan("json").exits(EXIT_CHANGES).json();
    let change = &planned["services"][0]["segments"][0];
    assert_eq!((&change["segment"], &change["kind"]), (&json!("likely_women"), &json!("added")));
    assert_eq!(change["definition"]["condition"], "gender.female_percentile >= 50.0");
    place.server.cameo(&["apply", &place.tenant()]).exits(0);

    place.configure(&SECTION.replace(">= 50", ">= 60"));
    let drawn = place.plan("human").exits(EXIT_CHANGES).stdout;
    let changed = "~ likely_women: gender.female_percentile >= 50.0 → ";
    assert!(drawn.contains(changed), "{drawn}");
    assert!(!drawn.contains("no setting differs"), "{drawn}");
    place.configure("");
    let comment = place.plan("markdown").exits(EXIT_CHANGES).stdout;
    assert!(comment.contains("➖ segment `likely_women: is removed"), "{comment}");

    // A prediction that goes takes the segment of somebody else along.
    let key = key_for(place, "segment");
    let body = json!({ "condition": "gender.male_percentile < 10" }).to_string();
    let path = "/v1/tenants/marketing/segments/few_men";
    assert_eq!(ask(&place.server.api, "PUT", path, &key, &body).status, 200);
    place.configure(SECTION);
    let config = Path::new(&place.tenant()).join("gender/config.yaml");
    edit(&config, "[user_id, male_percentile, female_percentile]", "[user_id, female_percentile]");
    edit(&config, "[INT, FLOAT64, FLOAT64]", "[INT, FLOAT64]");
    let drawn = place.plan("human").exits(EXIT_CHANGES).stdout;
    assert!(drawn.contains("few_men: keeps its last members"), "{drawn}");
    place.configure(SECTION);
}

fn before_anything_is_published_nobody_is_a_member(place: &Place) {
    let listed = place.segment(&["list", "marketing"]).exits(0).json();
    assert_eq!(
        (&listed[1]["segment"], &listed[1]["latest"]),
        (&json!("likely_women"), &json!(null))
    );
    assert_eq!(
        (&listed[0]["defined_by"], &listed[1]["defined_by"]),
        (&json!(null), &json!("gender"))
    );
    let refused = place.segment(&["export", "marketing", "likely_women"]).exits(1);
    assert!(refused.stderr.contains("has no members yet"), "{}", refused.stderr);
    let unknown = place.segment(&["show", "marketing", "nobody"]).exits(1);
    assert_eq!(
        unknown.stderr,
        "error: marketing has no segment nobody; `cameo segment list marketing` lists them\n"
    );
}

fn members_come_out_in_every_format(place: &Place, members: u64) {
    let count = |more: &[&str]| {
        let asked = [&["count", "marketing", "female_percentile >= 50"], more].concat();
        place.segment(&asked).exits(0).json()["members"].as_u64().expect("a number")
    };
    assert_eq!(count(&[]), members);
    let (half, other) = (count(&["--sample", "50:x"]), count(&["--hold-out", "50:x"]));
    assert_eq!(half + other, members, "who is not in the half is in the other");
    let mistaken = place.segment(&["count", "marketing", "female_percentil > 1"]).exits(1);
    assert!(mistaken.stderr.contains("did you mean `female_percentile`?"), "{}", mistaken.stderr);

    let first = place.segment(&["members", "marketing", "likely_women", "--limit", "3"]).exits(0);
    let rows = first.json().as_array().cloned().expect("a list");
    assert_eq!(rows.len(), 3);
    assert!(rows[0]["gender.female_percentile"].as_f64().is_some_and(|value| value >= 50.0));
    let shown = place.segment(&["members", "marketing", "likely_women", "-o", "human"]).exits(0);
    assert!(shown.stdout.contains("GENDER.FEMALE_PERCENTILE"), "{}", shown.stdout);

    let lines = place.segment(&["export", "marketing", "likely_women"]).exits(0).stdout;
    assert_eq!(lines.lines().count() as u64, members, "one row a line on standard output");
    assert_eq!(
        serde_json::from_str::<Value>(lines.lines().next().expect("a row")).ok(),
        Some(rows[0].clone())
    );
    for (name, begins) in [
        ("women.csv", &b"key,gender.female_percentile"[..]),
        ("women.parquet", b"PAR1"),
        ("women.arrows", &[0xff, 0xff, 0xff, 0xff]),
        ("women.ndjson.gz", &[0x1f, 0x8b]),
    ] {
        let file = place.file(name);
        let written = place.segment(&["export", "marketing", "likely_women", "--to", &file]);
        assert_eq!(written.exits(0).json()["members"], members, "{name}");
        let bytes = fs::read(&file).expect("the file");
        assert!(bytes.starts_with(begins), "{name}: {:?}", &bytes[..bytes.len().min(40)]);
    }
    let (file, format) = (place.file("braze.txt"), ["--format", "braze"]);
    let asked = [&["export", "marketing", "likely_women", "--to", &file][..], &format].concat();
    place.segment(&asked).exits(0);
    let braze = fs::read_to_string(&file).expect("the file");
    assert!(braze.contains("\"segment_likely_women\":true"), "{braze}");
}

fn what_changed_is_told_once_to_a_consumer(place: &Place, members: u64) {
    let asked = ["changes", "marketing", "likely_women"];
    let all = place.segment(&[&asked[..], &["--since", "0"]].concat()).exits(0).stdout;
    assert_eq!(all.matches("\"entered\"").count() as u64, members);
    let for_mail = [&asked[..], &["--consumer", "mail", "--acknowledge"]].concat();
    let first = place.segment(&for_mail).exits(0).stdout;
    assert_eq!(first.lines().count() as u64, members);
    assert_eq!(place.segment(&for_mail).exits(0).stdout, "", "it was acknowledged");
    let both = place.segment(&[&asked[..], &["--since", "1", "--consumer", "mail"]].concat());
    assert_eq!(both.code, Some(64), "{}", both.stderr);
    let beyond = place.segment(&[&asked[..], &["--since", "9"]].concat()).exits(1);
    assert!(beyond.stderr.contains("at most 1, found 9"), "{}", beyond.stderr);
}

fn the_api_gives_the_same(place: &Place, members: u64) {
    let key = key_for(place, "read");
    let show = ["show", "marketing", "likely_women"];
    let (here, there) = (place.segment(&show).exits(0), place.elsewhere(&key, &show).exits(0));
    let steady = |shown: Done| {
        let mut shown = shown.json();
        shown["latest"]["age_seconds"] = json!(0);
        shown["materialisations"][0]["age_seconds"] = json!(0);
        shown
    };
    assert_eq!(steady(there), steady(here));
    let listed = place.elsewhere(&key, &["list", "marketing"]).exits(0).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let count = ["count", "marketing", "female_percentile >= 50"];
    let counted = wait_for("the API to have the snapshot", || {
        let counted = place.elsewhere(&key, &count);
        (counted.code == Some(0)).then(|| counted.json())
    });
    assert_eq!(counted["members"], members);
    let export = ["export", "marketing", "likely_women", "--format", "csv"];
    let (here, there) = (place.segment(&export).exits(0), place.elsewhere(&key, &export).exits(0));
    assert_eq!(there.stdout, here.stdout);
    let changes = ["changes", "marketing", "likely_women", "--since", "0"];
    let (here, there) =
        (place.segment(&changes).exits(0), place.elsewhere(&key, &changes).exits(0));
    assert_eq!(there.stdout, here.stdout);
    let refused = place.elsewhere("", &["list", "marketing"]).exits(1);
    assert!(refused.stderr.contains("--scope read"), "{}", refused.stderr);
}

fn what_does_not_fit_the_server_is_refused_at_its_place(place: &Place) {
    let unknown = SECTION.replace("female_percentile >= 50", "female_percentile >= churn.score");
    place.configure(&unknown);
    let refused = place.server.cameo(&["apply", &place.tenant()]).exits(1).json();
    let problem = &refused["problems"][0];
    assert_eq!(problem["code"], "CAM0080", "{refused}");
    assert_eq!(problem["span"]["column"], 37, "where `churn` begins: {refused}");
    place.configure(&SECTION.replace("likely_women", "few_men"));
    let refused = place.server.cameo(&["apply", &place.tenant()]).exits(1).json();
    assert_eq!(refused["problems"][0]["code"], "CAM0084", "{refused}");
    place.configure(SECTION);
    let unchanged = place.plan("json").exits(0).json();
    assert_eq!(unchanged["summary"]["unaffected"], 1, "{unchanged}");
}

fn key_for(place: &Place, scope: &str) -> String {
    let made = place.server.cameo(&["keys", "create", "marketing", "--scope", scope]).exits(0);
    made.json()["key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_key_for_some_services_registers_no_bundle_that_defines_segments() {
    let place = Place::start();
    place.server.cameo(&["apply", &place.tenant()]).exits(0);
    let made = ["keys", "create", "marketing", "--scope", "deploy", "--service", "gender"];
    let made = place.server.cameo(&made).exits(0).json();
    let key = made["key"].as_str().expect("a key");
    edit(
        &Path::new(&place.tenant()).join("gender/config.yaml"),
        "VERSION: 0.0.1",
        "VERSION: 0.0.2",
    );
    let planned = |place: &Place| {
        command(&["plan", &place.tenant()])
            .env("CAMEO_SERVER", format!("http://{}", place.server.api))
            .env("CAMEO_API_KEY", key)
            .output()
            .expect("the binary runs")
    };
    let refused = planned(&place);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("this API key is for some of them alone"), "{told}");
    place.configure("");
    assert_eq!(planned(&place).status.code(), Some(EXIT_CHANGES));

    // A key for all of them does.
    place.configure(&SECTION.replace(">= 50", ">= 60"));
    let applied = command(&["apply", &place.tenant()])
        .env("CAMEO_SERVER", format!("http://{}", place.server.api))
        .env("CAMEO_API_KEY", key_for(&place, "deploy"))
        .output()
        .expect("the binary runs");
    assert_eq!(applied.status.code(), Some(0), "{}", String::from_utf8_lossy(&applied.stderr));
    let shown = place.segment(&["show", "marketing", "likely_women"]).exits(0).json();
    assert_eq!((&shown["version"], &shown["defined_by"]), (&json!(2), &json!("gender")));
    assert!(shown["changed_by"].as_str().is_some_and(|by| by.starts_with("key:")), "{shown}");
}
