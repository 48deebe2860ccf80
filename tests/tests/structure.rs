//! The structure that `docs/architecture.md` describes, held to the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A file this long has more than one subject.
const FILE_LINES_MAX: usize = 1_000;
/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "helpers", "common", "misc"];

/// What a crate never imports, as in the table of `docs/architecture.md`.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("cameo-domain", &["tokio", "sqlx", "axum"]),
    ("cameo-insight", &["tokio", "sqlx", "axum"]),
    ("cameo-batch", &["tokio", "sqlx", "axum"]),
    ("cameo-checkpoint", &["tokio", "sqlx", "axum"]),
    ("cameo-priority", &["tokio", "sqlx", "axum"]),
    ("cameo-sqlmacros", &["tokio", "sqlx", "axum"]),
    ("cameo-snapshot", &["tokio", "sqlx", "axum", "hyper", "object_store"]),
    // The object store is the only network that these two know.
    ("cameo-bundle", &["sqlx", "axum", "hyper", "tonic"]),
    // It opens what strangers send.
    ("cameo-package", &["tokio", "sqlx", "axum", "hyper", "tonic", "reqwest", "object_store"]),
    ("cameo-scoring", &["sqlx", "axum", "hyper", "tonic", "reqwest", "object_store"]),
    // It holds what strangers wrote, and must not be worth breaking out of.
    (
        "cameo-isolation",
        &["tokio", "sqlx", "axum", "hyper", "tonic", "reqwest", "object_store", "cameo-store"],
    ),
    ("cameo-segment", &["tokio", "sqlx", "axum"]),
    ("cameo-openlineage", &["sqlx", "axum", "tonic"]),
    ("cameo-webhook", &["sqlx", "axum", "tonic"]),
    // It fetches the keys of an issuer, and no more.
    ("cameo-access", &["sqlx", "axum", "hyper", "tonic", "object_store"]),
    ("cameo-store", &["axum", "cameo-pipeline", "cameo-scoring"]),
    ("cameo-sealing", &["tokio", "axum", "hyper", "tonic", "reqwest", "object_store"]),
    ("cameo-pipeline", &["axum", "http", "tower-http"]),
    ("cameo-serving", &["axum", "http", "tower-http"]),
    ("cameo-erasure", &["sqlx", "axum", "http", "tower-http"]),
    ("cameo-backup", &["sqlx", "axum", "http", "tower-http", "object_store"]),
];
/// What is for programs elsewhere knows the server by its API alone.
const CLIENTS: &str = "clients";
/// The binary alone composes the services.
const COMPOSER: &str = "cameo";
/// Ways to the environment and the system clock, which these crates are handed instead.
const OUTSIDE_WORLD: [&str; 5] =
    ["std::env", "env::var", "SystemTime::now", "Instant::now", "Utc::now"];
const CLOSED_TO_THE_WORLD: [&str; 3] =
    ["platform/domain", "platform/insight", "platform/sqlmacros"];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in the workspace").to_owned()
}

/// Folder and direct, normal dependencies of each crate of the workspace.
fn crates() -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| text(&dependency["name"])).collect();
            let folder = manifest.parent().expect("a folder").to_owned();
            (text(&package["name"]), (folder, names))
        })
        .collect()
}

/// Rust files below a folder of the workspace.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn product_sources() -> Vec<PathBuf> {
    ["clients", "platform", "services"].map(|folder| sources(&root().join(folder))).concat()
}

/// Lines of code that contain one of `words`; comments do not count.
fn lines_with(file: &Path, words: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source file");
    let shown = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(number, line)| format!("{shown}:{}: {}", number + 1, line.trim()))
        .collect()
}

fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

#[test]
fn no_crate_imports_what_the_architecture_forbids() {
    let crates = crates();
    let services: BTreeSet<&str> = crates
        .iter()
        .filter(|(_, (folder, _))| folder.starts_with(root().join("services")))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(services.contains(COMPOSER), "the walk found the services: {services:?}");
    let mut breaches = Vec::new();
    for (name, (folder, dependencies)) in &crates {
        let listed = FORBIDDEN.iter().find(|(subject, _)| subject == name);
        let mut forbidden: BTreeSet<&str> =
            listed.into_iter().flat_map(|(_, names)| names.iter().copied()).collect();
        if services.contains(name.as_str()) {
            forbidden.insert("sqlx");
            if name != COMPOSER {
                forbidden.extend(&services);
            }
        } else if folder.starts_with(root().join("platform")) {
            forbidden.extend(&services);
        } else if folder.starts_with(root().join(CLIENTS)) {
            forbidden.extend(crates.keys().map(String::as_str));
        }
        let found = dependencies.iter().filter(|found| forbidden.contains(found.as_str()));
        breaches.extend(found.map(|found| format!("{name} imports {found}")));
    }
    assert_none("forbidden imports (see the table in docs/architecture.md)", &breaches);
}

#[test]
fn the_domain_is_handed_the_environment_and_the_clock() {
    let breaches: Vec<String> = CLOSED_TO_THE_WORLD
        .iter()
        .flat_map(|folder| sources(&root().join(folder).join("src")))
        .flat_map(|file| lines_with(&file, &OUTSIDE_WORLD))
        .collect();
    assert_none("these crates take the time and settings as arguments", &breaches);
}

#[test]
fn sql_is_in_the_store_alone() {
    let store = root().join("platform/store");
    let breaches: Vec<String> = product_sources()
        .iter()
        .filter(|file| !file.starts_with(&store))
        .flat_map(|file| lines_with(file, &["sqlx::query", "use sqlx"]))
        .collect();
    assert_none("SQL lives in platform/store", &breaches);
}

#[test]
fn libraries_do_not_print() {
    let breaches: Vec<String> = crates()
        .values()
        .map(|(folder, _)| folder.join("src"))
        .filter(|source| {
            source.starts_with(root().join("platform")) || !source.join("main.rs").exists()
        })
        .flat_map(|source| sources(&source))
        .flat_map(|file| lines_with(&file, &["println!(", "print!(", "dbg!("]))
        .collect();
    assert_none("libraries report through results and tracing", &breaches);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let breaches: Vec<String> = product_sources()
        .iter()
        .filter_map(|file| {
            let lines = fs::read_to_string(file).expect("a source file").lines().count();
            (lines > FILE_LINES_MAX).then(|| format!("{} has {lines} lines", file.display()))
        })
        .collect();
    assert_none("split what is longer than 1,000 lines", &breaches);
}

#[test]
fn every_file_is_named_for_what_it_holds() {
    let breaches: Vec<String> = product_sources()
        .iter()
        .filter(|file| {
            let path = file.strip_prefix(root()).unwrap_or(file);
            path.with_extension("").iter().any(|part| EMPTY_NAMES.iter().any(|name| part == *name))
        })
        .map(|file| file.display().to_string())
        .collect();
    assert_none("a name says what is inside", &breaches);
}
