//! The server does what its document says, as schemathesis finds out (<https://schemathesis.io>).

use crate::server::{Server, finish, printed, python, repository};

/// Requests for each operation and phase; `tests/conformance` sends more.
const EXAMPLES_VARIABLE: &str = "CAMEO_CONFORMANCE_EXAMPLES";
const EXAMPLES: u32 = 12;
/// Longest time for generated requests, unless more are wanted.
const SECONDS: u32 = 45;

#[tokio::test(flavor = "multi_thread")]
async fn the_server_does_what_its_document_says() {
    let Some(python) = python() else { return };
    let server = Server::start().await;
    let wanted = std::env::var(EXAMPLES_VARIABLE).ok();
    let examples = wanted.clone().unwrap_or_else(|| EXAMPLES.to_string());
    let program = python.with_file_name("schemathesis");
    let config = repository().join("tests/tests/clients/schemathesis.toml");
    let mut command = server.command(program);
    command.arg("--config-file").arg(config).arg("run");
    command.arg(format!("{}/openapi.json", server.api.url));
    command.args(["--max-examples", &examples, "--no-color"]);
    if wanted.is_some() {
        command.args(["--generation-database", "none"]);
    } else {
        // The same requests each time: a change that fails here fails for its author. What follows from one answer
        // to the next request depends on time, and is for the longer run.
        command.args(["--phases", "examples,coverage,fuzzing", "--generation-deterministic"]);
        command.args(["--max-time", &SECONDS.to_string()]);
    }
    let tested = finish(command).await;
    assert!(tested.status.success(), "{}", printed(&tested));
    server.stop().await;
}
