//! A table as tenants see it: in GoogleSQL's types.
//!
//! GoogleSQL has one integer (64 bits), one float (64 bits) and one TIMESTAMP (UTC). Narrower columns
//! are widened here, so that no sum or product overflows earlier than in BigQuery, and a timestamp
//! with a zone becomes the UTC timestamp that the rewritten SQL works on.

use super::tables::{Format, Table};
use crate::{
    MirrorTable, WarehouseError,
    engine::{Engine, quote_name},
    error::from_duckdb,
};

/// Makes the view `"dataset"."table"`.
pub(super) fn create(engine: &Engine, table: &Table) -> Result<(), WarehouseError> {
    let source = match table.format {
        Format::Parquet => format!("read_parquet({}, union_by_name = true)", table.list()),
        Format::Csv => format!("read_csv({}, header = true, sample_size = -1)", table.list()),
        Format::Mirror => format!(
            "(SELECT * EXCLUDE (filename), CAST(regexp_extract(filename, \
             'generation=(\\d+)\\.parquet$', 1) AS BIGINT) AS {} \
             FROM read_parquet({}, union_by_name = true, filename = true))",
            MirrorTable::GENERATION_COLUMN,
            table.list()
        ),
    };
    let columns = columns(engine, &source)?;
    let selected = columns.iter().map(|(name, found)| column(name, found)).collect::<Vec<_>>();
    let (dataset, name) = (quote_name(&table.dataset), quote_name(&table.name));
    engine.execute(&format!(
        "CREATE SCHEMA IF NOT EXISTS {dataset}; CREATE VIEW {dataset}.{name} AS SELECT {} FROM {source}",
        selected.join(", ")
    ))
}

fn columns(engine: &Engine, source: &str) -> Result<Vec<(String, String)>, WarehouseError> {
    let mut statement = engine
        .connection()
        .prepare(&format!("DESCRIBE SELECT * FROM {source}"))
        .map_err(|error| from_duckdb(&error))?;
    let columns = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| from_duckdb(&error))?;
    columns.collect::<Result<_, _>>().map_err(|error| from_duckdb(&error))
}

fn column(name: &str, found: &str) -> String {
    let quoted = quote_name(name);
    if found == "TIMESTAMP WITH TIME ZONE" {
        // Both hold microseconds of UTC; a cast would go through the calendar library.
        return format!("make_timestamp(epoch_us({quoted})) AS {quoted}");
    }
    let wanted = widened(found);
    if wanted == found { quoted } else { format!("CAST({quoted} AS {wanted}) AS {quoted}") }
}

/// The type with every part of it widened, such as `STRUCT(qty INTEGER)[]` to `STRUCT(qty BIGINT)[]`.
fn widened(found: &str) -> String {
    let mut wanted = String::with_capacity(found.len());
    let mut rest = found;
    let mut name_next = false;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |at| at + 2),
            c if c.is_ascii_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        match token {
            "(" => name_next = wanted.ends_with("STRUCT"),
            // After a comma comes the next field's name, or the scale of a DECIMAL, a number.
            "," => name_next = true,
            " " => {}
            _ if name_next => name_next = false,
            _ => {
                let (token, after) = widened_token(token, rest);
                wanted.push_str(token);
                rest = after;
                continue;
            }
        }
        wanted.push_str(token);
    }
    wanted
}

fn widened_token<'a>(token: &'a str, rest: &'a str) -> (&'a str, &'a str) {
    match token {
        "TINYINT" | "SMALLINT" | "INTEGER" | "UTINYINT" | "USMALLINT" | "UINTEGER" | "UBIGINT" => {
            ("BIGINT", rest)
        }
        "FLOAT" => ("DOUBLE", rest),
        "TIMESTAMP_S" | "TIMESTAMP_MS" | "TIMESTAMP_NS" => ("TIMESTAMP", rest),
        "TIMESTAMP" => ("TIMESTAMP", rest.strip_prefix(" WITH TIME ZONE").unwrap_or(rest)),
        "UUID" => ("VARCHAR", rest),
        other => (other, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::widened;

    #[test]
    fn every_part_of_a_type_is_widened_but_names_and_decimals_stay() {
        for (found, wanted) in [
            ("INTEGER", "BIGINT"),
            ("DECIMAL(18,2)", "DECIMAL(18,2)"),
            (
                "STRUCT(sku VARCHAR, \"qty, x\" INTEGER, price FLOAT)[]",
                "STRUCT(sku VARCHAR, \"qty, x\" BIGINT, price DOUBLE)[]",
            ),
            ("STRUCT(integer INTEGER)", "STRUCT(integer BIGINT)"),
            ("TIMESTAMP WITH TIME ZONE[]", "TIMESTAMP[]"),
            ("VARCHAR", "VARCHAR"),
        ] {
            assert_eq!(widened(found), wanted);
        }
    }
}
