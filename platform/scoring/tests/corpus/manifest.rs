//! The corpus on disk: what `export.py` writes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use serde::Deserialize;

/// Set to the folder of a corpus, for example one of another seed.
const FOLDER_VARIABLE: &str = "CAMEO_CORPUS_DIR";
/// Makes the corpus, or with `--where` says where it would lie.
const GENERATE: &str = "platform/scoring/tests/corpus/generate";

/// `manifest.json`.
#[derive(Deserialize)]
pub(crate) struct Manifest {
    pub(crate) seed: u64,
    rows: usize,
    tables: HashMap<String, Vec<Column>>,
    pub(crate) cases: Vec<Case>,
    /// Estimators of skl2onnx without a case, with the reason.
    pub(crate) without_case: BTreeMap<String, String>,
    /// Estimators of skl2onnx with neither.
    pub(crate) uncovered: Vec<String>,
}

/// One export.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) what: String,
    /// Part of the message with which Cameo has to refuse the model.
    pub(crate) refused: Option<String>,
    /// What the exporter or ONNX Runtime said when it failed.
    pub(crate) failure: Option<String>,
    /// Part of what it has to say.
    pub(crate) expected_failure: Option<String>,
    pub(crate) operators: Vec<String>,
    table: Option<String>,
    features: Vec<String>,
    pub(crate) batches: Vec<Reference>,
}

/// Outputs for the first rows of the case's table.
#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Column>,
}

/// A column of a file of columns.
#[derive(Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    words: Vec<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Float32,
    Float64,
    Int64,
    Bool,
    String,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Float64 | Self::Int64 => 8,
            Self::Float32 | Self::String => 4,
            Self::Bool => 1,
        }
    }
}

/// A corpus whose tables are read.
pub(crate) struct Corpus {
    folder: PathBuf,
    pub(crate) manifest: Manifest,
    tables: HashMap<String, RecordBatch>,
}

impl Corpus {
    /// Reads the corpus that was made from the scripts as they are now.
    pub(crate) fn read() -> Self {
        let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(current_folder, PathBuf::from);
        let file = folder.join("manifest.json");
        let text = std::fs::read(&file).unwrap_or_else(|error| {
            panic!(
                "no corpus at {} ({error}); make it with `{GENERATE}`, or run the tests with `tests/run`",
                file.display()
            )
        });
        let manifest: Manifest = serde_json::from_slice(&text).expect("a manifest of export.py");
        let tables = manifest
            .tables
            .iter()
            .map(|(name, columns)| {
                let data = read(&folder.join("tables").join(format!("{name}.bin")));
                (name.clone(), batch(columns, manifest.rows, &mut &*data))
            })
            .collect();
        Self { folder, manifest, tables }
    }

    pub(crate) fn model(&self, case: &Case) -> Vec<u8> {
        read(&self.folder.join("models").join(format!("{}.onnx", case.name)))
    }

    /// The features of a case, as its query would give them.
    pub(crate) fn features(&self, case: &Case) -> RecordBatch {
        let table = &self.tables[case.table.as_ref().expect("an exported case has a table")];
        let columns = case.features.iter().map(|name| {
            (name, ArrayRef::clone(table.column_by_name(name).expect("a column of the table")))
        });
        RecordBatch::try_from_iter(columns).expect("columns of equal length")
    }

    /// What each batch of a case has to give.
    pub(crate) fn references(&self, case: &Case) -> Vec<RecordBatch> {
        let data = read(&self.folder.join("references").join(format!("{}.bin", case.name)));
        let mut rest = &*data;
        let batches: Vec<RecordBatch> = case
            .batches
            .iter()
            .map(|reference| batch(&reference.columns, reference.rows, &mut rest))
            .collect();
        assert!(rest.is_empty(), "{}: more references than the manifest lists", case.name);
        batches
    }
}

fn current_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let said = Command::new(root.join(GENERATE)).arg("--where").output().expect("bash is there");
    assert!(said.status.success(), "{GENERATE}: {}", String::from_utf8_lossy(&said.stderr));
    PathBuf::from(String::from_utf8(said.stdout).expect("a path in UTF-8").trim_end())
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Takes the columns of a batch off the front of `data`.
fn batch(columns: &[Column], rows: usize, data: &mut &[u8]) -> RecordBatch {
    let columns = columns.iter().map(|column| {
        let (values, rest) = data.split_at(rows * column.kind.bytes());
        *data = rest;
        (column.name.as_str(), array(column, values))
    });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).expect("columns of equal length")
}

fn array(column: &Column, data: &[u8]) -> ArrayRef {
    let (fours, eights) = (data.as_chunks::<4>().0.iter(), data.as_chunks::<8>().0.iter());
    match column.kind {
        Kind::Float32 => {
            Arc::new(fours.map(|bytes| f32::from_le_bytes(*bytes)).collect::<Float32Array>())
        }
        Kind::Float64 => {
            Arc::new(eights.map(|bytes| f64::from_le_bytes(*bytes)).collect::<Float64Array>())
        }
        Kind::Int64 => {
            Arc::new(eights.map(|bytes| i64::from_le_bytes(*bytes)).collect::<Int64Array>())
        }
        Kind::Bool => Arc::new(data.iter().map(|byte| Some(*byte != 0)).collect::<BooleanArray>()),
        Kind::String => {
            let word = |bytes: &[u8; 4]| &column.words[u32::from_le_bytes(*bytes) as usize];
            Arc::new(StringArray::from_iter_values(fours.map(word)))
        }
    }
}
