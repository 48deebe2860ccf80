//! A pipeline of git plans and applies over the API, with a key that may do just that (M1, V13, W5, W14).

mod support;

use std::{fs, path::Path};

use support::{Done, Server, ask, cameo, command, copy, edit, root};

/// `plan` found changes.
const EXIT_CHANGES: i32 = 2;

/// A server with the demo's marketing tenant, and the tenant's folder as a pipeline has it.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
    key: String,
}

impl Place {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&root().join("tenants"), &folder.path().join("tenants"));
        let data = folder.path().join("data").display().to_string();
        cameo(&["demo-data", "--customers", "200", "--data-dir", &data]).exits(0);
        let server = Server::start(&folder.path().join("data"));
        let tenant = folder.path().join("tenants/marketing").display().to_string();
        server.cameo(&["apply", &tenant]).exits(0);
        let made = server.cameo(&["keys", "create", "marketing", "--scope", "deploy"]).exits(0);
        let key = made.json()["key"].as_str().expect("a key").to_owned();
        Self { folder, server, key }
    }

    fn tenant(&self) -> String {
        self.folder.path().join("tenants/marketing").display().to_string()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        Path::new(&self.tenant()).join(name)
    }

    /// A command of the pipeline, which knows the API's address and the key and nothing else.
    fn pipeline(&self, arguments: &[&str]) -> Done {
        let output = command(arguments)
            .env("CAMEO_SERVER", format!("http://{}", self.server.api))
            .env("CAMEO_API_KEY", &self.key)
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
fn a_pipeline_plans_and_applies_without_the_database_and_may_do_nothing_else() {
    let place = Place::start();
    let tenant = place.tenant();

    let planned = place.pipeline(&["plan", &tenant]).exits(0).json();
    assert_eq!(planned["summary"]["unaffected"], 1, "{planned}");

    edit(&place.file("gender/config.yaml"), "VERSION: 0.0.1", "VERSION: 0.0.2");
    let planned = place.pipeline(&["plan", &tenant, "--sample", "100"]).exits(EXIT_CHANGES).json();
    assert_eq!(planned["summary"]["change"], 1, "{planned}");
    assert_eq!(planned["services"][0]["service"]["service"], "gender");
    assert!(planned["services"][0]["sample"].is_object(), "{planned}");
    let comment = place.pipeline(&["plan", &tenant, "-o", "markdown"]).exits(EXIT_CHANGES);
    assert!(comment.stdout.contains("marketing/gender"), "{}", comment.stdout);

    let applied = place.pipeline(&["apply", &tenant]).exits(0).json();
    assert_eq!(applied["services"][0]["applied"], "changed", "{applied}");
    let again = place.pipeline(&["apply", &tenant, "-o", "human"]).exits(0);
    assert!(again.stdout.contains("nothing to change"), "{}", again.stdout);
    let history = place.server.cameo(&["history", "marketing/gender"]).exits(0).stdout;
    assert!(history.contains(&format!("key:{}", &place.key[6..14])), "{history}");

    // The key opens nothing but that.
    let gender = "/v1/tenants/marketing/services/gender";
    let looked_up =
        ask(&place.server.api, "GET", &format!("{gender}/predictions/1"), &place.key, "");
    assert_eq!(looked_up.json()["code"], "missing_scope");
    let rolled_back = ask(&place.server.api, "POST", &format!("{gender}:rollback"), &place.key, "");
    assert_eq!(rolled_back.json()["code"], "missing_scope");
    let other = "/v1/tenants/crm/releases";
    assert_eq!(ask(&place.server.api, "GET", other, &place.key, "").status, 404);
}

#[test]
fn what_the_server_finds_is_told_at_the_line_of_the_pipelines_own_file() {
    let place = Place::start();
    let tenant = place.tenant();
    // Only the server knows which tables there are.
    edit(&place.file("gender/features.sql"), "FROM demo.customers", "FROM demo.custmers");
    let refused = place.pipeline(&["plan", &tenant]).exits(1).json();
    let problem = &refused["problems"][0];
    assert_eq!(problem["code"], "CAM0100", "{refused}");
    let file = problem["file"].as_str().expect("a file");
    assert_eq!(file, place.file("gender/features.sql").display().to_string());
    let refused = place.pipeline(&["apply", &tenant]).exits(1).json();
    assert_eq!(refused["problems"][0]["code"], "CAM0100", "nothing is applied: {refused}");

    let stranger = command(&["plan", &tenant])
        .env("CAMEO_SERVER", format!("http://{}", place.server.api))
        .output()
        .expect("the binary runs");
    let told = String::from_utf8_lossy(&stranger.stderr);
    assert!(told.contains("cameo keys create <tenant> --scope deploy"), "{told}");
}

#[test]
fn a_breaking_change_and_a_removed_service_need_to_be_asked_for() {
    let place = Place::start();
    let tenant = place.tenant();
    let config = place.file("gender/config.yaml");
    edit(&config, "[user_id, male_percentile, female_percentile]", "[user_id, male_percentile]");
    edit(&config, "[INT, FLOAT64, FLOAT64]", "[INT, FLOAT64]");
    let refused = place.pipeline(&["apply", &tenant]).exits(1).json();
    assert_eq!(refused["breaking"][0]["service"]["service"], "gender", "{refused}");
    let accepted =
        place.pipeline(&["apply", &tenant, "--accept-breaking", "marketing/gender"]).exits(0);
    assert_eq!(accepted.json()["services"][0]["applied"], "changed");

    copy(Path::new(&place.file("gender")), &place.file("reach"));
    edit(&place.file("reach/config.yaml"), "SERVICE_NAME: gender", "SERVICE_NAME: reach");
    place.pipeline(&["apply", &tenant]).exits(0);
    fs::remove_dir_all(place.file("reach")).expect("the bundle is removed");
    let planned = place.pipeline(&["plan", &tenant]).exits(EXIT_CHANGES).json();
    assert_eq!(planned["removed"][0]["service"]["service"], "reach", "{planned}");
    let kept = place.pipeline(&["apply", &tenant]).exits(0).json();
    assert_eq!(kept["archived"].as_array().map(Vec::len), Some(0), "{kept}");
    let pruned = place.pipeline(&["apply", &tenant, "--prune"]).exits(0).json();
    assert_eq!(pruned["archived"][0]["path"]["service"], "reach", "{pruned}");
}
