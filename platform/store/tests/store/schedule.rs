//! Due instants become runs exactly once.

use cameo_domain::{RunState, Schedule, schedule::Decision};
use cameo_store::{
    runs::{self, RunFilter},
    schedule::{DueService, advance},
};
use chrono::Duration;

use crate::support::{World, at, crm};

fn decide(now: &'static str) -> impl Fn(&DueService) -> Decision + Clone + Send + Sync + 'static {
    move |service| {
        let window = i64::try_from(service.missed_run_window_seconds).expect("a window");
        Schedule::parse(&service.cron, &service.timezone)
            .expect("a schedule")
            .decide(
                service.next_due_at,
                at(now),
                service.missed_run_policy,
                Duration::seconds(window),
                500,
            )
            .expect("a decision")
    }
}

#[tokio::test]
async fn every_due_instant_ends_as_one_of_run_coalesced_missed_however_many_schedulers_decide() {
    let world = World::start().await;
    for name in ["gender", "clv", "churn"] {
        world.service("crm", name).await;
    }
    let now = "2026-03-04T19:00:00Z";
    let schedulers = (0..8).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { advance(&store, at(now), 100, decide(now)).await })
    });
    let mut created = 0;
    for scheduler in schedulers.collect::<Vec<_>>() {
        created += scheduler.await.expect("no panic").expect("decided").len();
    }
    assert_eq!(created, 3, "one run per service: the latest instant");
    let of = |outcome| match outcome {
        "run" => "select count(*) from cameo.due_instants where outcome = 'run'",
        "coalesced" => "select count(*) from cameo.due_instants where outcome = 'coalesced'",
        _ => "select count(*) from cameo.due_instants where outcome = 'missed'",
    };
    // 1 to 4 March: the first two are out of the window of 24 h, then 3 March is within 25 h.
    assert_eq!(world.number(of("run")).await, 3);
    assert_eq!(world.number(of("coalesced")).await + world.number(of("missed")).await, 9);
    let again = advance(&world.store, at(now), 100, decide(now)).await.expect("decided");
    assert!(again.is_empty(), "nothing is due twice");
    let queued =
        RunFilter { tenant: Some(crm()), state: Some(RunState::Queued), ..RunFilter::default() };
    let queued = runs::list(&world.store, &queued).await.expect("runs");
    assert_eq!(queued.len(), 3);
    assert!(queued.iter().all(|run| run.due_at == at("2026-03-04T18:00:00Z")));
    world.assert_sound().await;
}

#[tokio::test]
async fn the_database_refuses_a_due_instant_with_no_two_or_changed_outcomes() {
    let world = World::start().await;
    world.service("crm", "gender").await;
    for refused in [
        "insert into cameo.due_instants (tenant, service, due_at, outcome)
         values ('crm', 'gender', now(), 'run')",
        "insert into cameo.due_instants (tenant, service, due_at, outcome)
         values ('crm', 'gender', now(), 'missed')",
        "insert into cameo.due_instants (tenant, service, due_at, outcome, reason, coalesced_into)
         values ('crm', 'gender', now(), 'missed', 'late', now() + interval '1 day')",
        "insert into cameo.due_instants (tenant, service, due_at, outcome, coalesced_into)
         values ('crm', 'gender', now(), 'coalesced', now() - interval '1 day')",
    ] {
        assert!(world.sql(refused).await.is_err(), "accepted: {refused}");
    }
    world
        .sql(
            "insert into cameo.due_instants (tenant, service, due_at, outcome, reason)
             values ('crm', 'gender', now(), 'missed', 'late')",
        )
        .await
        .expect("a missed instant with its reason");
    assert!(world.sql("update cameo.due_instants set reason = 'other'").await.is_err());
    assert!(world.sql("delete from cameo.due_instants").await.is_err());
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_run() {
    let world = World::start().await;
    let service = world.service("crm", "gender").await;
    let now = at("2026-03-01T12:00:00Z");
    let requests = (0..8).map(|_| {
        let (store, service) = (world.store.clone(), service.clone());
        tokio::spawn(async move {
            runs::create_manual(&store, &crm(), &service, "key", now, "test").await
        })
    });
    let mut ids = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        ids.push(request.await.expect("no panic").expect("a run").into_run().run);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one run: {ids:?}");
    let other = runs::create_manual(&world.store, &crm(), &service, "other", now, "test")
        .await
        .expect("a run")
        .into_run();
    assert_ne!(other.run, ids[0]);
    assert_eq!(other.due_at, now + Duration::microseconds(1), "no two runs have one instant");
    let unknown = "nothing".parse().expect("a service name");
    assert!(runs::create_manual(&world.store, &crm(), &unknown, "k", now, "t").await.is_err());
}
