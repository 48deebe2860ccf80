//! The queue of snapshots.

use arrow::{array::AsArray, datatypes::Int64Type};
use cameo_domain::{Reason, Sha256};
use cameo_store::{
    StoreError,
    generations::{self, Outcome},
    lookup, outbox, runs,
    snapshots::{self, SnapshotFile},
};
use chrono::Utc;
use futures_util::TryStreamExt;

use crate::support::{World, batch, crm, scores, tenant};

fn file() -> SnapshotFile {
    SnapshotFile { sha256: Sha256::of("file"), bytes: 1_000 }
}

#[tokio::test]
async fn a_published_generation_gets_a_snapshot_and_what_is_shown_comes_first() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.service("crm", "clv").await;
    let store = &world.store;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let shown = world.published("gender", "2026-03-02T00:00:00Z", 10).await;
    assert_eq!(snapshots::waiting(store).await.expect("what waits").pending, 2);
    let task = snapshots::claim(store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!((task.generation, task.wanted), (shown.id, true));
    snapshots::announce(store, &task, &file().sha256).await.expect("announced");
    snapshots::complete(store, &task, &file()).await.expect("recorded");
    let served = lookup::current(store, Some(&crm())).await.expect("pointers").remove(0);
    assert_eq!(served.snapshot, Some(file()));
    let waiting = snapshots::waiting(store).await.expect("what waits");
    assert_eq!((waiting.pending, waiting.unwanted), (1, 0));
    let found = snapshots::find(store, &tenant("other"), shown.id).await.expect("an answer");
    assert_eq!(found, None, "another tenant sees nothing");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_lost_task_is_refused_and_what_it_stored_is_deleted_before_another_attempt() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let store = &world.store;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let lost = snapshots::claim(store, 60, None).await.expect("a claim").expect("a task");
    snapshots::announce(store, &lost, &file().sha256).await.expect("announced");
    assert!(snapshots::claim(store, 60, None).await.expect("a claim").is_none(), "it is held");
    world
        .sql("update cameo.snapshots set lease_expires_at = now() - interval '1 s'")
        .await
        .expect("an expired lease");
    let again = snapshots::claim(store, 60, None).await.expect("a claim").expect("the task again");
    assert_eq!((again.generation, again.attempt), (lost.generation, 2));
    assert_eq!(again.unwanted, [file().sha256]);
    for late in [
        snapshots::heartbeat(store, &lost, 60).await,
        snapshots::announce(store, &lost, &file().sha256).await,
        snapshots::complete(store, &lost, &file()).await,
        snapshots::cleaned(store, &lost).await,
    ] {
        assert!(matches!(late, Err(StoreError::StaleTask(_))));
    }
    snapshots::cleaned(store, &again).await.expect("deleted");
    let reason = Reason::new("unreachable", "the artifact store does not answer");
    snapshots::retry(store, &again, reason, Utc::now()).await.expect("given back");
    let third = snapshots::claim(store, 60, None).await.expect("a claim").expect("the task again");
    assert!(third.unwanted.is_empty());

    // Who lost it had only slept, and stores what was deleted: it is named once more, unless it is served.
    snapshots::disown(store, &lost, &file().sha256).await.expect("named");
    let other = SnapshotFile { sha256: Sha256::of("other"), bytes: 1_000 };
    snapshots::complete(store, &third, &other).await.expect("recorded");
    let last = snapshots::claim(store, 60, None).await.expect("a claim").expect("a file to delete");
    assert_eq!((last.wanted, &last.unwanted[..]), (false, &[file().sha256][..]));
    snapshots::cleaned(store, &last).await.expect("deleted");
    snapshots::disown(store, &lost, &other.sha256).await.expect("nothing");
    assert!(snapshots::claim(store, 60, None).await.expect("a claim").is_none());
    world.assert_sound().await;
}

#[tokio::test]
async fn a_small_snapshot_does_not_wait_behind_a_large_one() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.service("crm", "clv").await;
    let store = &world.store;
    let small = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let large = world.published("clv", "2026-03-01T00:00:00Z", 11).await;
    let task = snapshots::claim(store, 60, None).await.expect("a claim").expect("a task");
    assert_eq!(task.generation, large.id, "the newest, and it is being made");
    let task = snapshots::claim(store, 60, Some(10)).await.expect("a claim").expect("a task");
    assert_eq!(task.generation, small.id);
    snapshots::complete(store, &task, &file()).await.expect("recorded");
    world.published("clv", "2026-03-02T00:00:00Z", 11).await;
    assert!(snapshots::claim(store, 60, Some(10)).await.expect("a claim").is_none());
    world.assert_sound().await;
}

#[tokio::test]
async fn a_snapshot_may_be_made_before_its_generation_is_published() {
    let world = World::start().await;
    let store = &world.store;
    let (run, generation, digest) = world.about_to_be_published().await;
    let begin = async || snapshots::begin(store, &generation, 60).await.expect("an answer");
    let task = begin().await.expect("a task");
    assert_eq!((task.generation, task.wanted, task.attempt), (generation.id, true, 1));
    assert!(begin().await.is_none(), "it is begun");
    assert_eq!(snapshots::upcoming(store).await.expect("files"), []);
    snapshots::announce(store, &task, &file().sha256).await.expect("announced");
    snapshots::complete(store, &task, &file()).await.expect("recorded");
    assert_eq!(snapshots::upcoming(store).await.expect("files"), [file()]);
    assert!(snapshots::files(store).await.expect("files").contains(&file().sha256));
    world.assert_sound().await;

    let published = world.publish(&run, &generation, digest).await.expect("a publication");
    assert_eq!(published, Outcome::Published);
    let served = lookup::current(store, Some(&crm())).await.expect("pointers").remove(0);
    assert_eq!((served.generation, served.snapshot), (generation.id, Some(file())));
    assert_eq!(snapshots::upcoming(store).await.expect("files"), []);
    assert_eq!(snapshots::waiting(store).await.expect("what waits").pending, 1, "of yesterday");
    world.assert_sound().await;
}

