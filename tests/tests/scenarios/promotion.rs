//! Releases on their way into production and out of it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::http::StatusCode;
use cameo_domain::{ReleaseId, RunState, Stage};
use cameo_store::{
    By, StoreError,
    generations::{self, Releases},
    releases::{self, Moved, Promotion, StagedRelease},
    runs,
};
use cameo_tests::{Bundle, Service, World, at, eventually};
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::json;

const ROWS: u64 = 200;
const PUBLICATIONS: u32 = 12;
const READERS: usize = 2;
/// The API's copy of the pointers is about a second old at most; a busy machine gets some more.
const POINTERS_AGE_MAX_SECONDS: i64 = 5;

/// A version whose scores are higher by `shift`.
fn version(version: &str, shift: u32) -> Bundle {
    Bundle::new("marketing", "gender")
        .version(version)
        .features(&format!("SELECT user_id, level + {shift} AS level, visits FROM shop.customers"))
}

async fn named(world: &World, service: &Service<'_>, name: &str) -> StagedRelease {
    let (tenant, service) = (&service.path.tenant, &service.path.service);
    releases::named(&world.store, tenant, service, name).await.expect("the release")
}

async fn promote(
    world: &World,
    service: &Service<'_>,
    name: &str,
    to: Stage,
) -> Result<Moved, StoreError> {
    let promotion = Promotion {
        path: service.path.clone(),
        release: named(world, service, name).await.release,
        to,
        reason: None,
        by: By::new("scenario", "test"),
        now: world.now(),
    };
    releases::promote(&world.store, &promotion).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_waits_to_be_promoted_and_the_schedule_goes_on_without_it() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&version("1.0.0", 0)).await;
    world.apply(&version("2.0.0", 10).released("{ON_APPLY: CANDIDATE}")).await;
    world.advance_to("2024-03-01T18:00:05Z").await;
    world.work().await;
    assert_eq!(gender.served().await.expect("a generation").level(), Some(1.0));

    let moved = promote(&world, &gender, "2.0.0", Stage::Production).await.expect("promoted");
    let first = named(&world, &gender, "1.0.0").await;
    assert_eq!(moved, Moved::Moved { from: Stage::Candidate, replaced: Some(first.release) });
    assert_eq!(first.stage, Stage::Archived);
    assert_eq!(gender.served().await.expect("a generation").level(), Some(1.0), "until it runs");
    world.advance_to("2024-03-02T18:00:05Z").await;
    world.work().await;
    assert_eq!(gender.served().await.expect("a generation").level(), Some(11.0));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_whose_release_is_a_candidate_is_not_due_and_cannot_run() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&version("1.0.0", 0).released("{ON_APPLY: CANDIDATE}")).await;
    world.advance_to("2024-03-04T18:00:05Z").await;
    assert!(gender.runs().await.is_empty(), "nothing is due");
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    let asked = runs::create_manual(&world.store, tenant, service, "now", world.now(), "ann").await;
    assert!(matches!(asked, Err(StoreError::NothingInProduction(_))), "{asked:?}");
    promote(&world, &gender, "1.0.0", Stage::Production).await.expect("promoted");
    world.advance_to("2024-03-05T18:00:05Z").await;
    let due: Vec<_> = gender.runs().await.iter().map(|run| run.due_at.to_rfc3339()).collect();
    assert_eq!(due, ["2024-03-05T18:00:00+00:00"], "what passed before is not made up for");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_release_takes_two_keys_of_its_tenant() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&version("1.0.0", 0).released("{PROTECTED: true}")).await;
    let (ann, bob) = (world.key(Some("marketing")).await, world.key(Some("marketing")).await);
    let act = async |key: &str, name: &str, action: &str| {
        let path = format!("{}/releases/{name}:{action}", gender.url());
        world.post(key, &path, &json!({})).await
    };
    let asked = act(&ann, "1.0.0", "promote").await;
    assert_eq!(asked.json()["outcome"], "awaits_approval", "{asked:?}");
    let own = act(&ann, "1.0.0", "approve").await;
    assert_eq!(own.status, StatusCode::CONFLICT, "{own:?}");
    assert_eq!(act(&bob, "1.0.0", "approve").await.json()["stage"], "production");

    // Lifting the protection is itself protected.
    world.apply(&version("2.0.0", 10).released("{ON_APPLY: PRODUCTION}")).await;
    assert_eq!(named(&world, &gender, "1.0.0").await.stage, Stage::Production);
    assert_eq!(named(&world, &gender, "2.0.0").await.stage, Stage::Candidate);
    assert_eq!(act(&bob, "2.0.0", "approve").await.json()["outcome"], "moved", "apply had asked");
    world.apply(&version("3.0.0", 20)).await;
    assert_eq!(named(&world, &gender, "3.0.0").await.stage, Stage::Production);
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_is_not_brought_back_by_the_next_merge() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&version("1.0.0", 0)).await;
    gender.publish("2024-03-01T18:00:00Z").await;
    world.apply(&version("2.0.0", 10)).await;
    gender.publish("2024-03-02T18:00:00Z").await;
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    let by = By::new("ann", "test");
    generations::rollback(&world.store, tenant, service, None, Releases::Follow, &by)
        .await
        .expect("rolled back");
    world.apply(&version("2.0.0", 10)).await;
    gender.publish("2024-03-03T18:00:00Z").await;
    assert_eq!(gender.served().await.expect("a generation").level(), Some(1.0));
    promote(&world, &gender, "2.0.0", Stage::Production).await.expect("promoted");
    gender.publish("2024-03-04T18:00:00Z").await;
    assert_eq!(gender.served().await.expect("a generation").level(), Some(11.0));
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_service_is_served_on_is_due_no_more_and_comes_back_when_it_is_applied() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&version("1.0.0", 0)).await;
    let generation = gender.publish("2024-03-01T12:00:00Z").await;
    let by = By::new("ann", "test");
    releases::archive(&world.store, &gender.path, Some("gone"), &by).await.expect("archived");
    world.advance_to("2024-03-03T18:00:05Z").await;
    assert_eq!(gender.runs().await.len(), 1, "nothing more is due");
    let key = world.key(Some("marketing")).await;
    let answer = eventually("its readers are served on", async || {
        let answer = world.get(&key, &format!("{}/predictions/1", gender.url())).await;
        Some(answer).filter(|answer| answer.status == StatusCode::OK)
    })
    .await;
    assert_eq!(answer.json()["generation"], generation.0);
    world.apply(&version("1.0.0", 0)).await;
    assert_eq!(named(&world, &gender, "1.0.0").await.stage, Stage::Production);
    world.advance_to("2024-03-04T18:00:05Z").await;
    world.work().await;
    assert_eq!(gender.runs().await.len(), 2);
    world.assert_sound().await;
}

