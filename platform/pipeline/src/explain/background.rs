//! The customers that predictions are compared with.
//!
//! They are chosen by the hash of their key when the first run of a release begins, and kept: base
//! value and contributions of all generations of the release, and of what is computed on demand,
//! then mean the same. The choice costs that run a query over the rows of few customers.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array},
    compute::{CastOptions, cast, cast_with_options, concat_batches},
    datatypes::{DataType, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use cameo_store::{
    Store,
    erasures::{self, Suppressed},
    explanations::{self, BackgroundColumn},
};
use cameo_warehouse::{Query, ReadOptions, Warehouse};
use futures_util::TryStreamExt;

use super::sql;
use crate::{
    error::{RunError, chain},
    plan::Plan,
    rows,
};

/// Shares of the customers that are tried in turn until there are enough: hashes below `01` are one
/// in 256, below `1` one in 16.
const SHARES: [Option<&str>; 3] = [Some("01"), Some("1"), None];
/// Most bytes of text that a background is kept with; a wider one has fewer rows.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// The background of the plan's release, as `features` in the types that they have now. It has no
/// rows where there are no customers yet.
pub(super) async fn of_release(
    plan: &Plan,
    rows: u32,
    store: &Store,
    warehouse: &dyn Warehouse,
    read: &ReadOptions,
) -> Result<RecordBatch, RunError> {
    let (path, release) = (&plan.manifest.path, plan.manifest.id());
    let schema = plan.feature_schema();
    if let Some(kept) = explanations::background(store, path, release).await? {
        return from_text(&kept, &schema).map_err(|error| unusable(&error));
    }
    let sample = sample(plan, rows, store, warehouse, read).await?;
    if sample.num_rows() == 0 {
        return Ok(sample);
    }
    let columns = to_text(&sample).map_err(|error| unusable(&error))?;
    let kept = explanations::keep_background(store, path, release, columns).await?;
    from_text(&kept, &schema).map_err(|error| unusable(&error))
}

fn unusable(error: &ArrowError) -> RunError {
    RunError::halt("explanation_background", chain(error))
}

/// Reads up to `rows` customers: the same ones whenever the data is the same.
async fn sample(
    plan: &Plan,
    rows: u32,
    store: &Store,
    warehouse: &dyn Warehouse,
    read: &ReadOptions,
) -> Result<RecordBatch, RunError> {
    let key = plan.manifest.schema.key();
    let suppressed = erasures::suppressed(store, &plan.manifest.path, key.data_type).await?;
    let wanted = usize::try_from(rows).unwrap_or(usize::MAX);
    let read = ReadOptions { partitions: 1, ..*read };
    let mut found = RecordBatch::new_empty(Arc::new(plan.feature_schema()));
    for share in SHARES {
        let sql = sql::sample(&plan.query.sql, &key.name, share, rows);
        let query = Query { sql, parameters: plan.query.parameters };
        let mut batches = Vec::new();
        for partition in warehouse.read(&plan.manifest.path.tenant, &query, &read).await?.partitions
        {
            batches.extend(partition.try_collect::<Vec<_>>().await?);
        }
        found = features_of(plan, &suppressed, &batches).map_err(|error| unusable(&error))?;
        if found.num_rows() >= wanted {
            break;
        }
    }
    Ok(found)
}

/// The features of customers with a key, without those who were erased.
fn features_of(
    plan: &Plan,
    suppressed: &Suppressed,
    batches: &[RecordBatch],
) -> Result<RecordBatch, ArrowError> {
    let whole = concat_batches(&plan.description.schema, batches)?;
    let (keyed, _) = rows::split(&whole, plan.key_index, plan.manifest.schema.key())?;
    Ok(keyed.without_suppressed(suppressed)?.0.features)
}

/// One customer of zeros, to ask a model how it could be explained.
pub(super) fn made_up(features: &Schema) -> RecordBatch {
    let zero: ArrayRef = Arc::new(Int32Array::from(vec![0]));
    let columns = features.fields().iter().map(|field| {
        let wanted = field.data_type();
        let made = cast(&zero, wanted).unwrap_or_else(|_| new_null_array(wanted, 1));
        (field.name().clone(), made, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns)
        .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(features.clone())))
}

/// The columns as text; rows at the end are left out where the text would be too long.
fn to_text(batch: &RecordBatch) -> Result<Vec<BackgroundColumn>, ArrowError> {
    let bytes_max = TEXT_BYTES_MAX / batch.num_columns().max(1);
    let options = FormatOptions::default();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let array = without_zone(array)?;
        let formatter = ArrayFormatter::try_new(&array, &options)?;
        let mut bytes = 0;
        let mut values = Vec::with_capacity(array.len());
        for row in 0..array.len() {
            let value = array.is_valid(row).then(|| formatter.value(row).to_string());
            bytes += value.as_ref().map_or(0, String::len);
            if bytes > bytes_max {
                break;
            }
            values.push(value);
        }
        columns.push(BackgroundColumn { name: field.name().clone(), values });
    }
    let rows = columns.iter().map(|column| column.values.len()).min().unwrap_or_default();
    for column in &mut columns {
        column.values.truncate(rows);
    }
    Ok(columns)
}

