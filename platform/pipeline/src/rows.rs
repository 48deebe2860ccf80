//! Separating rows that can be scored from rows that cannot.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, RecordBatch},
    compute::{cast, filter, filter_record_batch},
    datatypes::{DataType as ArrowType, Field, Float32Type, Float64Type, Int64Type, Schema},
    error::ArrowError,
};
use cameo_batch::arrow_type;
use cameo_domain::{Column, key};
use cameo_store::{erasures::Suppressed, quarantine::QuarantinedRow};

/// A batch of features whose rows all have a usable key.
pub(crate) struct Keyed {
    pub(crate) keys: ArrayRef,
    pub(crate) features: RecordBatch,
}

/// Takes the key column out of `batch` and leaves out rows without a usable key.
pub(crate) fn split(
    batch: &RecordBatch,
    key_index: usize,
    key: &Column,
) -> Result<(Keyed, Vec<QuarantinedRow>), ArrowError> {
    let given = batch.column(key_index);
    let keys = cast(given, &arrow_type(key.data_type))?;
    let others: Vec<usize> = (0..batch.num_columns()).filter(|index| *index != key_index).collect();
    let features = batch.project(&others)?;
    let usable = usable_keys(&keys);
    if usable.true_count() == usable.len() {
        return Ok((Keyed { keys, features }, Vec::new()));
    }
    let rejected = (0..usable.len())
        .filter(|row| !usable.value(*row))
        .map(|row| QuarantinedRow {
            key: None,
            column: Some(key.name.to_string()),
            reason: if given.is_null(row) {
                "the key is null".to_owned()
            } else {
                format!("the key is not a valid {} key", key.data_type)
            },
        })
        .collect();
    let keys = filter(&keys, &usable)?;
    let features = filter_record_batch(&features, &usable)?;
    Ok((Keyed { keys, features }, rejected))
}

fn usable_keys(keys: &ArrayRef) -> BooleanArray {
    match keys.as_string_opt::<i32>() {
        Some(texts) => {
            texts.iter().map(|text| Some(text.is_some_and(key::is_string_key))).collect()
        }
        None => (0..keys.len()).map(|row| Some(keys.is_valid(row))).collect(),
    }
}

impl Keyed {
    /// Leaves out customers who were erased, and says how many.
    pub(crate) fn without_suppressed(
        self,
        suppressed: &Suppressed,
    ) -> Result<(Self, usize), ArrowError> {
        if suppressed.is_empty() {
            return Ok((self, 0));
        }
        let erased: Vec<usize> = if let Some(texts) = self.keys.as_string_opt::<i32>() {
            positions(texts.iter().flatten(), |text| suppressed.has_text(text))
        } else {
            let numbers = self.keys.as_primitive::<Int64Type>().values();
            positions(numbers.iter().copied(), |number| suppressed.has_int(number))
        };
        let count = erased.len();
        if count == 0 { Ok((self, 0)) } else { Ok((self.without_rows(erased)?, count)) }
    }

    /// Leaves out the rows that the scorer rejected, so that keys, features and outputs stay side by
    /// side.
    pub(crate) fn without_rows(
        self,
        rejected: impl IntoIterator<Item = usize>,
    ) -> Result<Self, ArrowError> {
        let mut kept = vec![true; self.keys.len()];
        for row in rejected {
            kept[row] = false;
        }
        let kept = BooleanArray::from(kept);
        Ok(Self {
            keys: filter(&self.keys, &kept)?,
            features: filter_record_batch(&self.features, &kept)?,
        })
    }
}

/// Where values are as wanted. Keys have no nulls here, so that places are rows.
fn positions<T>(values: impl Iterator<Item = T>, wanted: impl Fn(T) -> bool) -> Vec<usize> {
    values.enumerate().filter_map(|(row, value)| wanted(value).then_some(row)).collect()
}

/// Puts the key column before the model's outputs.
pub(crate) fn join(
    key: &Column,
    keys: ArrayRef,
    outputs: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let mut columns = vec![keys];
    columns.extend(outputs.columns().iter().cloned());
    RecordBatch::try_new(Arc::new(scored_schema(key, outputs.schema_ref())), columns)
}

