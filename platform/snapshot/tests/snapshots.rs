//! Snapshots of random generations, read back, and damaged.

use std::{collections::BTreeMap, fs, fs::File, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::concat_batches,
    ipc::{reader::FileReader, writer::FileWriter},
};
use cameo_batch::arrow_schema;
use cameo_domain::{Column, DataType, GenerationId, Key, KeyRef, PredictionSchema, Sha256};
use cameo_snapshot::{BATCH_ROWS, Cell, Snapshot, SnapshotError, SnapshotWriter, Written};
use proptest::{collection::vec, option, prelude::*};

const GENERATION: GenerationId = GenerationId(17);

/// A value of a prediction column, as long as it is of the column's type.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    Date(i32),
    Timestamp(i64),
}

/// Rows by key and rank.
type Rows = BTreeMap<(Key, i64), Vec<Option<Value>>>;

fn value_of(kind: DataType) -> BoxedStrategy<Option<Value>> {
    let value = match kind {
        DataType::Int => any::<i64>().prop_map(Value::Int).boxed(),
        DataType::Float64 => (-1e300..1e300).prop_map(Value::Float).boxed(),
        DataType::String | DataType::Json => "\\PC{0,20}".prop_map(Value::Text).boxed(),
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        DataType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
    };
    option::weighted(0.8, value).boxed()
}

fn key_of(kind: DataType) -> BoxedStrategy<Key> {
    match kind {
        DataType::Int => prop_oneof![any::<i64>(), -50..50i64].prop_map(Key::Int).boxed(),
        _ => "\\PC{1,20}".prop_map(Key::String).boxed(),
    }
}

fn generation() -> impl Strategy<Value = (PredictionSchema, Rows)> {
    let key = prop_oneof![Just(DataType::Int), Just(DataType::String)];
    let kinds = vec(proptest::sample::select(&DataType::ALL[..]), 1..6);
    (key, kinds, any::<bool>()).prop_flat_map(|(key, kinds, ranks)| {
        let schema = schema(key, &kinds, ranks);
        let rank = if ranks { 1..=3i64 } else { 0..=0 };
        let name = (key_of(key), rank);
        let values: Vec<_> = kinds.iter().map(|kind| value_of(*kind)).collect();
        let rows = proptest::collection::btree_map(name, values, 0..200);
        (Just(schema), rows)
    })
}

fn schema(key: DataType, kinds: &[DataType], ranks: bool) -> PredictionSchema {
    let column =
        |name: String, data_type| Column { name: name.parse().expect("a name"), data_type };
    let rank = ranks.then(|| column("rank".to_owned(), DataType::Int));
    let others = kinds.iter().enumerate().map(|(at, kind)| column(format!("p{at}"), *kind));
    let columns = [column("id".to_owned(), key)].into_iter().chain(rank).chain(others).collect();
    let schema = PredictionSchema::new(columns).expect("a schema");
    if ranks { schema.ranked(3).expect("a rank") } else { schema }
}

fn array(kind: DataType, values: Vec<Option<Value>>) -> ArrayRef {
    macro_rules! of {
        ($array:ty, $kind:ident) => {
            Arc::new(<$array>::from_iter(values.into_iter().map(|value| match value {
                Some(Value::$kind(value)) => Some(value),
                _ => None,
            })))
        };
    }
    match kind {
        DataType::Int => of!(Int64Array, Int),
        DataType::Float64 => of!(Float64Array, Float),
        DataType::String | DataType::Json => of!(StringArray, Text),
        DataType::Bool => of!(BooleanArray, Bool),
        DataType::Date => of!(Date32Array, Date),
        DataType::Timestamp => {
            let array: TimestampMicrosecondArray = values
                .into_iter()
                .map(|value| match value {
                    Some(Value::Timestamp(value)) => Some(value),
                    _ => None,
                })
                .collect();
            Arc::new(array.with_timezone("UTC"))
        }
    }
}

