//! The queues of mirror and snapshots.

use cameo_domain::{Reason, Sha256};
use cameo_store::{
    Store,
    generations::Generation,
    outbox::{self, MirrorTask},
    snapshots::{self, SnapshotFile, SnapshotTask},
};
use chrono::Utc;

use super::super::sweep::Sweep;
use crate::ground::{Ground, LEASE_SECONDS};

/// A claim that anybody may take over at once, as after the end of its lease.
const NO_LEASE: u32 = 0;
const ROWS: i64 = 20;
/// Enough for a reader to wait for Postgres.
const MANY_ROWS: i64 = 50_000;

fn reason() -> Reason {
    Reason::new("soak", "it was dropped somewhere")
}

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    mirrored(sweep, ground).await;
    snapshots(sweep, ground).await;
}

async fn mirrored(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/mirrored").await;
    ground.published(&path, MANY_ROWS).await;
    let claim = async |store: &Store| outbox::claim(store, NO_LEASE, None).await;
    let task = sweep.call("outbox::claim", claim).await.expect("a claim").expect("a task");
    let beat = async |store: &Store| outbox::heartbeat(store, &task, NO_LEASE).await;
    sweep.call("outbox::heartbeat", beat).await.expect("held");
    let read = async |store: &Store| {
        let stream = outbox::rows(store, &task).await?;
        super::readers::count(stream).await
    };
    let rows = sweep.call("outbox::rows::rows", read).await.expect("all rows");
    assert_eq!(rows, task.digest.rows);
    let retry = async |store: &Store| outbox::retry(store, &task, reason(), Utc::now()).await;
    sweep.call("outbox::retry", retry).await.expect("given back");
    let claimed = async || {
        ground.published(&path, ROWS).await;
        let task = outbox::claim(ground.store(), NO_LEASE, None).await.expect("a claim");
        task.expect("a task")
    };
    let complete = async |store: &Store, task: MirrorTask| {
        outbox::complete(store, &task, task.digest, task.digest).await
    };
    sweep.prepared("outbox::complete", claimed, complete).await.expect("mirrored");
    sweep.call("outbox::lag", outbox::lag).await.expect("numbers");
    let list = async |store: &Store| outbox::list(store, &path.tenant, &path.service).await;
    sweep.call("outbox::list", list).await.expect("copies");
}

async fn snapshots(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/pictured").await;
    ground.published(&path, ROWS).await;
    let file = SnapshotFile { sha256: Sha256::of("file"), bytes: 1_000 };
    let claim = async |store: &Store| snapshots::claim(store, NO_LEASE, None).await;
    let task = sweep.call("snapshots::claim", claim).await.expect("a claim").expect("a task");
    let beat = async |store: &Store| snapshots::heartbeat(store, &task, LEASE_SECONDS).await;
    sweep.call("snapshots::heartbeat", beat).await.expect("held");
    let read = async |store: &Store| {
        let stream = snapshots::rows(store, &task).await?;
        super::readers::count(stream).await
    };
    sweep.call("snapshots::rows", read).await.expect("all rows");
    let announce = async |store: &Store| snapshots::announce(store, &task, &file.sha256).await;
    sweep.call("snapshots::announce", announce).await.expect("announced");
    let cleaned = async |store: &Store| snapshots::cleaned(store, &task).await;
    sweep.call("snapshots::cleaned", cleaned).await.expect("noted");
    let retry = async |store: &Store| snapshots::retry(store, &task, reason(), Utc::now()).await;
    sweep.call("snapshots::retry", retry).await.expect("given back");
    let claimed = async || {
        ground.published(&path, ROWS).await;
        let task = snapshots::claim(ground.store(), NO_LEASE, None).await.expect("a claim");
        task.expect("a task")
    };
    let complete = async |store: &Store, task: SnapshotTask| {
        snapshots::complete(store, &task, &file).await.map(|()| task)
    };
    let made = sweep.prepared("snapshots::complete", claimed, complete).await.expect("made");
    let (tenant, generation) = (&path.tenant, made.generation);
    let find = async |store: &Store| snapshots::find(store, tenant, generation).await;
    sweep.call("snapshots::find", find).await.expect("an answer");
    let disown = async |store: &Store| snapshots::disown(store, &made, &file.sha256).await;
    sweep.call("snapshots::disown", disown).await.expect("an answer");
    sweep.call("snapshots::waiting", snapshots::waiting).await.expect("numbers");
    sweep.call("snapshots::files", snapshots::files).await.expect("files");
    sweep.call("snapshots::upcoming", snapshots::upcoming).await.expect("files");
    let run = ground.claimed(&path).await;
    let sealed = async || {
        let run = ground.reclaimed(&run).await;
        ground.sealed(&run, ROWS).await.0
    };
    let begin = async |store: &Store, generation: Generation| {
        snapshots::begin(store, &generation, NO_LEASE).await
    };
    sweep.prepared("snapshots::begin", sealed, begin).await.expect("an answer");
    let renew = async |store: &Store| snapshots::renew(store, tenant, generation).await;
    sweep.call("snapshots::renew", renew).await.expect("renewed");
}
