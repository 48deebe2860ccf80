//! From a batch to converted columns, without the rows that cannot be scored.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::filter;
use serde::{Deserialize, Serialize};

use crate::bind::BoundColumn;
use crate::columns;
use crate::error::ScoreError;
use crate::signature::PortKind;

/// A row that cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Index in the batch.
    pub row: usize,
    /// Feature column that is unusable.
    pub column: String,
    /// Why, and what to do.
    pub reason: String,
}

/// How an engine reads columns of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strings {
    /// One string per row.
    Plain,
    /// As the batch has them, dictionaries included.
    AsGiven,
}

/// Converts the bound columns and leaves out the rows that cannot be scored.
pub(crate) fn accept<'a>(
    columns: impl Iterator<Item = &'a BoundColumn>,
    features: &RecordBatch,
    strings: Strings,
) -> Result<(Vec<ArrayRef>, Vec<Rejected>), ScoreError> {
    let rows = features.num_rows();
    let mut accepted = Vec::new();
    let mut rejected: Vec<Rejected> = Vec::new();
    let mut keep: Option<Vec<bool>> = None;
    for bound in columns {
        let given = find(features, bound)?;
        let column = match (bound.kind, strings) {
            (PortKind::String, Strings::AsGiven) => ArrayRef::clone(given),
            _ => columns::convert(given, bound.kind)?,
        };
        // A dictionary may hold its null among the values.
        let column = match (&bound.default, column.is_nullable()) {
            (Some(default), true) => match given.logical_nulls() {
                Some(given) if given.null_count() > 0 => default.fill(&column, &given)?,
                _ => column,
            },
            _ => column,
        };
        if !bound.kind.is_float()
            && column.is_nullable()
            && let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0)
        {
            let given = given.logical_nulls();
            let was_null =
                |row| given.as_ref().is_some_and(|given: &NullBuffer| given.is_null(row));
            let keep = keep.get_or_insert_with(|| vec![true; rows]);
            for row in (0..rows).filter(|row| nulls.is_null(*row)) {
                if std::mem::replace(&mut keep[row], false) {
                    rejected.push(Rejected {
                        row,
                        column: bound.name.clone(),
                        reason: reason(was_null(row), bound.kind),
                    });
                }
            }
        }
        accepted.push(column);
    }
    if let Some(keep) = keep {
        let keep = BooleanArray::from(keep);
        accepted = accepted.iter().map(|column| filter(column, &keep)).collect::<Result<_, _>>()?;
        rejected.sort_by_key(|rejected| rejected.row);
    }
    Ok((accepted, rejected))
}

pub(crate) fn reason(null: bool, kind: PortKind) -> String {
    if null {
        format!(
            "it is null and the model wants {kind}; give it a default (COALESCE) in features.sql"
        )
    } else {
        format!("its value does not fit {kind}; bound it in features.sql")
    }
}

fn find<'a>(features: &'a RecordBatch, bound: &BoundColumn) -> Result<&'a ArrayRef, ScoreError> {
    let schema = features.schema_ref();
    let in_place = schema.fields().get(bound.position).filter(|field| *field.name() == bound.name);
    let position = match in_place {
        Some(_) => bound.position,
        None => schema.index_of(&bound.name).map_err(|_| ScoreError::MissingColumn {
            column: bound.name.clone(),
            found: schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?,
    };
    let column = features.column(position);
    if column.data_type() == &bound.data_type {
        Ok(column)
    } else {
        Err(ScoreError::ColumnType {
            column: bound.name.clone(),
            expected: bound.data_type.to_string(),
            found: column.data_type().to_string(),
        })
    }
}
