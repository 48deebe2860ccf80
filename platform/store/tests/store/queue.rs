//! Claims, leases and epochs.

use std::{collections::BTreeMap, time::Duration};

use cameo_domain::{Reason, RunState};
use cameo_store::{
    StoreError, generations,
    quarantine::{self, QuarantinedRow},
    runs::{self, Progress},
};
use chrono::Utc;
use sqlx::{Connection, PgConnection};

use crate::support::{LEASE_SECONDS, World, at, batch, crm, meta, scores, tenant};

fn reason() -> Reason {
    Reason::new("test", "expected success, found a test")
}

#[tokio::test]
async fn eight_claimers_keep_each_tenants_quota_and_never_share_a_run() {
    let world = World::start().await;
    for (name, quota) in [("alpha", 2), ("beta", 3)] {
        world.tenant(name, quota).await;
        for service in 0..6 {
            let service = format!("s{service}");
            world.service(name, &service).await;
            world.request(name, &service, "2026-03-01T00:00:00Z").await;
        }
    }
    let claimers = (0..8).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(run) = runs::claim(&store, "worker", 60).await.expect("a claim") {
                claimed.push(run);
            }
            claimed
        })
    });
    let mut claimed = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        claimed.extend(claimer.await.expect("no panic"));
    }
    let mut by_tenant = BTreeMap::new();
    for run in &claimed {
        *by_tenant.entry(run.path.tenant.to_string()).or_insert(0) += 1;
    }
    assert_eq!(by_tenant, BTreeMap::from([("alpha".to_owned(), 2), ("beta".to_owned(), 3)]));
    let mut runs: Vec<_> = claimed.iter().map(|run| run.run).collect();
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), 5, "no run was claimed twice");
    world.assert_sound().await;
}

#[tokio::test]
async fn the_tenant_that_waited_longest_goes_first_and_its_oldest_instant_before_the_others() {
    let world = World::start().await;
    for name in ["alpha", "beta"] {
        world.tenant(name, 10).await;
        for (service, due_at) in
            [("late", "2026-03-02T00:00:00Z"), ("early", "2026-03-01T00:00:00Z")]
        {
            world.service(name, service).await;
            world.request(name, service, due_at).await;
        }
    }
    let mut turns = Vec::new();
    while let Some(run) = world.claim().await {
        turns.push(run.path.to_string());
    }
    assert_eq!(turns, ["alpha/early", "beta/early", "alpha/late", "beta/late"]);
}

