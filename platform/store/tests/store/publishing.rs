//! Generations: whole or not at all.

use cameo_batch::{RowDigest, conform};
use cameo_domain::{DataType, RunState};
use cameo_store::{
    StoreError,
    generations::{
        self, GenerationState, Outcome, Releases, Writer, refresh_views, retain_after, rollback,
    },
    outbox, releases,
    runs::{self, RunCounts},
};

use crate::support::{World, at, batch, by, crm, release, schema, scores};

async fn current(world: &World, name: &str) -> Option<i64> {
    let service = name.parse().expect("a service name");
    let record = cameo_store::services::find(&world.store, &crm(), &service).await.expect("read");
    record.expect("the service").current_generation.map(|generation| generation.0)
}

#[tokio::test]
async fn parallel_writers_load_one_generation_that_is_published_whole() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let run = world.claim().await.expect("a run");
    let generation = world.begun(&run, &scores()).await;
    let writers = (0..4).map(|part| {
        let (store, generation) = (world.store.clone(), generation.clone());
        tokio::spawn(async move {
            let mut writer = Writer::open(&store, &generation).await.expect("a writer");
            for block in 0..10 {
                let from = (part * 10 + block) * 5_000;
                let batch = conform(&batch(from..from + 5_000), &scores()).expect("a batch");
                writer.send(&batch).await.expect("sent");
            }
            writer.finish().await.expect("finished")
        })
    });
    let mut sent = RowDigest::default();
    for writer in writers.collect::<Vec<_>>() {
        sent.merge(writer.await.expect("no panic"));
    }
    assert_eq!(sent.rows, 200_000);
    assert_eq!(current(&world, "gender").await, None, "nothing shows before the publication");
    let sealed = generations::seal(&world.store, &generation).await.expect("sealed");
    assert_eq!(sealed, sent);
    let wrong = RowDigest { checksum: sent.checksum ^ 1, ..sent };
    assert!(matches!(
        world.publish(&run, &generation, wrong).await,
        Err(StoreError::DigestMismatch { .. })
    ));
    let counts = RunCounts { rows_read: 200_001, rows_scored: 200_000, ..RunCounts::default() };
    assert!(matches!(
        generations::publish(&world.store, run.run, run.epoch, &generation, sent, &counts).await,
        Err(StoreError::Counts { .. })
    ));
    assert_eq!(current(&world, "gender").await, None);
    let outcome = world.publish(&run, &generation, sent).await.expect("published");
    assert_eq!(outcome, Outcome::Published);
    let again = world.publish(&run, &generation, sent).await.expect("the same answer");
    assert_eq!(again, Outcome::Published, "a repeated publication says what happened");
    assert_eq!(current(&world, "gender").await, Some(generation.id.0));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_key_twice_is_named_and_nothing_is_published() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let run = world.claim().await.expect("a run");
    let generation = world.begun(&run, &scores()).await;
    let mut writer = Writer::open(&world.store, &generation).await.expect("a writer");
    for keys in [0..100, 42..43] {
        writer.send(&conform(&batch(keys), &scores()).expect("a batch")).await.expect("sent");
    }
    writer.finish().await.expect("finished");
    let error = generations::seal(&world.store, &generation).await.expect_err("a duplicate");
    assert!(
        matches!(&error, StoreError::DuplicateKey { example } if example.contains("(42)")),
        "{error}"
    );
    assert!(world.publish(&run, &generation, RowDigest::default()).await.is_err());
    world.assert_sound().await;
}

#[tokio::test]
async fn an_older_due_instant_never_replaces_a_newer_generation() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let slow = world.claim().await.expect("the older run");
    // The older run's worker stalls; it is queued again and a newer one runs first.
    let later = chrono::Utc::now() + chrono::Duration::milliseconds(300);
    let reason = cameo_domain::Reason::new("test", "stalled");
    runs::requeue(&world.store, slow.run, slow.epoch, reason, later).await.expect("queued");
    let newer = world.published("gender", "2026-03-02T00:00:00Z", 20).await;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let slow = world.claim().await.expect("the older run again");
    let (generation, digest) = world.sealed(&slow, &scores(), &[batch(0..10)]).await;
    let outcome = world.publish(&slow, &generation, digest).await.expect("an outcome");
    assert_eq!(outcome, Outcome::Superseded { by: newer.id });
    assert_eq!(current(&world, "gender").await, Some(newer.id.0));
    let run = runs::find(&world.store, &crm(), slow.run).await.expect("read").expect("the run");
    assert_eq!(run.state, RunState::Superseded);
    assert_eq!(world.number("select count(*) from cameo.outbox").await, 1);
    world.assert_sound().await;
}

#[tokio::test]
async fn the_outbox_row_exists_if_and_only_if_the_generation_is_published() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    world.request("crm", "gender", "2026-03-02T00:00:00Z").await;
    let run = world.claim().await.expect("a run");
    world.sealed(&run, &scores(), &[batch(0..10)]).await;
    for refused in [
        "delete from cameo.outbox",
        "update cameo.generations set state = 'published', published_at = now()
         where state = 'loading'",
        "insert into cameo.outbox (generation, tenant, service, load_id)
         select generation, tenant, service, 'x' from cameo.generations where state = 'loading'",
        "update cameo.publications set actor = 'somebody'",
        "update cameo.generations set rows = 0 where state = 'published'",
        "update cameo.releases set version = '9'",
    ] {
        assert!(world.sql(refused).await.is_err(), "accepted: {refused}");
    }
    world.assert_sound().await;
}

