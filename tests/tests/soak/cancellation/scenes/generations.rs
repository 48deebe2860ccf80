//! Generations from their beginning to their end.

use cameo_batch::RowDigest;
use cameo_domain::Stage;
use cameo_store::{
    By, Store,
    explanations::{self, BackgroundColumn, Explanation, FeatureImportance, Importance, Unit},
    generations::{self, Generation, Outcome, Writer},
    lineage, outbox, releases,
    releases::NewRelease,
    runs::ClaimedRun,
    verdicts::{self, Limits},
};
use chrono::Utc;

use super::super::sweep::Sweep;
use crate::ground::{Ground, batch, counts, lasting, meta};

const ROWS: i64 = 20;
/// Enough for a COPY to wait for Postgres.
const MANY_ROWS: i64 = 100_000;

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/made").await;
    let (tenant, service) = (&path.tenant, &path.service);
    // One run, which is tried again and again.
    let run = ground.claimed(&path).await;
    let claimed = async || ground.reclaimed(&run).await;
    let begin =
        async |store: &Store, run: ClaimedRun| generations::begin(store, &run, &meta(&run)).await;
    let begun = sweep.prepared("generations::begin::begin", claimed, begin).await;
    written(sweep, &begun.expect("a generation")).await;
    let again = ground.reclaimed(&run).await;
    Box::pin(published(sweep, ground, again)).await;

    let list = async |store: &Store| generations::list(store, tenant, service).await;
    let all = sweep.call("generations::record::list", list).await.expect("generations");
    let generation = all.first().expect("a generation").generation;
    let history = async |store: &Store| generations::history(store, tenant, service).await;
    sweep.call("generations::record::history", history).await.expect("publications");
    let bytes = async |store: &Store| generations::table_bytes(store, generation).await;
    sweep.call("generations::record::table_bytes", bytes).await.expect("a size");
    let now = Utc::now();
    let served_at = async |store: &Store| lineage::served_at(store, &path, now).await;
    sweep.call("lineage::served_at", served_at).await.expect("an answer");
    let find = async |store: &Store| lineage::find(store, &path, generation).await;
    sweep.call("lineage::find", find).await.expect("an answer").expect("its lineage");

    let behind = async || {
        ground.published(&path, ROWS).await;
    };
    let refresh = async |store: &Store, ()| generations::refresh_views(store).await;
    sweep.prepared("generations::views::refresh_views", behind, refresh).await.expect("moved");
    let old = async || {
        ground.published(&path, ROWS).await;
        let store = ground.store();
        generations::refresh_views(store).await.expect("views");
        while let Some(task) = outbox::claim(store, 60, None).await.expect("a claim") {
            outbox::complete(store, &task, task.digest, task.digest).await.expect("mirrored");
        }
    };
    let retain = async |store: &Store, ()| generations::retain_after(store, 0).await;
    sweep.prepared("generations::retain::retain_after", old, retain).await.expect("dropped");
    sweep
        .prepared("generations::retain::retain", old, async |store: &Store, ()| {
            generations::retain(store).await
        })
        .await
        .expect("looked");
    explained(sweep, ground).await;
    compared(sweep, ground).await;
    withdrawn(sweep, ground).await;
}

async fn written(sweep: &mut Sweep, generation: &Generation) {
    let open = async |store: &Store| Writer::open(store, generation).await.map(drop);
    sweep.call("generations::writer::Writer::open", open).await.expect("a writer");
    let rows = batch(0..MANY_ROWS);
    // The writers of what is dropped connect under the name that is watched.
    let dropped = sweep.store.clone();
    let opened = async || Writer::open(&dropped, generation).await.expect("a writer");
    let send = async |_: &Store, mut writer: Writer| writer.send(&rows).await;
    sweep.prepared("generations::writer::Writer::send", opened, send).await.expect("sent");
    let sent = async || {
        let mut writer = Writer::open(&dropped, generation).await.expect("a writer");
        writer.send(&rows).await.expect("sent");
        writer
    };
    let finish = async |_: &Store, writer: Writer| writer.finish().await;
    let finished = sweep.prepared("generations::writer::Writer::finish", sent, finish).await;
    assert_eq!(finished.expect("finished").rows, MANY_ROWS.unsigned_abs());
}

