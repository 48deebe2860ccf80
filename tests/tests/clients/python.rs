//! The Python client: its types, and its tests against a server.

use std::process::Command;

use crate::server::{Server, finish, printed, python, repository};

fn in_client(python: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(arguments).current_dir(repository().join("clients/python"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_is_typed_throughout() {
    let Some(python) = python() else { return };
    let cache = tempfile::tempdir().expect("a folder");
    let folder = format!("--cache-dir={}", cache.path().display());
    let checked = finish(in_client(&python, &["-m", "mypy", &folder])).await;
    assert!(checked.status.success(), "{}", printed(&checked));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_gets_what_the_server_says() {
    let Some(python) = python() else { return };
    let server = Server::start().await;
    let mut command = server.command(&python);
    command.args(["-m", "pytest", "-q"]).current_dir(repository().join("clients/python"));
    let tested = finish(command).await;
    assert!(tested.status.success(), "{}", printed(&tested));
    server.stop().await;
}
