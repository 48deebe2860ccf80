//! Every Arrow type that a feature may have feeds a model by the documented conversion, and nulls are what
//! the author declared.

mod support;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, Float16Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Int8Type, i256};
use cameo_scoring::{
    LoadOptions, ModelError, NullDefault, NullDefaults, RowValue, Scorer, ScoringLimits,
};
use support::{WIDTH, matrix_batch, mixed_batch, model, schema};

/// A batch in which the first feature of the matrix is this column.
fn with_first(column: &ArrayRef) -> RecordBatch {
    let batch = matrix_batch(false, column.len());
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::clone(column);
    let names = batch.schema();
    let names = names.fields().iter().map(|field| field.name().clone());
    RecordBatch::try_from_iter_with_nullable(
        names.zip(columns).map(|(name, column)| (name, column, true)).collect::<Vec<_>>(),
    )
    .expect("equal lengths")
}

fn scores(batch: &RecordBatch) -> Vec<u32> {
    let scorer =
        Scorer::load(&model("linear_regressor"), None, &schema(batch), &ScoringLimits::default())
            .expect("loads");
    let found = scorer.score(batch).expect("scores");
    assert!(found.rejected.is_empty());
    let column = found.outputs.column(0).as_primitive::<Float32Type>();
    column.values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_type_of_number_feeds_a_float_by_its_value() {
    let numbers = [0i8, 1, 1, 0, 1];
    let expected = scores(&with_first(
        &(Arc::new(Float64Array::from_iter_values(numbers.map(f64::from))) as ArrayRef),
    ));
    let dictionary: DictionaryArray<Int8Type> = DictionaryArray::new(
        Int8Array::from(vec![1, 0, 0, 1, 0]),
        Arc::new(Int64Array::from(vec![1, 0])),
    );
    let decimals = [0i128, 100, 100, 0, 100];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from_iter_values(numbers)),
        Arc::new(Int16Array::from_iter_values(numbers.map(i16::from))),
        Arc::new(Int32Array::from_iter_values(numbers.map(i32::from))),
        Arc::new(Int64Array::from_iter_values(numbers.map(i64::from))),
        Arc::new(UInt8Array::from_iter_values(numbers.map(i8::unsigned_abs))),
        Arc::new(UInt16Array::from_iter_values(
            numbers.map(|value| u16::from(value.unsigned_abs())),
        )),
        Arc::new(UInt32Array::from_iter_values(
            numbers.map(|value| u32::from(value.unsigned_abs())),
        )),
        Arc::new(UInt64Array::from_iter_values(
            numbers.map(|value| u64::from(value.unsigned_abs())),
        )),
        cast(&Int8Array::from_iter_values(numbers), &DataType::Float16).expect("halves"),
        cast(&Int8Array::from_iter_values(numbers), &DataType::Float32).expect("floats"),
        Arc::new(BooleanArray::from(numbers.map(|value| value == 1).to_vec())),
        Arc::new(Date32Array::from_iter_values(numbers.map(i32::from))),
        Arc::new(Date64Array::from_iter_values(numbers.map(|day| i64::from(day) * 86_400_000))),
        Arc::new(
            Decimal128Array::from_iter_values(decimals)
                .with_precision_and_scale(9, 2)
                .expect("fits"),
        ),
        Arc::new(
            Decimal256Array::from_iter_values(decimals.map(i256::from_i128))
                .with_precision_and_scale(40, 2)
                .expect("fits"),
        ),
        Arc::new(dictionary),
    ];
    for column in columns {
        assert_eq!(scores(&with_first(&column)), expected, "{}", column.data_type());
    }
    assert_eq!(WIDTH, 8, "the other features stay as they are");
}

#[test]
fn every_type_of_string_feeds_an_encoder() {
    let batch = mixed_batch(64);
    let load = |batch: &RecordBatch| {
        Scorer::load(&model("mixed_one_hot"), None, &schema(batch), &ScoringLimits::default())
            .expect("loads")
    };
    let expected = load(&batch).score(&batch).expect("scores").outputs;
    let strings = batch.column(0).as_string::<i32>();
    let dictionary: DictionaryArray<Int8Type> = strings.iter().collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(strings.iter().collect::<LargeStringArray>()),
        Arc::new(strings.iter().collect::<StringViewArray>()),
        Arc::new(dictionary),
    ];
    for column in columns {
        let mut columns = batch.columns().to_vec();
        columns[0] = Arc::clone(&column);
        let names = batch.schema();
        let names = names.fields().iter().map(|field| field.name().clone());
        let batch = RecordBatch::try_from_iter(names.zip(columns)).expect("equal lengths");
        let found = load(&batch).score(&batch).expect("scores").outputs;
        assert_eq!(found, expected, "{}", column.data_type());
    }
}

