//! The digest in Rust is the digest in Postgres.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use cameo_batch::{RowDigest, arrow_schema};
use cameo_domain::DataType;
use cameo_store::outbox;
use futures_util::TryStreamExt;
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::support::{World, crm, release, schema};

type Row = (Option<i64>, Option<f64>, Option<String>, Option<bool>, Option<i32>, Option<i64>);

fn any_row() -> impl Strategy<Value = Row> {
    let float = prop_oneof![
        any::<f64>(),
        Just(-0.0),
        Just(0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MIN),
    ];
    let text =
        prop_oneof!["[^\\x00]{0,40}", Just(String::new()), Just("Zürich 東京 🙂".to_owned()),];
    // Days and microseconds within the years 1 to 9999, which every client shows.
    let day = -719_162..2_932_896_i32;
    let micros = -62_135_596_800_000_000..253_402_300_799_999_999_i64;
    (
        option::of(any::<i64>()),
        option::of(float),
        option::of(text),
        option::of(any::<bool>()),
        option::of(day),
        option::of(micros),
    )
}

#[tokio::test]
async fn every_type_hashes_alike_in_rust_and_in_postgres_and_streams_back_unchanged() {
    let world = World::start().await;
    let declared = schema(&[
        ("key", DataType::String),
        ("an_int", DataType::Int),
        ("a_float", DataType::Float64),
        ("a_text", DataType::String),
        ("a_bool", DataType::Bool),
        ("a_date", DataType::Date),
        ("an_instant", DataType::Timestamp),
        ("another_instant", DataType::Timestamp),
    ]);
    cameo_store::releases::apply(&world.store, &crm(), &release("types", &declared))
        .await
        .expect("a release");
    let mut runner = TestRunner::deterministic();
    for round in 0..20 {
        let rows = vec(any_row(), 0..200).new_tree(&mut runner).expect("rows").current();
        let batch = RecordBatch::try_new(arrow_schema(&declared), columns(&rows)).expect("a batch");
        let due_at = format!("2026-03-{:02}T18:00:00Z", round + 1);
        world.request("crm", "types", &due_at).await;
        let run = world.claim().await.expect("the run");
        // `sealed` compares what was sent with what Postgres computed.
        let (generation, digest) =
            world.sealed(&run, &declared, std::slice::from_ref(&batch)).await;
        world.publish(&run, &generation, digest).await.expect("a publication");

        let task = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
        let stream = outbox::rows(&world.store, &task).await.expect("a stream");
        let batches: Vec<RecordBatch> = stream.try_collect().await.expect("all rows");
        let mut read = RowDigest::default();
        for batch in &batches {
            read.add(batch);
        }
        assert_eq!(read, task.digest);
        outbox::complete(&world.store, &task, read, task.digest).await.expect("completed");
    }
    world.assert_sound().await;
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let keys = StringArray::from_iter_values((0..rows.len()).map(|row| format!("k{row}")));
    let instants = || {
        let instants: TimestampMicrosecondArray = rows.iter().map(|row| row.5).collect();
        Arc::new(instants.with_timezone("UTC"))
    };
    vec![
        Arc::new(keys),
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.2.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.4).collect::<Date32Array>()),
        instants(),
        instants(),
    ]
}