#[tokio::test]
async fn a_claim_that_waited_for_its_turn_sees_a_run_that_came_back_meanwhile() {
    let world = World::start().await;
    for service in ["kept", "other"] {
        world.service("crm", service).await;
    }
    world.request("crm", "kept", "2026-03-01T00:00:00Z").await;
    let early = world.claim().await.expect("a run");
    world.request("crm", "kept", "2026-03-02T00:00:00Z").await;
    world.request("crm", "other", "2026-03-03T00:00:00Z").await;

    let mut holder = PgConnection::connect(&world.postgres.url()).await.expect("a connection");
    let mut turn = holder.begin().await.expect("a transaction");
    let lock = "select tenant from cameo.tenants where tenant = 'crm' for no key update";
    sqlx::query(lock).execute(&mut *turn).await.expect("the lock");
    let store = world.store.clone();
    let claiming = tokio::spawn(async move { runs::claim(&store, "next", LEASE_SECONDS).await });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while world.number(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lapse = "update cameo.runs set lease_expires_at = now() where state = 'running'";
    world.sql(lapse).await.expect("an update");
    runs::expire_leases(&world.store).await.expect("an answer");
    turn.commit().await.expect("the lock goes");

    let claimed = claiming.await.expect("no panic").expect("an answer").expect("a run");
    assert_eq!(claimed.run, early.run, "the earlier instant of a service goes first");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_request_waits_while_a_release_of_its_service_is_moved() {
    let world = World::start().await;
    world.service("crm", "kept").await;
    let mut holder = PgConnection::connect(&world.postgres.url()).await.expect("a connection");
    let mut moving = holder.begin().await.expect("a transaction");
    let lock = "select from cameo.services for no key update";
    sqlx::query(lock).execute(&mut *moving).await.expect("the lock");
    let store = world.store.clone();
    let requesting = tokio::spawn(async move {
        let (tenant, service) = (tenant("crm"), "kept".parse().expect("a service name"));
        let due_at = at("2026-03-01T00:00:00Z");
        runs::create_manual(&store, &tenant, &service, "key", due_at, "somebody").await
    });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while world.number(waiting).await == 0 {
        assert!(!requesting.is_finished(), "it waits for the move");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    moving.commit().await.expect("the lock goes");
    requesting.await.expect("no panic").expect("a run");
}

#[tokio::test]
async fn a_tenant_with_its_share_of_a_worker_is_passed_over_and_keeps_its_turn_elsewhere() {
    let world = World::start().await;
    for name in ["alpha", "beta"] {
        world.tenant(name, 10).await;
        for service in ["one", "two"] {
            world.service(name, service).await;
            world.request(name, service, "2026-03-01T00:00:00Z").await;
        }
    }
    let full = runs::Turn { except: vec![tenant("alpha")], ..runs::Turn::default() };
    let mut turns = Vec::new();
    for turn in [&full, &full, &full] {
        let run = runs::claim_in(&world.store, "full", LEASE_SECONDS, turn).await.expect("a claim");
        turns.push(run.map(|run| run.path.to_string()));
    }
    assert_eq!(turns, [Some("beta/one".to_owned()), Some("beta/two".to_owned()), None]);
    assert_eq!(world.claim().await.expect("a run").path.to_string(), "alpha/one");
    world.assert_sound().await;
}

#[tokio::test]
async fn what_waits_is_told_by_tenant_and_a_claim_says_how_long_it_waited() {
    let world = World::start().await;
    assert_eq!(runs::waiting(&world.store).await.expect("an answer"), []);
    for service in ["gender", "reach"] {
        world.service("crm", service).await;
        world.request("crm", service, "2026-03-01T00:00:00Z").await;
    }
    world.tenant("search", 100).await;
    world.service("search", "terms").await;
    world.request("search", "terms", "2026-03-01T00:00:00Z").await;
    world
        .sql(
            "update cameo.runs set not_before = now() - make_interval(secs =>
                 case service when 'gender' then 500 when 'reach' then 300 else -600 end)",
        )
        .await
        .expect("asked for at other times");
    let waiting = runs::waiting(&world.store).await.expect("an answer");
    let [crm] = waiting.as_slice() else { panic!("one tenant waits: {waiting:?}") };
    assert_eq!((crm.tenant.as_str(), crm.runs), ("crm", 2));
    assert!((500.0..560.0).contains(&crm.oldest_seconds), "{crm:?}");
    for (service, waited) in [("gender", 500.0), ("reach", 300.0)] {
        let run = world.claim().await.expect("a run");
        assert_eq!(run.path.service.as_str(), service);
        let range = waited..waited + 60.0;
        assert!(range.contains(&run.waited_seconds), "{}", run.waited_seconds);
    }
    assert!(world.claim().await.is_none(), "the other tenant's run may not be claimed yet");
}

#[tokio::test]
async fn a_service_runs_one_run_at_a_time_and_not_before_its_time() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    world.request("crm", "gender", "2026-03-02T00:00:00Z").await;
    let first = world.claim().await.expect("the first run");
    assert!(world.claim().await.is_none(), "the second waits for the first");
    assert!(
        world
            .sql(
                "update cameo.runs set state = 'running', epoch = 1,
                   lease_expires_at = now() where state = 'queued'"
            )
            .await
            .is_err(),
        "the database refuses a second one"
    );
    let later = Utc::now() + chrono::Duration::hours(1);
    let state = runs::requeue(&world.store, first.run, first.epoch, reason(), later)
        .await
        .expect("queued again");
    assert_eq!(state, RunState::Queued);
    let second = world.claim().await.expect("the second run");
    assert_ne!(second.run, first.run, "the first one's time has not come");
}

#[tokio::test]
async fn every_write_of_a_lost_claim_is_refused() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let old = world.claim().await.expect("a run");
    let (generation, digest) = world.sealed(&old, &scores(), &[batch(0..10)]).await;
    world
        .sql("update cameo.runs set lease_expires_at = now() - interval '1 second'")
        .await
        .expect("an expired lease");
    let expired = runs::expire_leases(&world.store).await.expect("expired");
    assert_eq!(expired, [old.run]);
    let queued = runs::find(&world.store, &crm(), old.run).await.expect("read").expect("the run");
    assert_eq!(queued.state, RunState::Queued);
    assert_eq!(queued.reason.expect("a reason").code, "lease_expired");
    let new = world.claim().await.expect("the run again");
    assert_eq!((new.run, new.epoch.0, new.attempt), (old.run, old.epoch.0 + 1, 2));

    let (store, run, epoch) = (&world.store, old.run, old.epoch);
    let progress = Progress::default();
    let row = QuarantinedRow { key: None, column: None, reason: "no key".to_owned() };
    let refused = [
        runs::heartbeat(store, run, epoch, LEASE_SECONDS, &progress).await.err(),
        runs::requeue(store, run, epoch, reason(), Utc::now()).await.err(),
        runs::hand_back(store, run, epoch, reason()).await.err(),
        runs::halt(store, run, epoch, reason()).await.err(),
        runs::fail(store, run, epoch, reason()).await.err(),
        quarantine::insert(store, run, epoch, &[row]).await.err(),
        generations::begin(store, &old, &meta(&old, &scores())).await.err(),
        generations::seal(store, &generation).await.err(),
        world.publish(&old, &generation, digest).await.err(),
    ];
    for (index, error) in refused.iter().enumerate() {
        assert!(
            matches!(error, Some(StoreError::StaleEpoch { .. })),
            "write {index} of the old claim: {error:?}"
        );
    }
    // The new claim is untouched and completes.
    let (generation, digest) = world.sealed(&new, &scores(), &[batch(0..10)]).await;
    world.publish(&new, &generation, digest).await.expect("a publication");
    world.assert_sound().await;
}

