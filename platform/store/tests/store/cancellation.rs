//! A caller that goes away leaves nothing half done and poisons no connection.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use cameo_batch::conform;
use cameo_store::{
    Store,
    generations::{self, Writer},
    runs,
};
use futures_util::future::poll_fn;

use crate::support::{World, at, batch, crm, meta, scores};

/// Polls the future this many times, then drops it.
async fn cancelled_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ended = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if ended {
            return;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
}

#[tokio::test]
async fn transactions_that_are_cancelled_at_any_point_are_whole_or_absent() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    // One connection: a transaction left open on it would swallow every later write.
    let options = world.options.clone().control_connections(1);
    let store = Store::connect(&options).await.expect("a connection");
    let tenant = crm();
    for round in 0..60_u8 {
        let key = format!("cancelled {round}");
        let due_at = at("2026-03-01T00:00:00Z") + chrono::Duration::seconds(i64::from(round));
        let request = runs::create_manual(&store, &tenant, &service, &key, due_at, "test");
        cancelled_after(usize::from(round % 6), request).await;
        let key = format!("kept {round}");
        runs::create_manual(&store, &crm(), &service, &key, due_at, "test").await.expect("a run");
    }
    store.close().await;
    let kept = "select count(*) from cameo.runs where idempotency_key like 'kept%'";
    assert_eq!(world.number(kept).await, 60, "every acknowledged run is there");
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
    assert_eq!(world.number(open).await, 0);
}

#[tokio::test]
async fn a_begun_generation_and_a_writer_may_be_dropped_anywhere() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let id = world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let mut attempts = 0;
    while let Some(run) = world.claim().await {
        attempts += 1;
        cancelled_after(attempts, generations::begin(&world.store, &run, &meta(&run, &scores())))
            .await;
        let reason = cameo_domain::Reason::new("test", "cancelled");
        if attempts == 12 {
            break;
        }
        runs::hand_back(&world.store, id, run.epoch, reason).await.expect("handed back");
        world.assert_sound().await;
    }
    let run = runs::find(&world.store, &crm(), id).await.expect("read").expect("the run");
    let reason = cameo_domain::Reason::new("test", "cancelled");
    runs::hand_back(&world.store, id, run.epoch, reason).await.expect("handed back");
    let run = world.claim().await.expect("the run");
    let generation = world.begun(&run, &scores()).await;
    let large = conform(&batch(0..200_000), &scores()).expect("a batch");
    let mut writer = Writer::open(&world.store, &generation).await.expect("a writer");
    cancelled_after(1, writer.send(&large)).await;
    let interrupted = writer.finish().await;
    drop(interrupted);
    let dropped = Writer::open(&world.store, &generation).await.expect("a writer");
    drop(dropped);
    let mut writer = Writer::open(&world.store, &generation).await.expect("a writer");
    writer
        .send(&conform(&batch(500_000..500_100), &scores()).expect("a batch"))
        .await
        .expect("sent");
    let sent = writer.finish().await.expect("finished");
    // Whatever the dropped writers had sent was aborted with their connections.
    let sealed = loop {
        let sealed = generations::seal(&world.store, &generation).await.expect("sealed");
        if world.number("select count(*) from pg_stat_activity where query like 'copy %'").await
            == 0
        {
            break sealed;
        }
    };
    assert_eq!(sealed, sent);
    world.publish(&run, &generation, sealed).await.expect("published");
    world.assert_sound().await;
}
