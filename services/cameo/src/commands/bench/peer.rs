//! `tests/peers/scoring_peer.py` as a process that takes turns with this one.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A running peer; it ends with its standard input.
pub(super) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    versions: Value,
}

/// Rows that were worked off, and what that took.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Work {
    pub(super) rows: u64,
    pub(super) cpu_seconds: f64,
    pub(super) wall_seconds: f64,
}

#[derive(Deserialize)]
struct Loaded {
    native: bool,
}

#[derive(Deserialize)]
struct Covers {
    trees: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Outputs {
    scores: Vec<f64>,
}

impl Peer {
    pub(super) fn start(python: &Path, script: &Path, models: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(python)
            .args([script, models])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {}", python.display()))?;
        let requests = child.stdin.take().context("the peer has no standard input")?;
        let answers =
            BufReader::new(child.stdout.take().context("the peer has no standard output")?);
        let mut peer = Self { child, requests, answers, versions: Value::Null };
        peer.versions = peer.answer()?;
        Ok(peer)
    }

    /// A library of the peer with its version.
    pub(super) fn version(&self, library: &str) -> String {
        format!("{library} {}", self.versions[library].as_str().unwrap_or("of unknown version"))
    }

    /// Makes a model the one that is measured; whether its own library is there as well.
    pub(super) fn load(&mut self, model: &str, threads: usize) -> anyhow::Result<bool> {
        let loaded: Loaded =
            self.ask(&json!({"do": "load", "model": model, "threads": threads}))?;
        Ok(loaded.native)
    }

    /// Scores with ONNX Runtime, or with the model's own library, for so many CPU seconds.
    pub(super) fn score(
        &mut self,
        native: bool,
        batch_rows: usize,
        cpu_seconds: f64,
    ) -> anyhow::Result<Work> {
        let with = if native { "native" } else { "onnxruntime" };
        self.ask(&json!({"do": "score", "with": with, "batch": batch_rows, "seconds": cpu_seconds}))
    }

    /// ONNX Runtime's last output column for the first rows.
    pub(super) fn outputs(&mut self, rows: usize) -> anyhow::Result<Vec<f64>> {
        Ok(self.ask::<Outputs>(&json!({"do": "outputs", "rows": rows}))?.scores)
    }

    /// The library's own contributions of the first rows, base value last, and what they took.
    pub(super) fn contributions(&mut self, rows: usize) -> anyhow::Result<(Work, Vec<f64>)> {
        let file = tempfile::NamedTempFile::new()?;
        let work = self.ask(&json!({"do": "explain", "rows": rows, "to": file.path()}))?;
        let bytes = std::fs::read(file.path())?;
        let (values, _) = bytes.as_chunks::<8>();
        Ok((work, values.iter().map(|value| f64::from_le_bytes(*value)).collect()))
    }

    /// Training rows (or weights) by tree and node, in preorder with the true branch first.
    pub(super) fn covers(&mut self) -> anyhow::Result<Vec<Vec<f64>>> {
        Ok(self.ask::<Covers>(&json!({"do": "covers"}))?.trees)
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> anyhow::Result<T> {
        writeln!(self.requests, "{request}").context("the peer has ended")?;
        Ok(serde_json::from_value(self.answer()?)?)
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!(
                "the peer ended with {}; its own message is above, and tests/peers/requirements.txt \
                 lists the packages that it needs",
                self.child.wait()?
            );
        }
        serde_json::from_str(&line).with_context(|| format!("the peer answered {line}"))
    }
}