/// The kept columns in the types of `schema`; a text that is no value of its type any more is null.
fn from_text(kept: &[BackgroundColumn], schema: &Schema) -> Result<RecordBatch, ArrowError> {
    let arrays = schema.fields().iter().map(|field| {
        let named = kept.iter().find(|column| column.name == *field.name());
        let column = named.ok_or_else(|| {
            ArrowError::SchemaError(format!(
                "the kept background has no column `{}`; apply the bundle with another VERSION",
                field.name()
            ))
        })?;
        let texts: ArrayRef = Arc::new(StringArray::from_iter(&column.values));
        from_column(&texts, field.data_type())
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, arrays)
}

fn from_column(texts: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions::default();
    let DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) = wanted else {
        return cast_with_options(texts, wanted, &options);
    };
    let bare = DataType::Timestamp(TimeUnit::Microsecond, None);
    let instants = cast_with_options(texts, &bare, &options)?;
    let instants = instants.as_primitive::<TimestampMicrosecondType>().clone();
    Ok(Arc::new(instants.with_timezone(Arc::clone(zone))))
}

/// An instant counts from the epoch in UTC, so its zone is a mere label, which Arrow cannot read.
pub(super) fn without_zone(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(column, &DataType::Timestamp(*unit, None)),
        _ => Ok(Arc::clone(column)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array,
            TimestampMicrosecondArray,
        },
        datatypes::Field,
    };

    use super::*;

    #[test]
    fn a_background_reads_back_as_it_was_kept() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("whole", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("single", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
            ("double", Arc::new(Float64Array::from(vec![1e-300, f64::INFINITY]))),
            ("truth", Arc::new(BooleanArray::from(vec![true, false]))),
            ("day", Arc::new(Date32Array::from(vec![-1, 20_000]))),
            ("word", Arc::new(StringArray::from(vec!["", "ü"]))),
            (
                "instant",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![1, 1_700_000_000_123_456])
                        .with_timezone("UTC"),
                ),
            ),
            (
                "money",
                Arc::new(
                    Decimal128Array::from(vec![1_250, -3])
                        .with_precision_and_scale(38, 2)
                        .expect("a decimal"),
                ),
            ),
        ];
        let fields = columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect::<Vec<_>>();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
        let kept = to_text(&batch).expect("texts");
        let read = from_text(&kept, batch.schema_ref()).expect("a batch");
        assert_eq!(format!("{read:?}"), format!("{batch:?}"));
    }

    #[test]
    fn a_column_that_was_not_kept_is_named() {
        let schema = Schema::new(vec![Field::new("level", DataType::Float64, true)]);
        let error = from_text(&[], &schema).expect_err("nothing was kept").to_string();
        assert!(error.contains("`level`"), "{error}");
    }
}