#[tokio::test]
async fn a_run_fails_when_its_attempts_are_used_up_and_a_drained_attempt_does_not_count() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let id = world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    let drained = world.claim().await.expect("a run");
    runs::hand_back(&world.store, id, drained.epoch, reason()).await.expect("handed back");
    for attempt in 1..=3 {
        let run = world.claim().await.expect("an attempt");
        assert_eq!(run.attempt, attempt);
        let state =
            runs::requeue(&world.store, id, run.epoch, reason(), at("2026-01-01T00:00:00Z"))
                .await
                .expect("requeued");
        assert_eq!(state == RunState::Failed, attempt == 3);
    }
    let run = runs::find(&world.store, &crm(), id).await.expect("read").expect("the run");
    assert_eq!((run.state, run.epoch.0), (RunState::Failed, 4));
    assert!(world.claim().await.is_none());
    world.assert_sound().await;
}

#[tokio::test]
async fn a_run_moves_only_along_the_table_and_a_finished_one_never() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    let id = world.request("crm", "gender", "2026-03-01T00:00:00Z").await;
    for refused in [
        "update cameo.runs set state = 'published', finished_at = now()",
        "update cameo.runs set epoch = 5",
        "update cameo.runs set due_at = now()",
        "delete from cameo.runs",
        "update cameo.runs set state = 'running', lease_expires_at = now()",
    ] {
        assert!(world.sql(refused).await.is_err(), "accepted: {refused}");
    }
    let cancelled = runs::cancel(&world.store, &crm(), id, "test").await.expect("cancelled");
    assert_eq!(cancelled.state, RunState::Cancelled);
    assert!(matches!(
        runs::cancel(&world.store, &crm(), id, "test").await,
        Err(StoreError::RunState { found: RunState::Cancelled, .. })
    ));
    assert!(world.sql("update cameo.runs set state = 'queued', finished_at = null").await.is_err());
    let other = tenant("other");
    assert!(runs::find(&world.store, &other, id).await.expect("read").is_none());
    assert!(matches!(
        runs::cancel(&world.store, &other, id, "test").await,
        Err(StoreError::NotFound(_))
    ));
}