#[tokio::test]
async fn no_snapshot_is_made_before_where_nobody_waits_for_it() {
    let world = World::start().await;
    let store = &world.store;
    world.service("crm", "gender").await;
    for due_at in ["2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z"] {
        world.request("crm", "gender", due_at).await;
        let run = world.claim().await.expect("a run");
        let (generation, digest) = world.sealed(&run, &scores(), &[batch(0..10)]).await;
        let begun = snapshots::begin(store, &generation, 60).await.expect("an answer");
        assert!(begun.is_none(), "the first, or older than what is shown: {due_at}");
        world.publish(&run, &generation, digest).await.expect("an end");
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn a_snapshot_whose_generation_is_never_published_goes() {
    let world = World::start().await;
    let store = &world.store;
    let (run, generation, _) = world.about_to_be_published().await;
    let task = snapshots::begin(store, &generation, 60).await.expect("an answer");
    let task = task.expect("a task");
    snapshots::announce(store, &task, &file().sha256).await.expect("announced");
    let reason = Reason::new("worker_stopped", "the worker was stopped while it ran");
    runs::hand_back(store, run.run, run.epoch, reason).await.expect("handed back");
    let late = snapshots::begin(store, &generation, 60).await;
    assert!(matches!(late, Err(StoreError::StaleEpoch { .. })), "{late:?}");
    world
        .sql("update cameo.snapshots set lease_expires_at = now() - interval '1 s'")
        .await
        .expect("an expired lease");
    let mut left = Vec::new();
    while let Some(task) = snapshots::claim(store, 60, None).await.expect("a claim") {
        left.push((task.generation == generation.id, task.wanted, task.unwanted));
    }
    let of_yesterday = (false, true, Vec::new());
    assert_eq!(left, [of_yesterday, (true, false, vec![file().sha256])], "it is not made any more");
    assert_eq!(generations::retain_after(store, 0).await.expect("retained"), [generation.id]);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_snapshot_goes_with_its_table() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let store = &world.store;
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let task = snapshots::claim(store, 60, None).await.expect("a claim").expect("a task");
    snapshots::announce(store, &task, &file().sha256).await.expect("announced");
    snapshots::complete(store, &task, &file()).await.expect("recorded");
    for day in 2..=3 {
        world.published("gender", &format!("2026-03-0{day}T00:00:00Z"), 10).await;
    }
    while let Some(task) = outbox::claim(store, 60, None).await.expect("a claim") {
        outbox::complete(store, &task, task.digest, task.digest).await.expect("mirrored");
    }
    let dropped = generations::retain_after(store, 0).await.expect("retained");
    assert_eq!(dropped, [first.id]);
    assert_eq!(snapshots::find(store, &crm(), first.id).await.expect("an answer"), None);
    let mut tasks = Vec::new();
    while let Some(task) = snapshots::claim(store, 60, None).await.expect("a claim") {
        tasks.push(task);
    }
    let task = tasks.iter().find(|task| task.generation == first.id).expect("its task");
    assert_eq!((task.wanted, &task.unwanted[..]), (false, &[file().sha256][..]));
    snapshots::cleaned(store, task).await.expect("deleted");
    assert_eq!(snapshots::waiting(store).await.expect("what waits").unwanted, 0);
    world.assert_sound().await;
}

#[tokio::test]
async fn a_table_that_has_changed_gets_another_snapshot() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let store = &world.store;
    let generation = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let task = snapshots::claim(store, 60, None).await.expect("a claim").expect("a task");
    snapshots::complete(store, &task, &file()).await.expect("recorded");
    snapshots::renew(store, &tenant("other"), generation.id).await.expect("nothing");
    assert!(snapshots::find(store, &crm(), generation.id).await.expect("an answer").is_some());
    assert!(snapshots::files(store).await.expect("files").contains(&file().sha256));
    snapshots::renew(store, &crm(), generation.id).await.expect("renewed");
    assert!(snapshots::files(store).await.expect("files").is_empty());
    assert_eq!(snapshots::find(store, &crm(), generation.id).await.expect("an answer"), None);
    let again = snapshots::claim(store, 60, None).await.expect("a claim").expect("the task again");
    assert_eq!((again.wanted, &again.unwanted[..]), (true, &[file().sha256][..]));
}

#[tokio::test]
async fn rows_for_a_snapshot_come_in_the_order_of_their_keys() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 50_000).await;
    world
        .sql(
            "create table tenant_crm.mixed as select * from tenant_crm.gender_g1 order by random();
              truncate tenant_crm.gender_g1;
              insert into tenant_crm.gender_g1 select * from tenant_crm.mixed",
        )
        .await
        .expect("the same rows in another order");
    let task = snapshots::claim(&world.store, 60, None).await.expect("a claim").expect("a task");
    let stream = snapshots::rows(&world.store, &task).await.expect("a stream");
    let batches: Vec<_> = stream.try_collect().await.expect("all rows");
    let mut keys = Vec::new();
    for batch in &batches {
        keys.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }
    assert!(keys.iter().copied().eq(0..50_000));
}
