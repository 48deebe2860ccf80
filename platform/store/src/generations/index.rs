//! The index on what names a row.

use cameo_domain::{Column, DataType, PredictionSchema};

use super::{SMALL_ROWS_MAX, Table};
use crate::row::quoted;

/// Predictions of at most so many bytes are kept in the index as well: a look-up then reads no page of the table.
const COVERED_BYTES_MAX: usize = 64;

/// The statement that makes the unique index on what names a row: the key, and the rank of a service that ranks. It
/// covers the other columns where all of them are small.
pub(super) fn create_sql(table: &Table, schema: &PredictionSchema, unless_there: bool) -> String {
    let names = |columns: &[&Column]| -> String {
        columns.iter().map(|column| quoted(column.name.as_str())).collect::<Vec<_>>().join(", ")
    };
    let identity: Vec<&Column> = schema.identity().collect();
    let others: Vec<&Column> = schema
        .columns()
        .filter(|column| !identity.iter().any(|id| id.name == column.name))
        .collect();
    let bytes: Option<usize> = others.iter().map(|column| width(column.data_type)).sum();
    let covered = match bytes {
        Some(1..=COVERED_BYTES_MAX) => format!(" include ({})", names(&others)),
        _ => String::new(),
    };
    let unless_there = if unless_there { "if not exists " } else { "" };
    format!(
        "create unique index {unless_there}{} on {} ({}){covered}",
        quoted(&format!("{}_key", table.name)),
        table.sql(),
        names(&identity),
    )
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
    use super::*;

    fn sql(columns: &[(&str, DataType)]) -> String {
        let columns = columns.iter().map(|(name, data_type)| Column {
            name: name.parse().expect("a column name"),
            data_type: *data_type,
        });
        let schema = PredictionSchema::new(columns.collect()).expect("a schema");
        let table = Table { schema: "tenant_crm".to_owned(), name: "clv_g7".to_owned() };
        create_sql(&table, &schema, false)
    }

    #[test]
    fn small_predictions_are_covered_and_others_are_not() {
        let create = "create unique index \"clv_g7_key\" on \"tenant_crm\".\"clv_g7\" (\"id\")";
        let key = ("id", DataType::String);
        let covered = sql(&[key, ("score", DataType::Float64), ("likely", DataType::Bool)]);
        assert_eq!(covered, format!("{create} include (\"score\", \"likely\")"));
        for wide in [DataType::String, DataType::Json] {
            assert_eq!(sql(&[key, ("score", DataType::Float64), ("tier", wide)]), create);
        }
        let names: Vec<String> = (0..9).map(|number| format!("score_{number}")).collect();
        let many = names.iter().map(|name| (name.as_str(), DataType::Float64));
        assert_eq!(sql(&[key].into_iter().chain(many).collect::<Vec<_>>()), create);
    }
}
