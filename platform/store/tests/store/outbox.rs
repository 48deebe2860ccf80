//! The mirror's queue.

use arrow::{array::AsArray, datatypes::Int64Type};
use cameo_batch::RowDigest;
use cameo_domain::Reason;
use cameo_store::{StoreError, outbox};
use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt};

use crate::support::{World, crm};

#[tokio::test]
async fn a_services_generations_are_mirrored_oldest_first_and_a_lost_task_is_refused() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    world.service("crm", "clv").await;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let second = world.published("gender", "2026-03-02T00:00:00Z", 10).await;
    let other = world.published("clv", "2026-03-01T00:00:00Z", 10).await;
    let store = &world.store;
    let old = outbox::claim(store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!(old.generation, first.id);
    let overtaking = outbox::claim(store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!(overtaking.generation, other.id, "the second one waits for the first");
    assert!(outbox::claim(store, 60, None).await.expect("a claim").is_none());
    world
        .sql("update cameo.outbox set lease_expires_at = now() - interval '1 s' where epoch = 1")
        .await
        .expect("expired leases");
    let again = outbox::claim(store, 60, None).await.expect("a claim").expect("the task again");
    assert_eq!((again.generation, &again.load_id), (first.id, &old.load_id));
    assert!(matches!(
        outbox::complete(store, &old, old.digest, old.digest).await,
        Err(StoreError::StaleTask(_))
    ));
    let lost = RowDigest { rows: 9, ..again.digest };
    assert!(matches!(
        outbox::complete(store, &again, again.digest, lost).await,
        Err(StoreError::DigestMismatch { .. })
    ));
    let reason = Reason::new("unreachable", "the warehouse does not answer");
    outbox::retry(store, &again, reason, Utc::now()).await.expect("given back");
    let third = outbox::claim(store, 60, None).await.expect("a claim").expect("the task again");
    outbox::complete(store, &third, third.digest, third.digest).await.expect("mirrored");
    assert_eq!(outbox::lag(store).await.expect("the lag").pending, 2);
    let records = outbox::list(store, &crm(), &service).await.expect("the records");
    assert_eq!(records[0].generation, second.id);
    assert_eq!(records[1].digest, Some(third.digest));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_small_generation_is_not_mirrored_behind_a_large_one_of_another_service() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.service("crm", "clv").await;
    let large = world.published("clv", "2026-03-01T00:00:00Z", 11).await;
    let small = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    world.published("clv", "2026-03-02T00:00:00Z", 10).await;
    let store = &world.store;
    let task = outbox::claim(store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!(task.generation, large.id);
    let task = outbox::claim(store, 60, Some(10)).await.expect("a claim").expect("a task");
    assert_eq!(task.generation, small.id);
    let none = outbox::claim(store, 60, Some(10)).await.expect("a claim");
    assert!(none.is_none(), "a service's generations keep their order: {none:?}");
    world.assert_sound().await;
}

#[tokio::test]
async fn all_rows_stream_in_batches_and_a_reader_may_leave() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 50_000).await;
    let task = outbox::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
    let mut leaving = outbox::rows(&world.store, &task).await.expect("a stream");
    leaving.next().await.expect("a batch").expect("rows");
    drop(leaving);
    let stream = outbox::rows(&world.store, &task).await.expect("a stream");
    let batches: Vec<_> = stream.try_collect().await.expect("all rows");
    assert!(batches.len() > 2, "in batches");
    let mut digest = RowDigest::default();
    let mut keys = Vec::new();
    for batch in &batches {
        digest.add(batch);
        keys.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }
    assert_eq!(digest, task.digest);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 50_000, "each row once");
}
