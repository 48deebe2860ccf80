//! What is sealed opens where it was sealed, and nowhere else.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use cameo_batch::arrow_schema;
use cameo_domain::{
    Column, DataType, GenerationId, Key, PredictionSchema, ServicePath, TenantName,
};
use cameo_sealing::{DataKey, MasterKey, OpenError, Opener, PREFIX, Sealer, UnwrapError};
use cameo_store::lookup::Value;
use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

const GENERATION: GenerationId = GenerationId(42);

fn path(text: &str) -> ServicePath {
    text.parse().expect("a path")
}

/// A column of each type, all of them sealed.
fn schema() -> PredictionSchema {
    let named = |(name, data_type): (&str, DataType)| Column {
        name: name.parse().expect("a name"),
        data_type,
    };
    let columns = [
        ("id", DataType::String),
        ("whole", DataType::Int),
        ("risk", DataType::Float64),
        ("word", DataType::String),
        ("flag", DataType::Bool),
        ("day", DataType::Date),
        ("at", DataType::Timestamp),
    ];
    let schema = PredictionSchema::new(columns.map(named).into()).expect("a schema");
    let names: Vec<_> = schema.predictions().iter().map(|column| column.name.clone()).collect();
    schema.sealing(&names).expect("predictions")
}

#[derive(Debug, Clone)]
struct Row {
    whole: Option<i64>,
    risk: Option<f64>,
    word: Option<String>,
    flag: Option<bool>,
    day: Option<i32>,
    at: Option<i64>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::of(any::<i64>()),
        prop::option::of(-1e300..1e300_f64),
        prop::option::of(".{0,20}"),
        prop::option::of(any::<bool>()),
        prop::option::of(-100_000..100_000_i32),
        prop::option::of(-1_000_000_000_000_000..1_000_000_000_000_000_i64),
    );
    let row =
        row.prop_map(|(whole, risk, word, flag, day, at)| Row { whole, risk, word, flag, day, at });
    prop::collection::vec(row, 1..8)
}

fn key(row: usize) -> Key {
    Key::String(format!("c-{row}"))
}

fn batch(rows: &[Row], schema: &PredictionSchema) -> RecordBatch {
    let keys: Vec<String> = (0..rows.len()).map(|row| format!("c-{row}")).collect();
    let at: TimestampMicrosecondArray = rows.iter().map(|row| row.at).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(keys)),
        Arc::new(rows.iter().map(|row| row.whole).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.risk).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.word.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.day).collect::<Date32Array>()),
        Arc::new(at.with_timezone("UTC")),
    ];
    RecordBatch::try_new(arrow_schema(&schema.opened()), columns).expect("a batch")
}

fn values(row: &Row) -> Vec<Value> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
    let day = |days: i32| epoch + chrono::TimeDelta::days(days.into());
    let at = |micros| DateTime::from_timestamp_micros(micros).expect("an instant");
    vec![
        row.whole.map_or(Value::Null, Value::Int),
        row.risk.map_or(Value::Null, Value::Float),
        row.word.clone().map_or(Value::Null, Value::Text),
        row.flag.map_or(Value::Null, Value::Bool),
        row.day.map_or(Value::Null, |days| Value::Date(day(days))),
        row.at.map_or(Value::Null, |micros| Value::Timestamp(at(micros))),
    ]
}

/// The sealed texts of a row, as they are read from its table.
fn texts(sealed: &RecordBatch, row: usize) -> Vec<Value> {
    let columns = sealed.columns().iter().skip(1);
    let text = |column: &ArrayRef| {
        let texts = column.as_any().downcast_ref::<StringArray>().expect("texts");
        assert!(texts.value(row).starts_with(PREFIX));
        Value::Text(texts.value(row).to_owned())
    };
    columns.map(text).collect()
}

fn sealer(key: &DataKey, whose: &str) -> Sealer {
    Sealer::new(key, &path(whose), GENERATION).expect("a sealer")
}