fn batch(schema: &PredictionSchema, rows: &Rows) -> RecordBatch {
    let keys = rows.keys().map(|(key, _)| {
        Some(match key {
            Key::Int(key) => Value::Int(*key),
            Key::String(key) => Value::Text(key.clone()),
        })
    });
    let mut columns = vec![array(schema.key().data_type, keys.collect())];
    let ranked = usize::from(schema.top_n().is_some());
    if ranked == 1 {
        let ranks = rows.keys().map(|(_, rank)| Some(Value::Int(*rank)));
        columns.push(array(DataType::Int, ranks.collect()));
    }
    for (at, column) in schema.predictions()[ranked..].iter().enumerate() {
        let values = rows.values().map(|values| values[at].clone());
        columns.push(array(column.data_type, values.collect()));
    }
    RecordBatch::try_new(arrow_schema(schema), columns).expect("a batch")
}

fn write(path: &Path, schema: &PredictionSchema, batches: &[RecordBatch]) -> Written {
    let mut writer = SnapshotWriter::create(path, schema, GENERATION).expect("a file");
    for batch in batches {
        writer.write(batch).expect("rows in order");
    }
    writer.finish().expect("a snapshot")
}

fn cell(value: Option<&Value>) -> Cell<'_> {
    match value {
        None => Cell::Null,
        Some(Value::Int(value)) => Cell::Int(*value),
        Some(Value::Float(value)) => Cell::Float(*value),
        Some(Value::Text(value)) => Cell::Text(value),
        Some(Value::Bool(value)) => Cell::Bool(*value),
        Some(Value::Date(value)) => Cell::Date(*value),
        Some(Value::Timestamp(value)) => Cell::Timestamp(*value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_key_is_found_with_its_values_and_no_other_key_is(
        (schema, rows) in generation(), cut in 0..200usize, absent in vec(key_of(DataType::Int), 5),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot.arrow");
        let all = batch(&schema, &rows);
        let cut = cut.min(rows.len());
        let parts = [all.slice(0, cut), all.slice(cut, rows.len() - cut)];
        let written = write(&path, &schema, &parts);
        let snapshot = Snapshot::open(&path, &written.sha256).expect("the snapshot");
        prop_assert_eq!((snapshot.schema(), snapshot.generation()), (&schema, GENERATION));
        prop_assert_eq!(snapshot.bytes(), written.bytes);
        prop_assert_eq!(&concat_batches(&arrow_schema(&schema), snapshot.batches()).expect("rows"), &all);

        snapshot.preload(rows.keys().filter_map(|(key, _)| snapshot.find(key.as_ref())));
        let ranked = schema.top_n().is_some();
        for (at, ((key, rank), values)) in rows.iter().enumerate() {
            let found = snapshot.find(key.as_ref()).expect("a known key");
            prop_assert!(found.contains(&at));
            for row in found.clone() {
                prop_assert_eq!(snapshot.cell(row, 0), snapshot.cell(at, 0));
            }
            prop_assert!(ranked || found.len() == 1);
            let expected = ranked.then_some(Cell::Int(*rank)).into_iter();
            let expected = expected.chain(values.iter().map(|value| cell(value.as_ref())));
            prop_assert!(snapshot.predictions(at).eq(expected));
        }
        let mut keys: Vec<&Key> = rows.keys().map(|(key, _)| key).collect();
        keys.dedup();
        prop_assert_eq!((written.rows, written.keys), (rows.len(), keys.len()));
        for key in absent.iter().filter(|key| !keys.contains(key)) {
            prop_assert_eq!(snapshot.find(key.as_ref()), None);
        }
        prop_assert_eq!(snapshot.find(KeyRef::Text("no such key, by its length")), None);
    }

    #[test]
    fn a_changed_byte_or_a_missing_end_is_noticed(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot.arrow");
        let schema = schema(DataType::Int, &[DataType::Float64, DataType::String], false);
        let written = write(&path, &schema, &[numbered(&schema, 0..1_000)]);
        let whole = fs::read(&path).expect("the file");
        let at = at.index(whole.len());
        let mut changed = whole.clone();
        changed[at] ^= flip;
        for bytes in [&changed[..], &whole[..at]] {
            fs::write(&path, bytes).expect("another file");
            let opened = Snapshot::open(&path, &written.sha256);
            prop_assert!(matches!(opened, Err(SnapshotError::Damaged { .. })), "{opened:?}");
        }
        // Also where the damage was there before the digest was taken.
        fs::write(&path, &whole[..at]).expect("another file");
        let opened = Snapshot::open(&path, &Sha256::of(&whole[..at]));
        prop_assert!(matches!(opened, Err(SnapshotError::NotASnapshot { .. })), "{opened:?}");
    }
}

/// Rows whose key is their number.
fn numbered(schema: &PredictionSchema, numbers: std::ops::Range<i64>) -> RecordBatch {
    let rows = numbers.map(|number| {
        let values = vec![Some(Value::Float(number as f64)), Some(Value::Text(number.to_string()))];
        ((Key::Int(number), 0), values)
    });
    batch(schema, &rows.collect())
}

#[test]
fn rows_of_many_batches_are_found_and_other_readers_of_arrow_files_read_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.arrow");
    let schema = schema(DataType::Int, &[DataType::Float64, DataType::String], false);
    let parts: Vec<_> =
        (0..10i64).map(|part| numbered(&schema, part * 5_000..(part + 1) * 5_000)).collect();
    let written = write(&path, &schema, &parts);
    let snapshot = Snapshot::open(&path, &written.sha256).expect("the snapshot");
    let sizes: Vec<_> = snapshot.batches().iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [BATCH_ROWS, BATCH_ROWS, BATCH_ROWS, 50_000 - 3 * BATCH_ROWS]);
    for number in 0..50_000i64 {
        let row = snapshot.find_int(number).expect("a known key").start;
        let text = number.to_string();
        assert!(snapshot.predictions(row).eq([Cell::Float(number as f64), Cell::Text(&text)]));
    }
    assert_eq!(snapshot.find_int(50_000), None);
    assert_eq!(snapshot.find_text("17"), None, "keys are integers");
    let reader = FileReader::try_new(File::open(&path).expect("the file"), None).expect("a reader");
    let read: Vec<_> = reader.map(|batch| batch.expect("rows")).collect();
    assert_eq!(read, snapshot.batches());
}

