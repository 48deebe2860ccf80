//! The queue of runs.

use cameo_domain::Reason;
use cameo_store::{
    Store,
    quarantine::{self, QuarantinedRow},
    runs::{self, ClaimedRun, Progress, RunFilter, Turn},
};
use chrono::Utc;

use super::super::sweep::Sweep;
use crate::ground::{Ground, LEASE_SECONDS};

fn reason() -> Reason {
    Reason::new("soak", "it was dropped somewhere")
}

pub(crate) async fn play(sweep: &mut Sweep, ground: &Ground) {
    let path = ground.service("crm/queued").await;
    let (tenant, service) = (&path.tenant, &path.service);
    let later = async || ground.later();
    let create = async |store: &Store, due_at: chrono::DateTime<Utc>| {
        runs::create_manual(store, tenant, service, &due_at.to_rfc3339(), due_at, "soak").await
    };
    sweep.prepared("runs::create_manual", later, create).await.expect("a run");
    let requested = async || ground.request(&path).await;
    let cancel = async |store: &Store, run| runs::cancel(store, tenant, run, "ann").await;
    sweep.prepared("runs::cancel", requested, cancel).await.expect("cancelled");
    let free = async || ground.release(tenant).await;
    let claim = async |store: &Store, ()| runs::claim(store, "soak", LEASE_SECONDS).await;
    let run = sweep.prepared("runs::claim::claim", free, claim).await;
    let run = run.expect("a claim").expect("a run").run;
    let production = Turn { to_publish: true, except: Vec::new() };
    let claim =
        async |store: &Store, ()| runs::claim_in(store, "soak", LEASE_SECONDS, &production).await;
    let claimed = sweep.prepared("runs::claim::claim_in", free, claim).await;
    claimed.expect("a claim").expect("a run");
    let find = async |store: &Store| runs::find(store, tenant, run).await;
    sweep.call("runs::find", find).await.expect("an answer").expect("the run");
    let filter = RunFilter::default();
    let list = async |store: &Store| runs::list(store, &filter).await;
    sweep.call("runs::list", list).await.expect("runs");
    sweep.call("runs::counts", runs::counts).await.expect("numbers");

    let held = async || {
        ground.release(tenant).await;
        let run = runs::claim(ground.store(), "soak", LEASE_SECONDS).await.expect("a claim");
        run.expect("a run")
    };
    let progress = Progress::default();
    let beat = async |store: &Store, run: ClaimedRun| {
        runs::heartbeat(store, run.run, run.epoch, LEASE_SECONDS, &progress).await
    };
    sweep.prepared("runs::lease::heartbeat", held, beat).await.expect("held");
    let rows = [QuarantinedRow { key: Some("7".into()), column: None, reason: "odd".into() }];
    let set_aside = async |store: &Store, run: ClaimedRun| {
        quarantine::insert(store, run.run, run.epoch, &rows).await
    };
    sweep.prepared("quarantine::insert", held, set_aside).await.expect("set aside");
    let list = async |store: &Store| quarantine::list(store, tenant, run).await;
    sweep.call("quarantine::list", list).await.expect("rows");
    let requeue = async |store: &Store, run: ClaimedRun| {
        runs::requeue(store, run.run, run.epoch, reason(), Utc::now()).await
    };
    sweep.prepared("runs::lease::requeue", held, requeue).await.expect("queued again");
    let hand_back = async |store: &Store, run: ClaimedRun| {
        runs::hand_back(store, run.run, run.epoch, reason()).await
    };
    sweep.prepared("runs::lease::hand_back", held, hand_back).await.expect("handed back");
    let expired = async || {
        let run = held().await;
        runs::heartbeat(ground.store(), run.run, run.epoch, 0, &progress).await.expect("held");
    };
    let expire = async |store: &Store, ()| runs::expire_leases(store).await;
    let ended = sweep.prepared("runs::lease::expire_leases", expired, expire).await;
    assert_eq!(ended.expect("an answer").len(), 1);
    // These end the run for good, so each time there is another one.
    let another = async || {
        ground.request(&path).await;
        held().await
    };
    let halt = async |store: &Store, run: ClaimedRun| {
        runs::halt(store, run.run, run.epoch, reason()).await
    };
    sweep.prepared("runs::lease::halt", another, halt).await.expect("halted");
    let fail = async |store: &Store, run: ClaimedRun| {
        runs::fail(store, run.run, run.epoch, reason()).await
    };
    sweep.prepared("runs::lease::fail", another, fail).await.expect("failed");
    clear(ground).await;
}

/// Ends every run of the tenant.
pub(crate) async fn clear(ground: &Ground) {
    ground.release(&ground.tenant("crm", 100).await).await;
    let cancelled = "update cameo.runs set state = 'cancelled', finished_at = now(),
                         reason = '{\"code\": \"cancelled\", \"message\": \"the scene is over\"}'
                     where state = 'queued' and tenant = 'crm'";
    ground.world.sql(cancelled).await;
}