#[tokio::test]
async fn rolling_back_flips_the_pointer_and_the_next_run_publishes_forward() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    let (store, tenant) = (&world.store, crm());
    assert!(matches!(
        rollback(store, &tenant, &service, None, Releases::Follow, &by("test")).await,
        Err(StoreError::NoRollback(_))
    ));
    let first = world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    let second = world.published("gender", "2026-03-02T00:00:00Z", 20).await;
    let back = rollback(store, &tenant, &service, None, Releases::Follow, &by("ann"))
        .await
        .expect("rolled back");
    assert_eq!((back.from, back.to), (second.id, first.id));
    assert_eq!(current(&world, "gender").await, Some(first.id.0));
    assert!(
        rollback(store, &tenant, &service, None, Releases::Follow, &by("ann")).await.is_err(),
        "nothing is older"
    );
    let forth = rollback(store, &tenant, &service, Some(second.id), Releases::Follow, &by("ann"))
        .await
        .expect("forth");
    assert_eq!(forth.to, second.id);
    rollback(store, &tenant, &service, Some(first.id), Releases::Follow, &by("ann"))
        .await
        .expect("and back");
    let third = world.published("gender", "2026-03-03T00:00:00Z", 30).await;
    assert_eq!(current(&world, "gender").await, Some(third.id.0));
    let history = generations::history(store, &tenant, &service).await.expect("the ledger");
    let actions: Vec<_> = history.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["publish", "rollback", "rollback", "rollback", "publish", "publish"]);
    world.assert_sound().await;
}

#[tokio::test]
async fn only_tables_that_nobody_needs_are_dropped() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    let (store, tenant) = (&world.store, crm());
    let mut published = Vec::new();
    for day in 1..=4 {
        let due_at = format!("2026-03-0{day}T00:00:00Z");
        published.push(world.published("gender", &due_at, 10).await.id);
    }
    assert_eq!(retain_after(store, 0).await.expect("retained"), [], "the mirror needs all four");
    while let Some(task) = outbox::claim(store, 60, None).await.expect("a claim") {
        outbox::complete(store, &task, task.digest, task.digest).await.expect("mirrored");
    }
    assert_eq!(retain_after(store, 3600).await.expect("retained"), [], "readers have their grace");
    rollback(store, &tenant, &service, Some(published[1]), Releases::Follow, &by("ann"))
        .await
        .expect("rolled back");
    refresh_views(store).await.expect("views");
    // Two are kept, and the current one in any case.
    assert_eq!(retain_after(store, 0).await.expect("retained"), [published[0]]);
    assert!(matches!(
        rollback(store, &tenant, &service, Some(published[0]), Releases::Follow, &by("ann")).await,
        Err(StoreError::NoRollback(_))
    ));
    // An attempt that was lost leaves nothing behind.
    world.request("crm", "gender", "2026-03-09T00:00:00Z").await;
    let lost = world.claim().await.expect("a run");
    let abandoned = world.begun(&lost, &scores()).await;
    let reason = cameo_domain::Reason::new("test", "lost");
    runs::requeue(store, lost.run, lost.epoch, reason, at("2026-01-01T00:00:00Z"))
        .await
        .expect("queued");
    let retried = world.claim().await.expect("the run again");
    let loading = world.begun(&retried, &scores()).await;
    assert_ne!(abandoned.table, loading.table, "each attempt has its own table");
    assert_eq!(retain_after(store, 0).await.expect("retained"), [abandoned.id]);
    let generations = generations::list(store, &tenant, &service).await.expect("the generations");
    let states: Vec<_> =
        generations.iter().map(|record| (record.state, record.dropped_at.is_some())).collect();
    assert_eq!(
        states,
        [
            (GenerationState::Loading, false),
            (GenerationState::Abandoned, true),
            (GenerationState::Published, false),
            (GenerationState::Published, false),
            (GenerationState::Published, false),
            (GenerationState::Published, true),
        ]
    );
    world.assert_sound().await;
}

#[tokio::test]
async fn the_view_follows_the_pointer_through_a_change_of_columns_without_waiting_for_readers() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.published("gender", "2026-03-01T00:00:00Z", 10).await;
    assert_eq!(refresh_views(&world.store).await.expect("views").len(), 1);
    assert!(refresh_views(&world.store).await.expect("views").is_empty());
    let rows = "select count(*) from tenant_crm.gender";
    assert_eq!(world.number(rows).await, 10);

    let wider = schema(&[("tier", DataType::Int), ("user_id", DataType::Float64)]);
    let mut new = release("gender", &wider);
    new.release = cameo_domain::ReleaseId(cameo_domain::Sha256::of("wider"));
    let applied = releases::apply(&world.store, &crm(), &new).await.expect("applied");
    assert_eq!(applied, releases::Applied::Changed);
    world.request("crm", "gender", "2026-03-02T00:00:00Z").await;
    let run = world.claim().await.expect("a run");
    let batch = batch(0..20);
    let batch = batch.project(&[1, 0]).expect("swapped");
    let renamed = arrow::array::RecordBatch::try_from_iter([
        ("user_id", batch.column(0).clone()),
        ("tier", batch.column(1).clone()),
    ])
    .expect("a batch");
    let (generation, digest) = world.sealed(&run, &wider, &[renamed]).await;
    world.publish(&run, &generation, digest).await.expect("published");
    {
        use sqlx::{Connection, Executor};
        let mut reader =
            sqlx::PgConnection::connect(&world.postgres.url()).await.expect("a connection");
        let mut reading = reader.begin().await.expect("a transaction");
        reading.execute(rows).await.expect("a read");
        assert!(
            refresh_views(&world.store).await.expect("views").is_empty(),
            "the reader is first"
        );
    }
    assert_eq!(refresh_views(&world.store).await.expect("views").len(), 1);
    assert_eq!(world.number("select sum(tier)::bigint from tenant_crm.gender").await, 190);
}