#[test]
fn a_snapshot_stays_readable_after_its_file_is_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.arrow");
    let schema = schema(DataType::Int, &[DataType::Float64, DataType::String], false);
    let written = write(&path, &schema, &[numbered(&schema, 0..20_000)]);
    let snapshot = Snapshot::open(&path, &written.sha256).expect("the snapshot");
    fs::remove_file(&path).expect("deleted");
    assert!(snapshot.find_int(19_999).is_some());
}

#[test]
fn rows_out_of_order_and_keys_that_come_twice_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let schema = schema(DataType::Int, &[DataType::Float64, DataType::String], false);
    for (name, second) in [("before", 0..5), ("again", 9..12)] {
        let mut writer =
            SnapshotWriter::create(&folder.path().join(name), &schema, GENERATION).expect("a file");
        writer.write(&numbered(&schema, 5..10)).expect("rows in order");
        let refused = writer.write(&numbered(&schema, second));
        assert!(matches!(refused, Err(SnapshotError::OutOfOrder { row: 5 })), "{name}");
    }
}

#[test]
fn an_arrow_file_of_another_kind_is_no_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.arrow");
    let schema = schema(DataType::Int, &[DataType::Float64, DataType::String], false);
    let rows = numbered(&schema, 0..10);
    let mut writer =
        FileWriter::try_new(File::create(&path).expect("a file"), rows.schema_ref()).expect("it");
    writer.write(&rows).expect("rows");
    writer.finish().expect("a file");
    let opened = Snapshot::open(&path, &Sha256::of(fs::read(&path).expect("the file")));
    let error = opened.expect_err("no snapshot").to_string();
    assert!(error.contains("expected version 1 of the layout"), "{error}");
}
