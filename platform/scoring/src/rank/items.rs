//! The items of a run: each once, in the order in which ties are broken.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, sort_to_indices, take, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema};

use crate::error::ModelError;

/// Items in ascending order of their keys.
pub(super) struct Items {
    pub(super) keys: ArrayRef,
    pub(super) rows: RecordBatch,
}

/// Where the key is among the columns of the items.
pub(super) fn key_index(items: &Schema, key: &str) -> Option<usize> {
    items.fields().iter().position(|field| field.name().eq_ignore_ascii_case(key))
}

/// The type in which a key is compared and given out; `None` where it can be no key.
pub(super) fn key_type(found: &DataType) -> Option<DataType> {
    match found {
        integer if integer.is_integer() => Some(DataType::Int64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => key_type(values).filter(|kind| *kind == DataType::Utf8),
        _ => None,
    }
}

/// Sorts the items by key.
///
/// # Errors
/// [`ModelError::Graph`] when a key is null or occurs twice: which of two items a rank means would be a guess.
pub(super) fn sorted(items: &RecordBatch, key: &str) -> Result<Items, ModelError> {
    let refused = |problem: String| ModelError::Graph { problem };
    let engine =
        |error: arrow::error::ArrowError| refused(format!("the items cannot be sorted: {error}"));
    let given = key_index(items.schema_ref(), key)
        .map(|index| items.column(index))
        .ok_or_else(|| refused(format!("the items have no column `{key}`")))?;
    let wanted = key_type(given.data_type()).ok_or_else(|| not_a_key(key, given.data_type()))?;
    let keys = cast(given, &wanted).map_err(engine)?;
    if let Some(row) = (0..keys.len()).find(|row| keys.is_null(*row)) {
        return Err(refused(format!(
            "item {} has no `{key}` (it is null or out of range); leave such items out with WHERE {key} IS NOT NULL",
            row + 1
        )));
    }
    let order: UInt32Array = sort_to_indices(&keys, None, None).map_err(engine)?;
    let keys = take(&keys, &order, None).map_err(engine)?;
    if let Some(twin) = twin(&keys) {
        return Err(refused(format!(
            "item `{twin}` occurs more than once; the items' SQL must give one row per `{key}`: add GROUP BY or \
             QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY …) = 1"
        )));
    }
    Ok(Items { keys, rows: take_record_batch(items, &order).map_err(engine)? })
}

pub(super) fn not_a_key(key: &str, found: &DataType) -> ModelError {
    ModelError::Graph {
        problem: format!(
            "the item key `{key}` is {found}; expected an integer or a string, so write CAST({key} AS STRING)"
        ),
    }
}

/// The first key that equals the one before it.
fn twin(keys: &ArrayRef) -> Option<String> {
    let same = |row: &usize| {
        if let Some(keys) = keys.as_primitive_opt::<Int64Type>() {
            return keys.value(*row) == keys.value(*row - 1);
        }
        let keys = keys.as_string::<i32>();
        keys.value(*row) == keys.value(*row - 1)
    };
    let row = (1..keys.len()).find(same)?;
    arrow::util::display::array_value_to_string(keys, row).ok()
}
