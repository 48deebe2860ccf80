//! The predictions of one service, as a condition needs them.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array},
    buffer::BooleanBuffer,
    compute::filter_record_batch,
    datatypes::{DataType as ArrowType, Int64Type},
    record_batch::RecordBatch,
};
use cameo_domain::{PredictionSchema, RANK_COLUMN, ServiceName};

use super::{EvaluateError, keys::Keys};

/// The predictions of one service: batches in order, all rows sorted by key.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Which service.
    pub service: &'a ServiceName,
    /// Its declared predictions. Of a service that ranks, a customer's first row counts, the others
    /// do not.
    pub schema: &'a PredictionSchema,
    /// Its rows, as [`cameo_batch::arrow_schema`] says.
    pub batches: &'a [RecordBatch],
}

/// Some rows of a service, in order.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) keys: Keys,
    /// The wanted columns, in their order.
    pub(crate) columns: Vec<ArrayRef>,
}

impl Piece {
    fn slice(&self, from: usize, rows: usize) -> Self {
        let columns = self.columns.iter().map(|column| column.slice(from, rows)).collect();
        Self { keys: self.keys.slice(from, rows), columns }
    }
}

/// A service with the columns that are wanted of it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) pieces: Vec<Piece>,
    /// A row of nulls: what is known of a customer whom the service does not know.
    pub(crate) unknown: Vec<ArrayRef>,
}

impl Table {
    /// Takes the columns `wanted`, each of the type that the schema declares.
    pub(crate) fn new(source: &Source<'_>, wanted: &[&str]) -> Result<Self, EvaluateError> {
        let missing = |column: &str, found: String| EvaluateError::Column {
            service: source.service.clone(),
            column: column.to_owned(),
            found,
        };
        let mut unknown = Vec::with_capacity(wanted.len());
        for name in wanted {
            let declared = source.schema.columns().find(|column| column.name.as_str() == *name);
            let declared = declared.ok_or_else(|| missing(name, "none".to_owned()))?;
            unknown.push(new_null_array(&cameo_batch::arrow_type(declared.data_type), 1));
        }
        let key = source.schema.key().name.as_str();
        let mut pieces = Vec::with_capacity(source.batches.len());
        for batch in source.batches {
            let column = |name: &str, expected: Option<&ArrowType>| {
                let found =
                    batch.column_by_name(name).ok_or_else(|| missing(name, "none".to_owned()))?;
                match expected {
                    Some(expected) if found.data_type() != expected => {
                        Err(missing(name, found.data_type().to_string()))
                    }
                    _ => Ok(found.clone()),
                }
            };
            let mut columns = vec![column(key, None)?];
            for (name, null) in wanted.iter().zip(&unknown) {
                columns.push(column(name, Some(null.data_type()))?);
            }
            if source.schema.top_n().is_some() {
                let rank = column(RANK_COLUMN, Some(&ArrowType::Int64))?;
                columns = first_ranks(&rank, columns)?;
            }
            let keys = columns.remove(0);
            let keys =
                Keys::new(&keys).ok_or_else(|| missing(key, keys.data_type().to_string()))?;
            if keys.rows() > 0 {
                pieces.push(Piece { keys, columns });
            }
        }
        Ok(Self { pieces, unknown })
    }

    fn rows(&self) -> usize {
        self.pieces.iter().map(|piece| piece.keys.rows()).sum()
    }

    /// The pieces with all keys from one boundary to before the next.
    fn cut(&self, boundaries: &[(Keys, usize)]) -> Vec<Vec<Piece>> {
        let mut cuts = Vec::with_capacity(boundaries.len() + 1);
        let (mut piece, mut row) = (0, 0);
        for (keys, at) in boundaries {
            let mut range = Vec::new();
            while let Some(current) = self.pieces.get(piece) {
                let end = current.keys.first_not_below(keys, *at).max(row);
                if end > row {
                    range.push(current.slice(row, end - row));
                }
                row = end;
                if end < current.keys.rows() {
                    break;
                }
                (piece, row) = (piece + 1, 0);
            }
            cuts.push(range);
        }
        let rest = self.pieces.iter().skip(piece).enumerate().map(|(nth, current)| {
            let from = if nth == 0 { row } else { 0 };
            current.slice(from, current.keys.rows() - from)
        });
        cuts.push(rest.filter(|piece| piece.keys.rows() > 0).collect());
        cuts
    }
}

/// Cuts tables into `parts` by ranges of keys, of like size by the largest. For each part, the pieces
/// of each table.
pub(crate) fn partition(tables: &[Table], parts: usize) -> Vec<Vec<Vec<Piece>>> {
    let largest = tables.iter().max_by_key(|table| table.rows());
    let Some(largest) = largest else { return Vec::new() };
    let rows = largest.rows();
    let boundaries: Vec<(Keys, usize)> = (1..parts)
        .filter_map(|nth| {
            let mut row = nth * rows / parts;
            largest.pieces.iter().find_map(|piece| {
                if row < piece.keys.rows() {
                    return Some((piece.keys.clone(), row));
                }
                row -= piece.keys.rows();
                None
            })
        })
        .collect();
    let mut ranges = vec![Vec::with_capacity(tables.len()); boundaries.len() + 1];
    for table in tables {
        for (range, pieces) in ranges.iter_mut().zip(table.cut(&boundaries)) {
            range.push(pieces);
        }
    }
    ranges
}

/// The rows of rank 1.
fn first_ranks(rank: &ArrayRef, columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, EvaluateError> {
    let rank = rank.as_primitive::<Int64Type>();
    let first = BooleanBuffer::collect_bool(rank.len(), |row| rank.value(row) == 1);
    let named = columns.into_iter().enumerate();
    // Names are no matter here; a batch wants some.
    let batch = RecordBatch::try_from_iter_with_nullable(
        named.map(|(at, column)| (at.to_string(), column, true)),
    )?;
    let kept = filter_record_batch(&batch, &BooleanArray::new(first, rank.nulls().cloned()))?;
    Ok(kept.columns().to_vec())
}