async fn published(sweep: &mut Sweep, ground: &Ground, run: ClaimedRun) {
    let generation = ground.begun(&run).await;
    let mut writer = Writer::open(ground.store(), &generation).await.expect("a writer");
    writer.send(&batch(0..ROWS)).await.expect("sent");
    writer.finish().await.expect("finished");
    let seal = async |store: &Store| generations::seal(store, &generation).await;
    let digest = sweep.call("generations::seal::seal", seal).await.expect("sealed");
    ground.publish(&run, &generation, digest).await.expect("published");
    let path = run.path;
    let sealed = async || {
        let run = ground.claimed(&path).await;
        let (generation, digest) = ground.sealed(&run, ROWS).await;
        (run, generation, digest)
    };
    let publish =
        async |store: &Store, (run, generation, digest): (ClaimedRun, Generation, RowDigest)| {
            let counts = counts(digest);
            generations::publish(store, run.run, run.epoch, &generation, digest, &counts).await
        };
    let outcome = sweep.prepared("generations::publish::publish", sealed, publish).await;
    assert_eq!(outcome.expect("published"), Outcome::Published);
}

async fn explained(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/explained").await;
    let importance = Importance {
        explanation: Explanation {
            method: "LINEAR".into(),
            description: "linear, in closed form".into(),
            output: "score".into(),
            unit: Unit::Output,
            base_value: 0.5,
            stored: false,
            rows: ROWS.unsigned_abs(),
            standard_error: None,
        },
        features: vec![FeatureImportance {
            feature: "level".into(),
            mean_absolute: 1.0,
            mean: -1.0,
        }],
        cohorts: Vec::new(),
    };
    let first = ground.claimed(&path).await;
    let sealed = async || {
        let run = ground.reclaimed(&first).await;
        let (generation, digest) = ground.sealed(&run, ROWS).await;
        (run, generation, digest)
    };
    let record = async |store: &Store, sealed: (ClaimedRun, Generation, RowDigest)| {
        explanations::record(store, &sealed.1, &importance).await.map(|()| sealed)
    };
    let recorded = sweep.prepared("explanations::record::record", sealed, record).await;
    let (run, generation, digest) = recorded.expect("recorded");
    ground.publish(&run, &generation, digest).await.expect("published");
    let about = async |store: &Store| explanations::about(store, &path, generation.id).await;
    sweep.call("explanations::find::about", about).await.expect("an answer").expect("it is");
    let (tenant, service) = (&path.tenant, &path.service);
    let find = async |store: &Store| explanations::find(store, tenant, service, None).await;
    sweep.call("explanations::find::find", find).await.expect("an answer").expect("it is");
    let columns = vec![BackgroundColumn { name: "level".into(), values: vec![Some("1".into())] }];
    let release = run.release;
    let keep = async |store: &Store| {
        explanations::keep_background(store, &path, release, columns.clone()).await
    };
    sweep.call("explanations::background::keep_background", keep).await.expect("kept");
    let background = async |store: &Store| explanations::background(store, &path, release).await;
    let kept = sweep.call("explanations::background::background", background).await;
    assert_eq!(kept.expect("an answer"), Some(columns.clone()));
}

/// A release beside production, whose runs are compared.
async fn compared(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/compared").await;
    let shadow = NewRelease { stage: Stage::Shadow, ..lasting(&path.service, 2) };
    ground.apply(&path, &shadow).await;
    let ended = async || {
        ground.published(&path, ROWS).await;
        let beside = cameo_store::runs::claim(ground.store(), "soak", 60).await;
        let beside = beside.expect("a claim").expect("the run beside production");
        let (generation, digest) = ground.sealed(&beside, ROWS).await;
        let outcome = ground.publish(&beside, &generation, digest).await;
        assert_eq!(outcome.expect("an end"), Outcome::Shadowed);
    };
    let limits = |_: &serde_json::Value| Limits {
        duration_ratio_max: 1_000.0,
        memory_ratio_max: 1_000.0,
        mean_shift_max: 1.0,
        psi_max: 1.0,
        changed_share_max: 1.0,
    };
    let decide = async |store: &Store, ()| verdicts::decide_next(store, limits).await;
    let verdict = sweep.prepared("verdicts::decide::decide_next", ended, decide).await;
    verdict.expect("an answer").expect("a verdict");
    let (tenant, service) = (&path.tenant, &path.service);
    let list = async |store: &Store| verdicts::list(store, tenant, service, None, 10).await;
    sweep.call("verdicts::list", list).await.expect("verdicts");
}

async fn withdrawn(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/withdrawn").await;
    let by = By::new("ann", "soak");
    let version = std::cell::Cell::new(1);
    let archived = async || {
        version.set(version.get() + 1);
        ground.apply(&path, &lasting(&path.service, version.get())).await;
        ground.published(&path, ROWS).await;
        releases::archive(ground.store(), &path, None, &by).await.expect("archived");
    };
    let withdraw = async |store: &Store, ()| generations::withdraw_after(store, 0).await;
    let gone = sweep.prepared("generations::withdraw::withdraw_after", archived, withdraw).await;
    assert!(!gone.expect("an answer").is_empty());
    let withdraw = async |store: &Store, ()| generations::withdraw(store).await;
    sweep.prepared("generations::withdraw::withdraw", archived, withdraw).await.expect("looked");
}
