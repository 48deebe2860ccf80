//! What the store offers, from its source: so that nothing that is new is forgotten.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../platform/store/src");

/// Every public async function of the store, such as `runs::lease::heartbeat`.
pub(crate) fn public_async_functions() -> BTreeSet<String> {
    let root = PathBuf::from(SOURCE);
    let mut found = BTreeSet::new();
    for file in files(&root) {
        let module = file.strip_prefix(&root).expect("a file of the store").with_extension("");
        let module: Vec<_> = module
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .filter(|part| part != "mod")
            .collect();
        let text = fs::read_to_string(&file).expect("a file of the store");
        for function in functions(&text) {
            found.insert(format!("{}::{function}", module.join("::")));
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the store");
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// `name` of a free function, `Type::name` of a method.
fn functions(text: &str) -> Vec<String> {
    let mut of = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if line == "}" {
            of = None;
        } else if let Some(rest) = line.strip_prefix("impl") {
            let subject = rest.rsplit(" for ").next().unwrap_or(rest);
            let subject = subject.trim_start_matches(|c| c != ' ').trim();
            of = subject.split(['<', ' ']).next().map(str::to_owned);
        } else if let Some((_, rest)) = line.split_once("pub async fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            found.push(of.as_ref().map_or(name.to_owned(), |of| format!("{of}::{name}")));
        }
    }
    found
}
