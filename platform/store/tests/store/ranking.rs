//! Generations of services that rank: several rows per key.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use cameo_batch::conform;
use cameo_domain::{DataType, Key, PredictionSchema};
use cameo_store::{
    StoreError,
    generations::{self, Outcome, Writer},
    lookup::{self, Value},
    outbox, releases,
    runs::{ClaimedRun, RunCounts},
};
use futures_util::StreamExt;

use crate::support::{World, crm, release, schema};

const TOP_N: u32 = 3;

fn offers() -> PredictionSchema {
    let columns = [
        ("user_id", DataType::Int),
        ("rank", DataType::Int),
        ("offer_id", DataType::Int),
        ("score", DataType::Float64),
    ];
    schema(&columns).ranked(TOP_N).expect("a rank")
}

/// Rows of users and ranks; the offer is `100 * user + rank`, the score falls with the rank.
fn rows(rows: &[(i64, i64)]) -> RecordBatch {
    let integers = |value: fn(&(i64, i64)) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Int64Array>())
    };
    let scores: Float64Array = rows.iter().map(|(_, rank)| 1.0 / *rank as f64).collect();
    RecordBatch::try_from_iter([
        ("user_id", integers(|row| row.0)),
        ("rank", integers(|row| row.1)),
        ("offer_id", integers(|row| 100 * row.0 + row.1)),
        ("score", Arc::new(scores) as ArrayRef),
    ])
    .expect("a batch")
}

async fn claimed(world: &World, due_at: &str) -> ClaimedRun {
    let new = release("offers", &offers());
    releases::apply(&world.store, &crm(), &new).await.expect("a release");
    world.request("crm", "offers", due_at).await;
    world.claim().await.expect("the requested run")
}

#[tokio::test]
async fn a_key_is_answered_with_all_its_rows_by_rank() {
    let world = World::start().await;
    let run = claimed(&world, "2026-03-01T00:00:00Z").await;
    // In no order, over several batches; user 2 has fewer rows.
    let batches = [rows(&[(1, 3), (2, 2), (1, 1)]), rows(&[(2, 1), (1, 2)])];
    let (generation, digest) = world.sealed(&run, &offers(), &batches).await;
    let counts =
        RunCounts { rows_read: 3, rows_scored: 2, rows_quarantined: 1, rows_suppressed: 0 };
    let outcome =
        generations::publish(&world.store, run.run, run.epoch, &generation, digest, &counts).await;
    assert_eq!(outcome.expect("a publication"), Outcome::Published);

    let served = lookup::current(&world.store, None).await.expect("pointers").remove(0);
    assert_eq!((served.rows, served.schema.top_n()), (5, Some(TOP_N)));
    let offers_of = |values: &[Value]| -> Vec<(Value, Value)> {
        values.chunks(3).map(|row| (row[0].clone(), row[1].clone())).collect()
    };
    let expected = |user: i64, ranks: i64| -> Vec<(Value, Value)> {
        (1..=ranks).map(|rank| (Value::Int(rank), Value::Int(100 * user + rank))).collect()
    };
    let one = lookup::one(&world.store, &served, &Key::Int(1)).await.expect("a look-up");
    assert_eq!(offers_of(&one.expect("rows").values), expected(1, 3));
    assert!(lookup::one(&world.store, &served, &Key::Int(9)).await.expect("a look-up").is_none());
    let keys = [Key::Int(2), Key::Int(9), Key::Int(1), Key::Int(2)];
    let many = lookup::many(&world.store, &served, &keys).await.expect("look-ups");
    let many: Vec<_> =
        many.iter().map(|hit| hit.as_ref().map(|hit| offers_of(&hit.values))).collect();
    assert_eq!(many, [Some(expected(2, 2)), None, Some(expected(1, 3)), Some(expected(2, 2))]);
    world.assert_sound().await;

    let task = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
    let mut mirrored = 0;
    let mut stream = outbox::rows(&world.store, &task).await.expect("rows");
    while let Some(batch) = stream.next().await {
        mirrored += batch.expect("a batch").num_rows();
    }
    assert_eq!(mirrored, 5);
}

#[tokio::test]
async fn a_key_and_rank_that_occur_twice_are_refused_with_the_row() {
    let world = World::start().await;
    let run = claimed(&world, "2026-03-01T00:00:00Z").await;
    let generation = world.begun(&run, &offers()).await;
    let mut writer = Writer::open(&world.store, &generation).await.expect("a writer");
    let twins = conform(&rows(&[(1, 1), (1, 2), (1, 1)]), &offers()).expect("a conformed batch");
    writer.send(&twins).await.expect("rows sent");
    writer.finish().await.expect("all rows sent");
    let refused = generations::seal(&world.store, &generation).await.expect_err("a twin");
    let StoreError::DuplicateKey { example } = refused else { panic!("{refused}") };
    assert!(example.contains("(user_id, rank)=(1, 1)"), "{example}");
}

#[tokio::test]
async fn a_generation_has_one_to_n_rows_per_scored_key_or_is_not_published() {
    let world = World::start().await;
    let run = claimed(&world, "2026-03-01T00:00:00Z").await;
    let batch = rows(&[(1, 1), (1, 2), (1, 3), (2, 1)]);
    let (generation, digest) = world.sealed(&run, &offers(), &[batch]).await;
    // Four rows are too many for one key and too few for five.
    for (scored, fits) in [(1, false), (5, false), (2, true)] {
        let counts = RunCounts { rows_read: scored, rows_scored: scored, ..RunCounts::default() };
        let answer =
            generations::publish(&world.store, run.run, run.epoch, &generation, digest, &counts)
                .await;
        match answer {
            Ok(outcome) => assert!(fits && outcome == Outcome::Published, "{scored}"),
            Err(error) => assert!(!fits && matches!(error, StoreError::Counts { .. }), "{error}"),
        }
    }
    world.assert_sound().await;
}
