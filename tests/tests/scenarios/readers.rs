//! What callers of the API may see.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::http::StatusCode;
use cameo_domain::RunState;
use cameo_tests::{Answer, Bundle, World, eventually};
use chrono::{Duration, SecondsFormat, Utc};
use serde_json::json;
use sqlx::Executor;

const ROWS: u64 = 1_000;
const PUBLICATIONS: u32 = 20;
const READERS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_refused() {
    let world = World::start().await;
    let admin = world.key(None).await;
    let request_timeout = std::time::Duration::ZERO;
    let api =
        world.another_api(cameo_api::Config { request_timeout, ..cameo_api::Config::default() });
    let mut other = world.connection().await;
    let held = "begin; lock table cameo.tenants in access exclusive mode";
    other.execute(held).await.expect("a lock in its way");
    let answer = api.get(&admin, "/v1/tenants").await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.json()["code"], "timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_that_are_too_old_say_so_and_how_old_they_are() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let bundle = Bundle::new("marketing", "gender").setting("STALE_AFTER_HOURS", 24);
    let gender = world.apply(&bundle).await;
    let key = world.key(Some("marketing")).await;
    let mut shows = Vec::new();
    for (due_at, age_hours) in [("2024-03-01T18:00:00Z", 25), ("2024-03-02T18:00:00Z", 23)] {
        world.clock.set(Utc::now() - Duration::hours(age_hours));
        let predicted_at = gender.publish(due_at).await;
        let answer = eventually("the API has the news", async || {
            let answer = world.get(&key, &format!("{}/predictions/1", gender.url())).await;
            let newest = answer.header("cameo-generation") == predicted_at.to_string();
            Some(answer).filter(|_| newest)
        })
        .await;
        let body = answer.json();
        assert_eq!(answer.header("cameo-stale"), body["stale"].to_string());
        assert_eq!(body["age_seconds"].as_i64().map(|age| age / 3_600), Some(age_hours));
        shows.push(body["stale"].clone());
    }
    assert_eq!(shows, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_another_tenant_finds_nothing_at_all() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    world.customers("crm", ROWS, 1.0).await;
    let gender = world.apply(&Bundle::new("marketing", "gender")).await;
    world.apply(&Bundle::new("crm", "clv")).await;
    let run = gender.execute("2024-03-01T18:00:00Z").await.run;
    let (own, other) = (world.key(Some("marketing")).await, world.key(Some("crm")).await);
    let admin = world.key(None).await;
    let url = gender.url();
    let gets = [
        format!("{url}/predictions/1"),
        format!("{url}/runs"),
        format!("{url}/runs/{run}"),
        format!("{url}/generations"),
        url.clone(),
        "/v1/tenants/marketing/services".to_owned(),
        "/v1/tenants/marketing/runs".to_owned(),
    ];
    for path in &gets {
        for known in [&own, &admin] {
            let found = eventually("its owner finds it", async || {
                let answer = world.get(known, path).await;
                Some(answer).filter(|answer| answer.status == StatusCode::OK)
            });
            found.await;
        }
        assert_eq!(world.get(&other, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let posts = [
        (format!("{url}/predictions:batchGet"), json!({"keys": [1, 2]})),
        (format!("{url}:rollback"), json!({})),
        (format!("{url}/runs"), json!({})),
    ];
    for (path, body) in &posts {
        assert_eq!(world.post(&other, path, body).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(gender.runs().await.len(), 1, "nothing was asked for in the other's name");
    let nobody = world.get("cameo_no_such_key", &gets[0]).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn during_twenty_publications_readers_see_only_whole_generations() {
    let world = Arc::new(World::start().await);
    world.customers("marketing", ROWS, 0.0).await;
    let bundle = Bundle::new("marketing", "gender").setting("GENERATIONS_KEPT", 1);
    let gender = world.apply(&bundle).await;
    let first = gender.publish("2024-03-01T00:00:00Z").await;
    let key = world.key(Some("marketing")).await;
    eventually("the API has the news", async || {
        let answer = world.get(&key, &format!("{}/predictions/1", gender.url())).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;

    let published = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (world, key, published) = (world.clone(), key.clone(), published.clone());
            let url = gender.url();
            tokio::spawn(async move { read_until(&world, &key, &url, reader, &published).await })
        })
        .collect();
    let worker = world.worker(world.worker_config()).await;
    let mut last = first;
    for publication in 1..=PUBLICATIONS {
        world.customers("marketing", ROWS, f64::from(publication)).await;
        let due_at = cameo_tests::at("2024-03-01T00:00:00Z") + Duration::hours(publication.into());
        let run = gender.request(&due_at.to_rfc3339_opts(SecondsFormat::Secs, true)).await;
        let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
        assert_eq!(ended.state, RunState::Published, "{ended:#?}");
        last = ended.generation.expect("a generation");
        // Old generations vanish while they are read.
        world.mirror().await;
        cameo_store::generations::retain_after(&world.store, 0).await.expect("an answer");
    }
    eventually("the API has the last one", async || {
        let answer = world.get(&key, &format!("{}/predictions/1", gender.url())).await;
        (answer.header("cameo-generation") == last.to_string()).then_some(())
    })
    .await;
    published.store(true, Ordering::Relaxed);
    worker.stop().await;

    let mut levels: BTreeMap<i64, i64> = BTreeMap::new();
    for reader in readers {
        for (generation, level) in reader.await.expect("a reader saw only whole generations") {
            let known = *levels.entry(generation).or_insert(level);
            assert_eq!(known, level, "generation {generation} never changes");
        }
    }
    let seen: Vec<_> = levels.values().copied().collect();
    assert!(seen.is_sorted(), "newer generations are of newer data: {seen:?}");
    assert!(seen.len() > 5, "readers saw generations come and go: {seen:?}");
    world.assert_sound().await;
}

/// Reads as fast as it can and gives the level of every generation that it saw.
async fn read_until(
    world: &World,
    key: &str,
    url: &str,
    reader: usize,
    end: &AtomicBool,
) -> Vec<(i64, i64)> {
    let keys: Vec<u64> = (0..100).map(|at| 1 + (at * 37 + reader as u64) % ROWS).collect();
    let mut seen: Vec<(i64, i64)> = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let batch =
            world.post(key, &format!("{url}/predictions:batchGet"), &json!({"keys": keys})).await;
        let level = whole(&batch, &keys);
        if seen.last().is_none_or(|last| *last != level) {
            assert!(
                seen.last().is_none_or(|last| last.0 <= level.0),
                "no reader goes back in time"
            );
            seen.push(level);
        }
        let one = world.get(key, &format!("{url}/predictions/7")).await;
        assert_eq!(one.status, StatusCode::OK, "{one:?}");
        let one = one.json();
        let (generation, level) =
            (one["generation"].as_i64(), one["predictions"]["score"].as_f64());
        let (generation, level) = (generation.expect("a number"), level.expect("a number"));
        #[expect(clippy::cast_possible_truncation, reason = "levels are small whole numbers")]
        seen.push((generation, level as i64));
    }
    seen
}

/// The generation of an answer and the level that all its predictions have in common.
fn whole(answer: &Answer, keys: &[u64]) -> (i64, i64) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    let generation = body["generation"].as_i64().expect("a generation");
    let results = body["results"].as_array().expect("results");
    assert_eq!(results.len(), keys.len());
    let mut level = None;
    for (result, key) in results.iter().zip(keys) {
        assert_eq!(result["key"], *key, "{result}");
        let score = result["predictions"]["score"].as_f64();
        let score = score.unwrap_or_else(|| panic!("generation {generation} lacks {result}"));
        assert_eq!(result["predictions"]["twin"].as_f64(), Some(2.0 * score), "{result}");
        #[expect(clippy::cast_possible_truncation, reason = "levels are small whole numbers")]
        let found = (score - (key % 7) as f64) as i64;
        assert_eq!(*level.get_or_insert(found), found, "generation {generation} mixes data");
    }
    (generation, level.expect("at least one key"))
}