#[test]
fn a_null_inside_a_dictionary_is_a_null() {
    let batch = mixed_batch(4);
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("red"), None]));
    let colours = DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0, 1, 0, 1]), values);
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(colours);
    let names = batch.schema();
    let names = names.fields().iter().map(|field| (field.name().clone(), true));
    let columns = names.zip(columns).map(|((name, nullable), column)| (name, column, nullable));
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).expect("batch");
    let scorer =
        Scorer::load(&model("mixed_one_hot"), None, &schema(&batch), &ScoringLimits::default());
    let found = scorer.expect("loads").score(&batch).expect("scores");
    let rejected: Vec<usize> = found.rejected.iter().map(|rejected| rejected.row).collect();
    assert_eq!((rejected, found.outputs.num_rows()), (vec![1, 3], 2));
}

/// Colours, visits and ages with nulls, and the same with values in their place.
fn with_nulls(filled: bool) -> RecordBatch {
    let batch = mixed_batch(4);
    let or = |null: Option<&'static str>, value| if filled { Some(value) } else { null };
    let colours =
        StringArray::from(vec![Some("red"), or(None, "green"), Some("blue"), Some("red")]);
    let visits = Int64Array::from(vec![Some(3), Some(1), filled.then_some(-1), Some(2)]);
    let spend = Float64Array::from(vec![Some(0.5), Some(1.0), Some(2.0), filled.then_some(7.25)]);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("COLOUR", Arc::new(colours), true),
        ("visits", Arc::new(visits), true),
        ("spend", Arc::new(spend), true),
        ("age", Arc::clone(batch.column_by_name("age").expect("a column")), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("equal lengths")
}

fn declared(defaults: &[(&str, NullDefault)]) -> LoadOptions {
    let null_defaults: NullDefaults =
        defaults.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    LoadOptions { null_defaults, ..LoadOptions::default() }
}

#[test]
fn declared_defaults_stand_for_nulls_of_every_type_in_batches_and_rows() {
    let options = declared(&[
        ("colour", NullDefault::Text("green".to_owned())),
        ("visits", NullDefault::Integer(-1)),
        ("spend", NullDefault::Number(7.25)),
    ]);
    let (given, filled) = (with_nulls(false), with_nulls(true));
    let load = |options: &LoadOptions| {
        Scorer::load_with(&model("mixed_one_hot"), None, &schema(&given), options).expect("loads")
    };
    let scorer = load(&options);
    let found = scorer.score(&given).expect("scores");
    let expected = load(&LoadOptions::default()).score(&filled).expect("scores");
    assert!(found.rejected.is_empty() && expected.rejected.is_empty());
    assert_eq!(found.outputs, expected.outputs);
    let age = f64::from(given.column(3).as_primitive::<Float32Type>().value(1));
    let row = scorer
        .input_columns()
        .iter()
        .map(|name| match name.as_str() {
            "COLOUR" => RowValue::Null,
            "visits" => RowValue::Integer(1),
            "spend" => RowValue::Number(1.0),
            _ => RowValue::Number(age),
        })
        .collect::<Vec<_>>();
    let mut session = scorer.session();
    let alone = session.score(&row).expect("scores").last().cloned();
    let last = expected.outputs.columns().last().expect("scores").as_primitive::<Float32Type>();
    assert_eq!(alone, Some(RowValue::Number(last.value(1).into())));
}

#[test]
fn a_default_that_fits_no_column_is_refused_by_name() {
    let refused = |name: &str, value: NullDefault| {
        let options = declared(&[(name, value)]);
        let schema = schema(&with_nulls(false));
        let error = Scorer::load_with(&model("mixed_one_hot"), None, &schema, &options)
            .expect_err("a wrong default");
        assert!(matches!(error, ModelError::NullDefault { .. }), "{error}");
        error.to_string()
    };
    assert!(refused("height", NullDefault::Integer(1)).contains("age"));
    assert!(refused("visits", NullDefault::Number(0.5)).contains("a whole number"));
    assert!(refused("colour", NullDefault::Integer(0)).contains("a string"));
    assert!(refused("spend", NullDefault::Text("none".to_owned())).contains("a number"));
}

#[test]
fn halves_keep_what_they_hold() {
    let values = [0.5f32, -2.25, 1024.0, 0.000_976_562_5, 3.0];
    let halves = cast(&arrow::array::Float32Array::from_iter_values(values), &DataType::Float16);
    let halves = halves.expect("halves");
    assert_eq!(halves.len(), halves.as_any().downcast_ref::<Float16Array>().expect("f16").len());
    let floats: ArrayRef = Arc::new(Float64Array::from_iter_values(values.map(f64::from)));
    assert_eq!(scores(&with_first(&halves)), scores(&with_first(&floats)));
}
