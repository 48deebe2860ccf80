//! Whatever the members, every format says the same of them, pages fit together, and changes lead from
//! one materialisation to the next.

mod decode;
mod members;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use cameo_domain::Key;
use cameo_segment::{
    changes::Changes,
    export::{Compression, Export, Format},
    members::{Members, Page},
    membership::MembershipError,
};
use decode::{arrow, csv, lines, parquet};
use members::{
    Attributes, Who, as_json, before_and_after, expected, export, file, schema, target, who,
};
use proptest::prelude::*;
use serde_json::{Value, json};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_format_and_compression_says_the_same(who in who(24), rows in 1_usize..9) {
        for compression in Compression::ALL {
            let bytes_of = |format| {
                let (_folder, membership) = file(&who, rows);
                let members = Members::all(membership);
                let schema = members.schema();
                export(members, &schema, format, compression)
            };
            let objects: Vec<Value> = who.iter().map(|(key, one)| as_json(key, one)).collect();
            prop_assert_eq!(lines(&bytes_of(Format::Ndjson)), objects.clone());

            let mut records = csv(&bytes_of(Format::Csv)).into_iter();
            let header = records.next().expect("a header");
            prop_assert_eq!(header.len(), 7);
            prop_assert_eq!(records.len(), objects.len());
            for (record, object) in records.zip(&objects) {
                for (name, field) in header.iter().flatten().zip(record) {
                    let field = field.map_or(Value::Null, |text| match &object[name] {
                        Value::String(_) => Value::String(text),
                        _ => serde_json::from_str(&text).expect("a number or a word"),
                    });
                    prop_assert_eq!(&field, &object[name], "{}", name);
                }
            }
            let expected = expected(&who);
            prop_assert_eq!(&arrow(&bytes_of(Format::Arrow)), &expected);
            let parquet = parquet(bytes_of(Format::Parquet));
            prop_assert_eq!(parquet.columns(), expected.columns());
        }
    }

    #[test]
    fn pages_put_together_are_the_whole_and_any_row_can_be_the_last_that_arrived(
        who in who(40), rows in 1_usize..9, limit in 1_usize..12,
    ) {
        let keys: Vec<&Key> = who.keys().collect();
        let mut after: Option<Key> = None;
        let (mut seen, mut pages) = (0, 0);
        loop {
            let (_folder, membership) = file(&who, rows);
            let members = match &after {
                None => Members::all(membership),
                Some(after) => Members::after(membership, after).expect("a position"),
            };
            let schema = members.schema();
            let page = Page::read(members, limit).expect("a page");
            let given = page.batches.into_iter().map(Ok::<_, MembershipError>);
            let given = lines(&export(given, &schema, Format::Ndjson, Compression::None));
            let wanted: Vec<Value> = who
                .iter().skip(seen).take(limit).map(|(key, one)| as_json(key, one)).collect();
            prop_assert_eq!(&given, &wanted);
            (seen, pages) = (seen + given.len(), pages + 1);
            prop_assert_eq!(page.next.is_some(), seen < who.len());
            if page.next.is_none() {
                break;
            }
            prop_assert_eq!(page.next.as_ref(), Some(keys[seen - 1]));
            after = page.next;
        }
        prop_assert_eq!(pages, who.len().div_ceil(limit).max(1));
        for (at, key) in keys.iter().enumerate() {
            let (_folder, membership) = file(&who, rows);
            let rest = Members::after(membership, key).expect("a position");
            let left: usize = rest.map(|batch| batch.expect("a batch").num_rows()).sum();
            prop_assert_eq!(left, who.len() - at - 1);
        }
    }

    #[test]
    fn changes_applied_to_the_older_members_give_the_newer_ones(
        (before, after) in before_and_after(), rows in 1_usize..9,
    ) {
        let changes = |attributes| {
            let (one, old) = file(&before, rows);
            let (two, new) = file(&after, rows.div_ceil(2));
            let (old, new) = (Members::all(old), Members::all(new));
            let (old_schema, new_schema) = (old.schema(), new.schema());
            let changes = Changes::new((old, &old_schema), (new, &new_schema), attributes);
            (one, two, changes.expect("changes"))
        };
        let by_key = |who: &Who| -> BTreeMap<i64, Value> {
            let rows = who.iter().map(|(key, one)| as_json(key, one));
            rows.map(|row| (row["key"].as_i64().expect("a key"), row)).collect()
        };
        let (_one, _two, all) = changes(true);
        let schema = all.schema();
        let listed = lines(&export(all, &schema, Format::Ndjson, Compression::None));
        let keys: Vec<i64> = listed.iter().map(|row| row["key"].as_i64().expect("a key")).collect();
        prop_assert!(keys.is_sorted_by(|one, two| one < two));
        let mut members = by_key(&before);
        let mut told = [0, 0, 0];
        for (key, mut row) in keys.into_iter().zip(listed) {
            let change = row.as_object_mut().and_then(|row| row.remove("change"));
            match change.as_ref().and_then(Value::as_str) {
                Some("entered") => {
                    told[0] += 1;
                    prop_assert!(members.insert(key, row).is_none());
                }
                Some("left") => {
                    told[1] += 1;
                    prop_assert!(members.remove(&key).is_some());
                    let values = row.as_object().expect("an object").values();
                    prop_assert_eq!(values.filter(|value| value.is_null()).count(), 6);
                }
                Some("changed") => {
                    told[2] += 1;
                    prop_assert!(members.insert(key, row).is_some());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(members, by_key(&after));

        for (attributes, changed) in [(true, told[2]), (false, 0)] {
            let (_one, _two, counted) = changes(attributes);
            let tally = counted.tally().expect("a tally");
            prop_assert_eq!([tally.entered, tally.left, tally.changed], [told[0], told[1], changed]);
        }
    }
}

#[test]
fn changes_between_keys_of_different_types_are_refused() {
    let (int, text) = (schema(false), schema(true));
    let none = || std::iter::empty::<Result<RecordBatch, MembershipError>>();
    let refused = Changes::new((none(), &int), (none(), &text), true).err().expect("refused");
    assert!(refused.to_string().contains("take all members anew"), "{refused}");
    let (_folder, membership) = file(&Who::from([(Key::Int(1), Attributes::default())]), 4);
    let refused = Members::after(membership, &Key::String("a".to_owned())).err();
    assert!(refused.expect("another type").to_string().contains("INT"));
}

#[test]
fn braze_gets_its_names_and_says_who_left() {
    let high =
        Attributes { tier: Some("High".to_owned()), score: Some(0.5), ..Attributes::default() };
    let before = Who::from([(Key::Int(1), high.clone()), (Key::Int(2), high.clone())]);
    let after = Who::from([(Key::Int(2), high.clone()), (Key::Int(3), high)]);
    let ((_one, old), (_two, new)) = (file(&before, 8), file(&after, 8));
    let (old, new) = (Members::all(old), Members::all(new));
    let (old_schema, new_schema) = (old.schema(), new.schema());
    let changes = Changes::new((old, &old_schema), (new, &new_schema), false).expect("changes");
    let columns = changes.schema();
    let rows = lines(&export(changes, &columns, Format::Braze, Compression::None));
    assert_eq!(
        rows,
        [
            json!({"external_id": "1", "clv_score": null, "clv_tier": null, "gender_active": null,
                "gender_visits": null, "gender_day": null, "gender_at": null,
                "segment_loyal": false, "updated_at": "2026-03-01T02:30:00Z"}),
            json!({"external_id": "3", "clv_score": 0.5, "clv_tier": "High", "gender_active": null,
                "gender_visits": null, "gender_day": null, "gender_at": null,
                "segment_loyal": true, "updated_at": "2026-03-01T02:30:00Z"}),
        ]
    );
    let (_three, membership) = file(&after, 8);
    let members = Members::all(membership);
    let bytes = export(members, &new_schema, Format::BrazeCsv, Compression::None);
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(
        text,
        "external_id,clv_score,clv_tier,gender_active,gender_visits,gender_day,gender_at,\
         segment_loyal,updated_at\r\n\
         2,0.5,High,,,,,true,2026-03-01T02:30:00Z\r\n3,0.5,High,,,,,true,2026-03-01T02:30:00Z\r\n"
    );
}

#[test]
fn names_that_braze_would_mix_up_are_refused() {
    let begin = |names: &[&str]| {
        let mut fields = vec![Field::new("key", DataType::Int64, false)];
        fields.extend(names.iter().map(|name| Field::new(*name, DataType::Int64, true)));
        let schema = Arc::new(Schema::new(fields));
        let none = std::iter::empty::<Result<RecordBatch, MembershipError>>();
        let target = target(Format::Braze, Compression::None);
        Export::begin(none, &schema, &target).err().map(|error| error.to_string())
    };
    assert_eq!(begin(&["clv.score"]), None);
    assert!(begin(&["a.b_c", "a_b.c"]).expect("twice").contains("`a_b_c`"));
    assert!(begin(&["segment.loyal"]).expect("the flag").contains("`segment_loyal`"));
    assert!(begin(&["first.name"]).expect("a field of profiles").contains("`first_name`"));
}
