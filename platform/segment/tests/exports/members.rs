//! Random members, and what is expected of their exports.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use cameo_domain::Key;
use cameo_segment::{
    export::{Compression, Export, ExportError, Format, Target},
    membership::{Label, Membership, MembershipWriter},
};
use proptest::{collection::btree_map, prelude::*};
use serde_json::{Value, json};

/// What is said of a member beside its key.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Attributes {
    pub(crate) score: Option<f64>,
    pub(crate) tier: Option<String>,
    pub(crate) active: Option<bool>,
    pub(crate) visits: Option<i64>,
    pub(crate) day: Option<i32>,
    pub(crate) at: Option<i64>,
}

pub(crate) type Who = BTreeMap<Key, Attributes>;

fn attributes() -> impl Strategy<Value = Attributes> {
    let float = prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(0.1)];
    (
        prop::option::of(float),
        prop::option::of("[a-z\"',\\r\\n;ü\\\\ ]{0,6}"),
        prop::option::of(any::<bool>()),
        prop::option::of(any::<i64>()),
        prop::option::of(-100_000..100_000_i32),
        prop::option::of(-10_000_000_000_000_000..10_000_000_000_000_000_i64),
    )
        .prop_map(|(score, tier, active, visits, day, at)| Attributes {
            score,
            tier,
            active,
            visits,
            day,
            at,
        })
}

fn int_key() -> impl Strategy<Value = Key> {
    prop_oneof![(-9_i64..9).prop_map(Key::Int), any::<i64>().prop_map(Key::Int)]
}

pub(crate) fn who(rows: usize) -> impl Strategy<Value = Who> {
    let text = "[a-z,\"ü]{1,3}".prop_map(Key::String);
    prop_oneof![btree_map(int_key(), attributes(), 0..rows), btree_map(text, attributes(), 1..rows),]
}

/// Two materialisations of one segment.
pub(crate) fn before_and_after() -> impl Strategy<Value = (Who, Who)> {
    let side = || btree_map(int_key(), attributes(), 0..24);
    (side(), side(), any::<u64>()).prop_map(|(before, entered, keep)| {
        let kept = before.iter().enumerate().filter(|(at, _)| (keep >> (at % 64)) & 1 == 1);
        let mut after: Who = kept.map(|(_, (key, value))| (key.clone(), value.clone())).collect();
        after.extend(entered);
        (before, after)
    })
}

pub(crate) fn schema(is_text: bool) -> SchemaRef {
    let key = if is_text { DataType::Utf8 } else { DataType::Int64 };
    let attribute = |name: &str, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        Field::new("customer_id", key, false),
        attribute("clv.score", DataType::Float64),
        attribute("clv.tier", DataType::Utf8),
        attribute("gender.active", DataType::Boolean),
        attribute("gender.visits", DataType::Int64),
        attribute("gender.day", DataType::Date32),
        attribute("gender.at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ]))
}

fn is_text(who: &Who) -> bool {
    matches!(who.keys().next(), Some(Key::String(_)))
}

fn batch(who: &[(&Key, &Attributes)], is_text: bool) -> RecordBatch {
    let key: ArrayRef = if is_text {
        Arc::new(who.iter().map(|(key, _)| Some(key.to_string())).collect::<StringArray>())
    } else {
        let int = |key: &Key| match key {
            Key::Int(key) => *key,
            Key::String(_) => unreachable!("keys are of one type"),
        };
        Arc::new(who.iter().map(|(key, _)| Some(int(key))).collect::<Int64Array>())
    };
    let of = || who.iter().map(|(_, attributes)| attributes);
    let at: TimestampMicrosecondArray = of().map(|one| one.at).collect();
    let columns: Vec<ArrayRef> = vec![
        key,
        Arc::new(of().map(|one| one.score).collect::<Float64Array>()),
        Arc::new(of().map(|one| one.tier.as_deref()).collect::<StringArray>()),
        Arc::new(of().map(|one| one.active).collect::<BooleanArray>()),
        Arc::new(of().map(|one| one.visits).collect::<Int64Array>()),
        Arc::new(of().map(|one| one.day).collect::<Date32Array>()),
        Arc::new(at.with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(is_text), columns).expect("a batch")
}

/// A membership file of `who` in batches of `rows`.
pub(crate) fn file(who: &Who, rows: usize) -> (tempfile::TempDir, Membership) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("members.arrow");
    let label = Label {
        tenant: "crm".parse().expect("a tenant"),
        segment: "loyal".parse().expect("a segment"),
        number: 1,
        as_of: "2026-03-01T02:30:00Z".parse().expect("an instant"),
        generations: BTreeMap::new(),
    };
    let members: Vec<_> = who.iter().collect();
    let file = File::create(&path).expect("a file");
    let mut writer = MembershipWriter::new(file, &label, &schema(is_text(who))).expect("a writer");
    for part in members.chunks(rows) {
        writer.write(&batch(part, is_text(who))).expect("written");
    }
    writer.finish().expect("a whole file");
    let membership = Membership::open(&path).expect("a membership file");
    (folder, membership)
}

pub(crate) fn target(format: Format, compression: Compression) -> Target {
    Target {
        format,
        compression,
        segment: "loyal".parse().expect("a segment"),
        as_of: "2026-03-01T02:30:00Z".parse().expect("an instant"),
    }
}

/// The bytes of an export, decompressed.
pub(crate) fn export<E>(
    rows: impl Iterator<Item = Result<RecordBatch, E>>,
    schema: &SchemaRef,
    format: Format,
    compression: Compression,
) -> Vec<u8>
where
    ExportError: From<E>,
{
    let mut packed = Vec::new();
    let target = target(format, compression);
    for piece in Export::begin(rows, schema, &target).expect("an export") {
        packed.write_all(&piece.expect("a piece")).expect("memory");
    }
    let mut bytes = Vec::new();
    match compression {
        Compression::Gzip if format != Format::Parquet => {
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
            bytes
        }
        Compression::Zstd if format != Format::Parquet => {
            zstd::stream::decode_all(&packed[..]).expect("zstd")
        }
        _ => packed,
    }
}

/// A row as the predictions API writes it: by serde and chrono, not by the code under test.
pub(crate) fn as_json(key: &Key, one: &Attributes) -> Value {
    let day = |days: i32| chrono::NaiveDate::default() + chrono::TimeDelta::days(i64::from(days));
    let row = json!({
        "key": key, "clv.score": one.score, "clv.tier": one.tier, "gender.active": one.active,
        "gender.visits": one.visits, "gender.day": one.day.map(day),
        "gender.at": one.at.and_then(chrono::DateTime::from_timestamp_micros),
    });
    // serde_json reads some numbers a last digit away from what it writes: what is compared is read twice.
    serde_json::from_str(&row.to_string()).expect("JSON")
}

/// All members as one batch, as columnar formats give them. Arrow compares floats by their bits.
pub(crate) fn expected(who: &Who) -> RecordBatch {
    let batch = batch(&who.iter().collect::<Vec<_>>(), is_text(who));
    let mut fields: Vec<Field> =
        batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[0] = fields[0].clone().with_name("key");
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, batch.columns().to_vec()).expect("a batch")
}