/// An answer: when it was asked for, when it came, of which generation and release, at which level.
type Seen = (DateTime<Utc>, DateTime<Utc>, i64, String, f64);

#[tokio::test(flavor = "multi_thread")]
async fn promoting_and_rolling_back_under_load_fails_no_request_and_the_ledger_tells_each_instant()
{
    let world = Arc::new(World::start().await);
    world.customers("marketing", ROWS, 1.0).await;
    let gender = world.apply(&version("1.0.0", 0)).await;
    world.apply(&version("2.0.0", 100).released("{ON_APPLY: CANDIDATE}")).await;
    gender.publish("2024-03-01T00:00:00Z").await;
    let levels: HashMap<String, f64> =
        [("1.0.0", 1.0), ("2.0.0", 101.0)].map(|(name, level)| (name.to_owned(), level)).into();
    let key = world.key(Some("marketing")).await;
    eventually("the API has the news", async || {
        let answer = world.get(&key, &format!("{}/predictions/7", gender.url())).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (world, key, done) = (world.clone(), key.clone(), done.clone());
            let url = format!("{}/predictions/7", gender.url());
            tokio::spawn(async move { read_until(&world, &key, &url, &done).await })
        })
        .collect();
    let worker = world.worker(world.worker_config()).await;
    let by = By::new("ann", "test");
    let (tenant, service) = (&gender.path.tenant, &gender.path.service);
    for round in 1..=PUBLICATIONS {
        let name = if round % 2 == 1 { "2.0.0" } else { "1.0.0" };
        promote(&world, &gender, name, Stage::Production).await.expect("promoted");
        let due_at = at("2024-03-01T00:00:00Z") + Duration::hours(round.into());
        let run = gender.request(&due_at.to_rfc3339_opts(SecondsFormat::Secs, true)).await;
        let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
        assert_eq!(ended.state, RunState::Published, "{ended:#?}");
        if round % 3 == 0 {
            generations::rollback(&world.store, tenant, service, None, Releases::Follow, &by)
                .await
                .expect("rolled back");
        }
    }
    let last = gender.served().await.expect("a generation").generation;
    eventually("the API has the last one", async || {
        let answer = world.get(&key, &format!("{}/predictions/7", gender.url())).await;
        (answer.header("cameo-generation") == last.to_string()).then_some(())
    })
    .await;
    done.store(true, Ordering::Relaxed);
    worker.stop().await;

    let mut seen: Vec<Seen> = Vec::new();
    for reader in readers {
        seen.extend(reader.await.expect("no request failed"));
    }
    assert!(seen.iter().any(|one| one.4 > 100.0) && seen.iter().any(|one| one.4 < 100.0));
    let behind = Duration::seconds(POINTERS_AGE_MAX_SECONDS);
    let told = told(&world, tenant, service).await;
    for (asked_at, answered_at, generation, version, level) in &seen {
        assert_eq!(levels.get(version), Some(level), "generation {generation} is of one release");
        let was_served = told.iter().any(|(from, until, told)| {
            told == generation && *from <= *answered_at && *until >= *asked_at - behind
        });
        assert!(was_served, "generation {generation} at {asked_at} is not in the ledger: {told:?}");
    }
    // At each instant of the ledger the release in production is the one that was put there.
    let mut expected: Option<ReleaseId> = None;
    let mut entries =
        releases::history(&world.store, tenant, service, None, 200).await.expect("told");
    entries.reverse();
    for entry in entries.iter().filter(|entry| entry.to == Stage::Production) {
        for (instant, release) in
            [(entry.at - Duration::microseconds(1), expected), (entry.at, Some(entry.release))]
        {
            let found = releases::in_production_at(&world.store, tenant, service, instant).await;
            let found = found.expect("an answer").map(|found| found.release);
            assert_eq!(found, release, "at {instant}");
        }
        expected = Some(entry.release);
    }
    world.assert_sound().await;
}

/// From when until when each generation was served, by the ledger.
async fn told(
    world: &World,
    tenant: &cameo_domain::TenantName,
    service: &cameo_domain::ServiceName,
) -> Vec<(DateTime<Utc>, DateTime<Utc>, i64)> {
    let ledger = generations::history(&world.store, tenant, service).await.expect("the ledger");
    let mut until = Utc::now();
    let mut told = Vec::new();
    for entry in ledger {
        told.push((entry.at, until, entry.generation.expect("a generation").0));
        until = entry.at;
    }
    told
}

async fn read_until(world: &World, key: &str, url: &str, done: &AtomicBool) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let asked_at = Utc::now();
        let answer = world.get(key, url).await;
        let answered_at = Utc::now();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let body = answer.json();
        let score = body["predictions"]["score"].as_f64().expect("a score");
        seen.push((
            asked_at,
            answered_at,
            body["generation"].as_i64().expect("a generation"),
            body["version"].as_str().expect("a version").to_owned(),
            // Customer 7 has made no visits: what is left is the level.
            score,
        ));
    }
    seen
}