fn opener(key: &DataKey, whose: &str, generation: GenerationId) -> Opener {
    Opener::new(key, &path(whose), generation).expect("an opener")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else(rows in rows(), other in 1usize..7) {
        let schema = schema();
        let data_key = DataKey::generate(3).expect("a key");
        let clear = batch(&rows, &schema);
        let sealed = sealer(&data_key, "crm/clv").seal_batch(&clear, &schema).expect("sealed");
        let own = opener(&data_key, "crm/clv", GENERATION);
        for (at, row) in rows.iter().enumerate() {
            let kept = texts(&sealed, at);
            let mut opened = kept.clone();
            own.open(&schema, &key(at), &mut opened).expect("opened");
            prop_assert_eq!(opened, values(row));

            let strangers = [
                opener(&data_key, "sales/clv", GENERATION),
                opener(&data_key, "crm/churn", GENERATION),
                opener(&data_key, "crm/clv", GenerationId(43)),
                opener(&DataKey::generate(3).expect("a key"), "crm/clv", GENERATION),
            ];
            for stranger in strangers {
                let refused = stranger.open(&schema, &key(at), &mut kept.clone());
                prop_assert!(matches!(refused, Err(OpenError::Changed(_))), "{:?}", refused);
            }
            let refused = own.open(&schema, &key(at + 1), &mut kept.clone());
            prop_assert!(matches!(refused, Err(OpenError::Changed(_))), "another customer's");
            let mut swapped = kept.clone();
            swapped.swap(0, other % kept.len().max(1));
            if swapped != kept {
                let refused = own.open(&schema, &key(at), &mut swapped);
                prop_assert!(matches!(refused, Err(OpenError::Changed(_))), "another column's");
            }
        }
        let older = opener(&DataKey::generate(2).expect("a key"), "crm/clv", GENERATION);
        let refused = older.open(&schema, &key(0), &mut texts(&sealed, 0));
        prop_assert_eq!(refused, Err(OpenError::Version { expected: 2, found: 3 }));
    }

    #[test]
    fn a_text_with_another_character_never_opens(at in 9usize..65, to in "[A-Za-z0-9+/]") {
        let schema = schema();
        let data_key = DataKey::generate(1).expect("a key");
        let row = Row { whole: Some(7), risk: None, word: None, flag: None, day: None, at: None };
        let sealed = sealer(&data_key, "crm/clv").seal_batch(&batch(&[row], &schema), &schema);
        let mut kept = texts(&sealed.expect("sealed"), 0);
        let Value::Text(text) = &mut kept[0] else { panic!("a text") };
        let at = at.min(text.len() - 1);
        prop_assume!(text[at..=at] != *to);
        text.replace_range(at..=at, &to);
        let opened = opener(&data_key, "crm/clv", GENERATION).open(&schema, &key(0), &mut kept);
        prop_assert!(opened.is_err());
    }
}

#[test]
fn rows_of_a_customer_do_not_change_places() {
    let named = |(name, data_type): (&str, DataType)| Column {
        name: name.parse().expect("a name"),
        data_type,
    };
    let columns = [("id", DataType::Int), ("rank", DataType::Int), ("score", DataType::Float64)];
    let schema = PredictionSchema::new(columns.map(named).into()).expect("a schema");
    let names = ["score".parse().expect("a name")];
    let schema = schema.ranked(2).expect("a rank").sealing(&names).expect("a prediction");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![7, 7])),
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(Float64Array::from(vec![0.9, 0.1])),
    ];
    let clear = RecordBatch::try_new(arrow_schema(&schema.opened()), columns).expect("a batch");
    let data_key = DataKey::generate(1).expect("a key");
    let sealed = sealer(&data_key, "crm/offers").seal_batch(&clear, &schema).expect("sealed");
    let text = |row| match texts(&sealed.project(&[0, 2]).expect("columns"), row).remove(0) {
        Value::Text(text) => text,
        other => panic!("{other:?}"),
    };
    let opener = opener(&data_key, "crm/offers", GENERATION);
    let ranked = |first: String, second: String| {
        vec![Value::Int(1), Value::Text(first), Value::Int(2), Value::Text(second)]
    };
    let mut right = ranked(text(0), text(1));
    opener.open(&schema, &Key::Int(7), &mut right).expect("opened");
    assert_eq!(right, [Value::Int(1), Value::Float(0.9), Value::Int(2), Value::Float(0.1)]);
    let swapped = opener.open(&schema, &Key::Int(7), &mut ranked(text(1), text(0)));
    assert_eq!(swapped, Err(OpenError::Changed("score".to_owned())));
}

#[test]
fn a_data_key_is_unwrapped_by_its_master_key_for_its_tenant_and_version_alone() {
    let master: MasterKey = MasterKey::generate().expect("a key").parse().expect("a master key");
    let other: MasterKey = MasterKey::generate().expect("a key").parse().expect("a master key");
    let tenant = |name: &str| name.parse::<TenantName>().expect("a tenant");
    let data_key = DataKey::generate(1).expect("a key");
    let wrapped = master.wrap(&tenant("crm"), &data_key).expect("wrapped");
    let unwrap = |by: &MasterKey, whose: &str, version, named: &str| {
        by.unwrap(&tenant(whose), version, &wrapped, named).map(|key| key.version())
    };
    assert_eq!(unwrap(&master, "crm", 1, master.name()), Ok(1));
    let changed = |whose: &str| Err(UnwrapError::Changed(tenant(whose)));
    assert_eq!(unwrap(&master, "sales", 1, master.name()), changed("sales"));
    assert_eq!(unwrap(&master, "crm", 2, master.name()), changed("crm"));
    assert_eq!(unwrap(&other, "crm", 1, other.name()), changed("crm"), "whatever the row says");
    let refused = unwrap(&other, "crm", 1, master.name()).expect_err("another master key");
    assert!(
        refused.to_string().contains(&format!("expected {}", master.name()))
            || refused.to_string().contains(master.name())
    );
}

#[test]
fn no_key_shows_itself() {
    let text = MasterKey::generate().expect("a key");
    let master: MasterKey = text.parse().expect("a master key");
    assert_eq!(format!("{master:?}"), format!("MasterKey({})", master.name()));
    assert_eq!(format!("{:?}", DataKey::generate(4).expect("a key")), "DataKey(version 4)");
    for wrong in ["", "short", "not base64!", &"A".repeat(44)] {
        let refused = wrong.parse::<MasterKey>().expect_err("no master key").to_string();
        assert!(wrong.is_empty() || !refused.contains(wrong), "{refused}");
    }
}
