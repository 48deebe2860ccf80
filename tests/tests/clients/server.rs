//! A server with two tenants that have published, and what programs need to reach it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use cameo_tests::{Bundle, RunningApi, RunningWorker, World};

/// The Python with the packages of `clients/python/requirements.txt`; `absent` where there is none.
const PYTHON_VARIABLE: &str = "CAMEO_CLIENTS_PYTHON";
/// Customers 1 to this many are known to every service of marketing.
pub(crate) const CUSTOMERS: u64 = 250;

/// A server, with a worker that executes what is asked for.
pub(crate) struct Server {
    /// Kept: its folder and its database go with it.
    _world: World,
    pub(crate) api: RunningApi,
    /// A key of marketing.
    pub(crate) key: String,
    /// A key of crm, to which nothing sensitive is shown.
    pub(crate) crm_key: String,
    /// The public part of another key, to be ended.
    spare: String,
    worker: RunningWorker,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let world = World::start().await;
        for tenant in ["marketing", "crm"] {
            world.customers(tenant, CUSTOMERS, 1.0).await;
        }
        for bundle in [
            Bundle::new("marketing", "gender"),
            Bundle::new("marketing", "taste").keyed_by_text(),
            Bundle::new("crm", "clv").sensitive("[twin]"),
        ] {
            world.apply(&bundle).await.publish("2024-03-01T18:00:00Z").await;
        }
        let config = world.worker_config();
        let worker = world.worker(config).await;
        let [key, spare] = [world.key(Some("marketing")).await, world.key(Some("marketing")).await];
        let spare = spare.split('_').nth(1).expect("a key has a public part").to_owned();
        let crm_key = world.key(Some("crm")).await;
        Self { key, crm_key, spare, api: world.serve().await, _world: world, worker }
    }

    pub(crate) async fn stop(self) {
        self.api.stop().await;
        self.worker.stop().await;
    }

    /// A program that is told where the server is.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(repository())
            .env("CAMEO_SERVER", &self.api.url)
            .env("CAMEO_API_KEY", &self.key)
            .env("CAMEO_SPARE_KEY", &self.spare)
            .env("CAMEO_CRM_KEY", &self.crm_key)
            .env("CAMEO_CUSTOMERS", CUSTOMERS.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Runs a program to its end without holding the server up, which runs in this process as well.
pub(crate) async fn finish(mut command: Command) -> Output {
    let ended = tokio::task::spawn_blocking(move || command.output());
    ended.await.expect("no panic").expect("the program starts")
}

/// What a program printed.
pub(crate) fn printed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

pub(crate) fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in the repository").to_owned()
}

/// The Python that the clients are tested in; none where the machine has none that is new enough.
pub(crate) fn python() -> Option<PathBuf> {
    let path = std::env::var(PYTHON_VARIABLE).unwrap_or_else(|_| {
        let made = Command::new(repository().join("clients/python/environment")).output();
        let made = made.expect("clients/python/environment runs");
        assert!(made.status.success(), "{}", printed(&made));
        String::from_utf8(made.stdout).expect("a path").trim().to_owned()
    });
    if path == "absent" {
        #[expect(
            clippy::print_stderr,
            reason = "whoever runs the tests must know what is not tested"
        )]
        {
            eprintln!("not tested here: it needs Python 3.11; see clients/python/environment");
        }
        return None;
    }
    Some(PathBuf::from(path))
}
