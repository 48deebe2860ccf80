//! What a backup says about itself.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use cameo_domain::Sha256;
use cameo_store::backup::{Contents, DumpedTable};
use serde::{Deserialize, Serialize};

use crate::BackupError;

/// How files are laid out and written; another number for what older versions could not read.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const ANCHORS: &str = "anchors.json";
pub(crate) const SUMS: &str = "SHA256SUMS";
pub(crate) const TABLES: &str = "tables";
pub(crate) const ARTIFACTS: &str = "artifacts";

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How its files are written.
    pub format: u32,
    /// The version of Cameo that took it.
    pub cameo: String,
    /// How many rows each table has, in the order of the contents' tables.
    pub rows: Vec<TableRows>,
    /// What the database held.
    pub contents: Contents,
}

/// How many rows a table has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// With its schema.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

impl Manifest {
    /// All rows of all tables.
    #[must_use]
    pub fn rows_total(&self) -> u64 {
        self.rows.iter().map(|table| table.rows).sum()
    }

    pub(crate) fn rows_of(&self, table: &DumpedTable) -> Option<u64> {
        let name = name_of(table);
        self.rows.iter().find(|rows| rows.table == name).map(|rows| rows.rows)
    }

    /// The files that belong to it, besides the sums.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let tables = self.contents.tables.iter().map(table_file);
        let artifacts = self.contents.artifacts.iter();
        let artifacts = artifacts.map(|artifact| artifact_file(&artifact.sha256));
        tables.chain(artifacts).chain([PathBuf::from(MANIFEST), PathBuf::from(ANCHORS)]).collect()
    }
}

pub(crate) fn name_of(table: &DumpedTable) -> String {
    format!("{}.{}", table.schema, table.name)
}

pub(crate) fn table_file(table: &DumpedTable) -> PathBuf {
    Path::new(TABLES).join(format!("{}.copy.zst", name_of(table)))
}

pub(crate) fn artifact_file(hash: &Sha256) -> PathBuf {
    Path::new(ARTIFACTS).join(hash.to_string())
}

/// The digest of each file, by its path in the backup, as sha256sum(1) lists them.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<PathBuf, Sha256>);

impl Sums {
    pub(crate) fn add(&mut self, file: PathBuf, digest: Sha256) {
        self.0.insert(file, digest);
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (file, digest)| {
            let _ = writeln!(text, "{digest}  {}", file.display());
            text
        })
    }

    pub(crate) fn parse(folder: &Path, text: &str) -> Result<Self, BackupError> {
        let mut sums = Self::default();
        for line in text.lines() {
            let parsed = line.split_once("  ").and_then(|(digest, file)| {
                let file = Path::new(file);
                // What is listed lies in the backup.
                let inside =
                    file.components().all(|part| matches!(part, std::path::Component::Normal(_)));
                Some((file.to_owned(), digest.parse().ok()?)).filter(|_| inside)
            });
            let Some((file, digest)) = parsed else {
                return Err(BackupError::NotABackup {
                    folder: folder.to_owned(),
                    reason: format!("{SUMS} has a line that is no digest and path: `{line}`"),
                });
            };
            sums.add(file, digest);
        }
        Ok(sums)
    }

    pub(crate) fn of(&self, file: &Path) -> Result<Sha256, BackupError> {
        self.0.get(file).copied().ok_or_else(|| BackupError::Incomplete(file.to_owned()))
    }
}
