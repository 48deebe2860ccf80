//! The models of `tests/peers/scoring_models.py` with their rows, as Arrow columns.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, bail};
use arrow::{
    array::{ArrayRef, AsArray, Float32Array, RecordBatch},
    datatypes::{Float32Type, SchemaRef},
};
use cameo_scoring::RowValue;
use serde::Deserialize;

/// File that lists the models of a folder.
const LIST: &str = "models.json";

/// A model as `models.json` lists it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    /// What a table calls it.
    pub(super) title: String,
    /// Features.
    pub(super) width: usize,
    /// What trained it, `None` for a network made by hand.
    pub(super) library: Option<String>,
    /// File in that library's own format.
    pub(super) native: Option<String>,
}

/// A model with rows to score.
pub(super) struct Measurable {
    pub(super) listed: Listed,
    pub(super) model: Vec<u8>,
    pub(super) rows: RecordBatch,
}

impl Measurable {
    pub(super) fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The first rows, value by value.
    pub(super) fn values(&self, rows: usize) -> Vec<Vec<RowValue<'static>>> {
        let value = |row: usize| {
            move |column: &ArrayRef| {
                RowValue::Number(column.as_primitive::<Float32Type>().value(row).into())
            }
        };
        (0..rows).map(|row| self.rows.columns().iter().map(value(row)).collect()).collect()
    }

    /// The rows in batches of equal size.
    pub(super) fn batches(&self, batch_rows: usize) -> Vec<RecordBatch> {
        (0..self.rows.num_rows() / batch_rows)
            .map(|index| self.rows.slice(index * batch_rows, batch_rows))
            .collect()
    }
}

/// The models of `folder`, which the script makes with `python` where they are missing.
pub(super) fn prepare(
    folder: &Path,
    script: &Path,
    python: Option<&Path>,
) -> anyhow::Result<Vec<Measurable>> {
    let list = folder.join(LIST);
    if !list.exists() {
        let Some(python) = python else {
            bail!(
                "{} is not there; name a Python with --peer, which makes it, or run {} {}",
                list.display(),
                script.display(),
                folder.display()
            );
        };
        let made = Command::new(python)
            .args([script, folder])
            .output()
            .with_context(|| format!("could not start {}", python.display()))?;
        if !made.status.success() {
            bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&made.stderr));
        }
    }
    let text =
        std::fs::read(&list).with_context(|| format!("could not read {}", list.display()))?;
    let listed: Vec<Listed> = serde_json::from_slice(&text)
        .with_context(|| format!("{} lists no models; delete the folder", list.display()))?;
    listed.into_iter().map(|listed| load(folder, listed)).collect()
}

fn load(folder: &Path, listed: Listed) -> anyhow::Result<Measurable> {
    let read = |extension: &str| -> anyhow::Result<Vec<u8>> {
        let file: PathBuf = folder.join(format!("{}.{extension}", listed.name));
        std::fs::read(&file).with_context(|| format!("could not read {}", file.display()))
    };
    let model = read("onnx")?;
    let bytes = read("f32")?;
    let (values, _) = bytes.as_chunks::<4>();
    let columns = (0..listed.width).map(|index| {
        let column = values.iter().skip(index).step_by(listed.width);
        let column: Float32Array = column.map(|value| f32::from_le_bytes(*value)).collect();
        (format!("f{index}"), Arc::new(column) as ArrayRef)
    });
    let rows = RecordBatch::try_from_iter(columns)
        .with_context(|| format!("the rows of {} are damaged; delete the folder", listed.name))?;
    Ok(Measurable { listed, model, rows })
}