/// The schema of `model_outputs`: the key, then the model's outputs.
pub(crate) fn scored_schema(key: &Column, outputs: &Schema) -> Schema {
    let key = Field::new(key.name.as_str(), arrow_type(key.data_type), false);
    let mut fields = vec![Arc::new(key)];
    fields.extend(outputs.fields().iter().cloned());
    Schema::new(fields)
}

/// Leaves out rows with a prediction that is not a finite number: JSON has no word for it, and no
/// consumer could act on it. The first column of `batch` is the key.
pub(crate) fn finite(batch: RecordBatch) -> Result<(RecordBatch, Vec<QuarantinedRow>), ArrowError> {
    let mut kept: Option<Vec<bool>> = None;
    let mut rejected = Vec::new();
    for (index, column) in batch.columns().iter().enumerate().skip(1) {
        if all_finite(column) {
            continue;
        }
        let kept = kept.get_or_insert_with(|| vec![true; batch.num_rows()]);
        for (row, kept) in kept.iter_mut().enumerate() {
            if *kept && !is_finite(column, row) {
                *kept = false;
                rejected.push(QuarantinedRow {
                    key: key_text(batch.column(0), row),
                    column: Some(batch.schema_ref().field(index).name().clone()),
                    reason: "the prediction is not a finite number".to_owned(),
                });
            }
        }
    }
    match kept {
        None => Ok((batch, rejected)),
        Some(kept) => Ok((filter_record_batch(&batch, &BooleanArray::from(kept))?, rejected)),
    }
}

fn all_finite(column: &ArrayRef) -> bool {
    match column.data_type() {
        ArrowType::Float32 => {
            let values: &Float32Array = column.as_primitive::<Float32Type>();
            values.values().iter().all(|value| value.is_finite())
        }
        ArrowType::Float64 => {
            let values: &Float64Array = column.as_primitive::<Float64Type>();
            values.values().iter().all(|value| value.is_finite())
        }
        _ => true,
    }
}

fn is_finite(column: &ArrayRef, row: usize) -> bool {
    column.is_null(row)
        || match column.data_type() {
            ArrowType::Float32 => column.as_primitive::<Float32Type>().value(row).is_finite(),
            ArrowType::Float64 => column.as_primitive::<Float64Type>().value(row).is_finite(),
            _ => true,
        }
}

/// A key as text, for people.
pub(crate) fn key_text(keys: &ArrayRef, row: usize) -> Option<String> {
    arrow::util::display::array_value_to_string(keys, row).ok()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use cameo_domain::DataType;

    use super::*;

    fn key(data_type: DataType) -> Column {
        Column { name: "id".parse().expect("a name"), data_type }
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .expect("a batch")
    }

    #[test]
    fn rows_without_a_key_are_left_out_with_the_reason() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let age: ArrayRef = Arc::new(Float64Array::from(vec![10.0, 20.0, 30.0]));
        let (keyed, rejected) =
            split(&batch(vec![("age", age), ("id", ids)]), 1, &key(DataType::Int)).expect("split");
        assert_eq!(keyed.keys.len(), 2);
        assert_eq!(keyed.features.column(0).as_primitive::<Float64Type>().values(), &[10.0, 30.0]);
        assert_eq!(rejected.len(), 1);
        assert_eq!(rejected[0].reason, "the key is null");
    }

    #[test]
    fn an_empty_string_is_no_key() {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "c"]));
        let (keyed, rejected) =
            split(&batch(vec![("id", ids)]), 0, &key(DataType::String)).expect("split");
        assert_eq!((keyed.keys.len(), rejected.len()), (2, 1));
        assert_eq!(rejected[0].reason, "the key is not a valid STRING key");
    }

    #[test]
    fn predictions_that_are_not_finite_are_left_out_and_nulls_stay() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let score: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(f64::NAN),
            Some(0.5),
            None,
            Some(f64::INFINITY),
        ]));
        let (kept, rejected) = finite(batch(vec![("id", ids), ("score", score)])).expect("filter");
        assert_eq!(kept.num_rows(), 2);
        let keys: Vec<_> = rejected.iter().filter_map(|row| row.key.as_deref()).collect();
        assert_eq!(keys, ["1", "4"]);
    }
}
