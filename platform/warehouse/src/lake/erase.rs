//! Removing customers from the lake's copies.

use std::{collections::HashMap, io::ErrorKind};

use cameo_domain::{ColumnName, Key};

use super::{
    Lake,
    mirror::{MEMORY_BYTES, Place, STAGED_PREFIX, STAGING, digest_of, stored, unreadable, write},
};
use crate::{
    Erased, WarehouseError,
    engine::{Engine, quote_name, quote_text, text},
};

/// Removes the rows of `keys` from a copy. A copy without any is not touched.
pub(super) fn erase(
    lake: &Lake,
    place: &Place,
    key_column: &ColumnName,
    keys: &[Key],
) -> Result<Erased, WarehouseError> {
    remove_staged(place)?;
    let nothing = Erased { rows: vec![0; keys.len()], copy: None };
    if !place.file.is_file() || keys.is_empty() {
        return Ok(nothing);
    }
    let engine = lake.engine(MEMORY_BYTES.min(lake.limits.memory_bytes), lake.limits.threads)?;
    let column = quote_name(key_column.as_str());
    let wanted: Vec<String> = keys.iter().map(literal).collect();
    let wanted = wanted.join(", ");
    let file = format!("read_parquet({})", text(&place.file));
    let found = count(&engine, place, &file, &column, &wanted)?;
    let rows = keys.iter().map(|key| found.get(&key.to_string()).copied().unwrap_or_default());
    let rows: Vec<u64> = rows.collect();
    if rows.iter().all(|rows| *rows == 0) {
        return Ok(nothing);
    }
    let stored = stored(&engine, place)?.ok_or_else(|| {
        WarehouseError::Corrupt(format!(
            "{} does not say which load it is of; the mirror must load the generation again",
            place.file.display()
        ))
    })?;
    engine.execute(&format!(
        "CREATE VIEW {STAGING} AS SELECT * FROM {file} WHERE {column} NOT IN ({wanted})"
    ))?;
    let left = digest_of(&engine, place, STAGING)?;
    write(&engine, place, &stored.load, left)?;
    Ok(Erased { rows, copy: Some(digest_of(&engine, place, &file)?) })
}

fn literal(key: &Key) -> String {
    match key {
        Key::Int(number) => number.to_string(),
        Key::String(text) => quote_text(text),
    }
}

/// How many rows of each of the keys there are, by the key's text.
fn count(
    engine: &Engine,
    place: &Place,
    file: &str,
    column: &str,
    wanted: &str,
) -> Result<HashMap<String, u64>, WarehouseError> {
    let broken = |error| unreadable(place, &error);
    let sql = format!(
        "SELECT {column}::VARCHAR, count(*) FROM {file} WHERE {column} IN ({wanted}) GROUP BY 1"
    );
    let mut statement = engine.connection().prepare(&sql).map_err(broken)?;
    statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))
        .and_then(Iterator::collect)
        .map_err(broken)
}

/// Removes files that a load has left behind: it was killed before it could rename or remove them.
fn remove_staged(place: &Place) -> Result<(), WarehouseError> {
    let failed = |error: std::io::Error| WarehouseError::io("clean", &place.folder, &error);
    let entries = match std::fs::read_dir(&place.folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(STAGED_PREFIX) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}
