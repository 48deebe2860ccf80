//! The commands that pipelines and pages show are commands of this binary.

use std::{fs, path::Path};

use clap::{CommandFactory, Parser};
use serde_json::Value;

use crate::cli::Cli;

/// What a pipeline's variables hold.
const VARIABLES: [(&str, &str); 1] = [("$CAMEO_SERVER", "http://127.0.0.1:8080")];

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(file)).expect("a text file of the repository")
}

/// Every text anywhere in a document.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => vec![],
    }
}

/// The commands among lines of a shell, without redirections and what follows them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("$ "));
    lines
        .filter(|line| line.starts_with("cameo "))
        .map(|line| {
            let words = line.split_whitespace();
            let words = words.take_while(|word| !matches!(*word, ">" | "|" | "||" | "&&" | "#"));
            let value =
                |word: &str| VARIABLES.iter().find(|known| known.0 == word).map(|known| known.1);
            words
                .map(|word| word.trim_matches('"'))
                .map(|word| value(word).unwrap_or(word).to_owned())
                .collect()
        })
        .collect()
}

fn assert_parses(words: &[String], file: &str) {
    if let Err(error) = Cli::try_parse_from(words) {
        panic!("{file}: {}: {error}", words.join(" "));
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_pipelines_exists() {
    for file in ["deploy/ci/github/cameo.yml", "deploy/ci/gitlab/cameo.gitlab-ci.yml"] {
        let document: Value = serde_saphyr::from_str(&read(file)).expect(file);
        let found: Vec<_> = texts(&document).into_iter().flat_map(commands).collect();
        for wanted in ["check", "plan", "apply"] {
            assert!(found.iter().any(|words| words[1] == wanted), "{file} has no `cameo {wanted}`");
        }
        for words in &found {
            assert_parses(words, file);
        }
    }
}

#[test]
fn every_command_of_the_pages_exists() {
    for file in ["docs/ci.md", "docs/tutorial.md"] {
        let found = commands(&read(file));
        assert!(!found.is_empty(), "{file} shows no command");
        for words in &found {
            assert_parses(words, file);
        }
    }
}
