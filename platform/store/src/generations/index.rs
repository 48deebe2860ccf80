//! The index on what names a row.

use cameo_domain::{DataType, PredictionSchema};

use super::{SMALL_ROWS_MAX, Table};
use crate::row::{quoted, quoted_list};

/// Predictions of at most so many bytes are kept in the index as well: a look-up then reads no page of the table.
const COVERED_BYTES_MAX: usize = 64;

/// What follows `create unique index`: its name, its table, the columns that name a row, and those that it covers.
pub(crate) fn definition<'n>(
    table: &Table,
    key: impl IntoIterator<Item = &'n str>,
    covered: impl IntoIterator<Item = &'n str>,
) -> String {
    let index = quoted(&format!("{}_key", table.name));
    let (on, key, covered) = (table.sql(), quoted_list(key), quoted_list(covered));
    let covered = if covered.is_empty() { String::new() } else { format!(" include ({covered})") };
    format!("{index} on {on} ({key}){covered}")
}

/// The [`definition`] for a generation of so many rows: on the key, and on the rank of a service that ranks. Where the
/// other columns are small, and it is large enough for that to matter, they are covered.
pub(super) fn definition_for(table: &Table, schema: &PredictionSchema, rows: u64) -> String {
    let key: Vec<&str> = schema.identity().map(|column| column.name.as_str()).collect();
    let others = || schema.columns().filter(|column| !key.contains(&column.name.as_str()));
    let bytes: Option<usize> = others().map(|column| width(column.data_type)).sum();
    let is_covered = rows > SMALL_ROWS_MAX && bytes.is_some_and(|bytes| bytes <= COVERED_BYTES_MAX);
    let covered = others().filter(|_| is_covered).map(|column| column.name.as_str());
    definition(table, key.iter().copied(), covered)
}

/// Gathers statistics for SQL users, because autovacuum is off for the table; of a large one it also marks which pages
/// everybody may see, without which an index alone answers nothing.
pub(super) fn settle_sql(table: &Table, rows: u64) -> String {
    if rows > SMALL_ROWS_MAX {
        format!("vacuum (analyze, truncate off) {}", table.sql())
    } else {
        format!("analyze {}", table.sql())
    }
}

/// The bytes of a value in a row; none where they vary.
fn width(data_type: DataType) -> Option<usize> {
    match data_type {
        DataType::Int | DataType::Float64 | DataType::Timestamp => Some(8),
        DataType::Date => Some(4),
        DataType::Bool => Some(1),
        DataType::String | DataType::Json => None,
    }
}

#[cfg(test)]
mod tests {
    use cameo_domain::Column;

    use super::*;

    fn of(rows: u64, columns: &[(&str, DataType)]) -> String {
        let columns = columns.iter().map(|(name, data_type)| Column {
            name: name.parse().expect("a column name"),
            data_type: *data_type,
        });
        let schema = PredictionSchema::new(columns.collect()).expect("a schema");
        let table = Table { schema: "tenant_crm".to_owned(), name: "clv_g7".to_owned() };
        definition_for(&table, &schema, rows)
    }

    fn sql(columns: &[(&str, DataType)]) -> String {
        of(SMALL_ROWS_MAX + 1, columns)
    }

    #[test]
    fn small_predictions_of_large_generations_are_covered_and_others_are_not() {
        let create = "\"clv_g7_key\" on \"tenant_crm\".\"clv_g7\" (\"id\")";
        let key = ("id", DataType::String);
        let covered = sql(&[key, ("score", DataType::Float64), ("likely", DataType::Bool)]);
        assert_eq!(covered, format!("{create} include (\"score\", \"likely\")"));
        for wide in [DataType::String, DataType::Json] {
            assert_eq!(sql(&[key, ("score", DataType::Float64), ("tier", wide)]), create);
        }
        assert_eq!(of(SMALL_ROWS_MAX, &[key, ("score", DataType::Float64)]), create);
        let names: Vec<String> = (0..9).map(|number| format!("score_{number}")).collect();
        let many = names.iter().map(|name| (name.as_str(), DataType::Float64));
        assert_eq!(sql(&[key].into_iter().chain(many).collect::<Vec<_>>()), create);
    }
}
