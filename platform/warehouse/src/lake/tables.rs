//! Which files a table is.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::{
    MirrorTable, SqlError, TableStats, WarehouseError,
    engine::{Engine, text},
    error::from_duckdb,
    googlesql::{TableName, nearest},
};

/// Most files of one table.
const FILES_MAX: usize = 10_000;

/// How a table is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    Csv,
    /// Parquet, one file per generation.
    Mirror,
}

/// A file as it was when the query was prepared.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified_at: Option<DateTime<Utc>>,
}

/// A table and its files, sorted by path.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) dataset: String,
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) files: Vec<File>,
}

impl Table {
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.dataset, self.name)
    }

    /// The files as a DuckDB list.
    pub(super) fn list(&self) -> String {
        let files = self.files.iter().map(|file| text(&file.path)).collect::<Vec<_>>();
        format!("[{}]", files.join(", "))
    }

    pub(super) fn stats(&self, engine: &Engine) -> Result<TableStats, WarehouseError> {
        let rows = match self.format {
            Format::Csv => None,
            Format::Parquet | Format::Mirror => {
                let sql = format!(
                    "SELECT CAST(sum(num_rows) AS BIGINT) FROM parquet_file_metadata({})",
                    self.list()
                );
                let rows: i64 = engine
                    .connection()
                    .query_row(&sql, [], |row| row.get(0))
                    .map_err(|error| from_duckdb(&error))?;
                u64::try_from(rows).ok()
            }
        };
        Ok(TableStats {
            name: self.name(),
            rows,
            bytes: Some(self.files.iter().map(|file| file.bytes).sum()),
            modified_at: self.files.iter().filter_map(|file| file.modified_at).max(),
        })
    }
}

/// Finds the files of a table in a tenant's folder.
pub(super) fn locate(root: &Path, name: &TableName) -> Result<Table, WarehouseError> {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if !plain(&name.dataset) || !plain(&name.table) {
        return Err(refuse(name, "expected letters, digits, `_` and `-`"));
    }
    let dataset = root.join(&name.dataset);
    let single = |extension: &str| dataset.join(format!("{}.{extension}", name.table));
    let (format, paths) = if single("parquet").is_file() {
        (Format::Parquet, vec![single("parquet")])
    } else if single("csv").is_file() {
        (Format::Csv, vec![single("csv")])
    } else {
        let format =
            if name.dataset == MirrorTable::DATASET { Format::Mirror } else { Format::Parquet };
        (format, parquet_files(&dataset.join(&name.table)))
    };
    if paths.is_empty() {
        return Err(refuse(name, &unknown(root, name)));
    }
    if paths.len() > FILES_MAX {
        return Err(refuse(name, &format!("it has {} files; at most {FILES_MAX}", paths.len())));
    }
    let files = paths.iter().map(|path| inspect(root, path)).collect::<Result<_, _>>()?;
    Ok(Table { dataset: name.dataset.clone(), name: name.table.clone(), format, files })
}

/// Size and time of a file, by its real path: a link that leaves the tenant's folder is refused.
fn inspect(root: &Path, path: &Path) -> Result<File, WarehouseError> {
    let io = |error| WarehouseError::io("read", path, &error);
    let real = path.canonicalize().map_err(io)?;
    if !real.starts_with(root) {
        return Err(WarehouseError::Denied(format!(
            "{} leads out of the tenant's folder; replace the link by the file",
            path.display()
        )));
    }
    let metadata = real.metadata().map_err(io)?;
    let modified_at = metadata.modified().ok().map(DateTime::<Utc>::from);
    Ok(File { path: real, bytes: metadata.len(), modified_at })
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = names(folder)
        .into_iter()
        .filter(|name| name.ends_with(".parquet") && !name.starts_with('.'))
        .map(|name| folder.join(name))
        .collect();
    files.sort();
    files
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn unknown(root: &Path, name: &TableName) -> String {
    let tables = names(root).into_iter().flat_map(|dataset| {
        names(&root.join(&dataset)).into_iter().filter_map(move |table| {
            let table =
                table.strip_suffix(".parquet").or(table.strip_suffix(".csv")).unwrap_or(&table);
            // What still has a dot is hidden, half written or no table, such as README.md.
            (!table.contains('.')).then(|| format!("{dataset}.{table}"))
        })
    });
    let tables: Vec<_> = tables.collect();
    let wanted = format!("{}.{}", name.dataset, name.table);
    match nearest(&wanted, tables.iter().map(String::as_str)) {
        Some(near) => format!("no such table in the lake; did you mean `{near}`?"),
        None => "no such table in the lake: expected <tenant>/<dataset>/<table>.parquet, .csv or \
                 a folder of Parquet files"
            .to_owned(),
    }
}

fn refuse(name: &TableName, why: &str) -> WarehouseError {
    let full = format!("{}.{}", name.dataset, name.table);
    SqlError {
        message: format!("table `{full}`: {why}"),
        line: Some(name.line),
        column: Some(name.column),
        name: Some(full),
        help: None,
    }
    .into()
}
