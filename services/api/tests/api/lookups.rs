//! Look-ups, and what every answer says about its own age.

use axum::{
    body::Bytes,
    http::{Method, StatusCode, header},
};
use cameo_api::Config;
use cameo_domain::DataType;
use chrono::{Duration, Utc};
use serde_json::json;

use crate::world::{STALE_AFTER_SECONDS, World, request};

const GENDER: &str = "/v1/tenants/marketing/services/gender";

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_answered_with_its_generation_and_age_until_a_newer_one_is_published() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let path = format!("{GENDER}/predictions/17");
    let early = world.get(&world.marketing, &path).await;
    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "not_published"));

    let predicted_at = Utc::now() - Duration::hours(2);
    let first = world.publish("marketing", "gender", predicted_at, 100, 0.5).await;
    let answer = world.get(&world.marketing, &path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    let told = json!({"score": 17.5, "tier": "High \"1\"", "active": true, "visits": 17,
        "last_day": "2022-01-08", "last_at": "2023-11-14T22:13:20.000017Z"});
    assert_eq!(body["predictions"], told);
    assert_eq!(body["key"], 17);
    assert_eq!((&body["tenant"], &body["service"]), (&json!("marketing"), &json!("gender")));
    assert_eq!(body["generation"], first);
    assert_eq!(body["stale"], false);
    assert!(body["watermark"].is_string());
    assert!((7_200..7_260).contains(&body["age_seconds"].as_i64().expect("an age")));
    assert_eq!(answer.header("cameo-generation"), first.to_string());
    assert_eq!(answer.header("cameo-release"), body["release"]);
    assert_eq!(answer.header("cameo-version"), "0.0.1");
    assert_eq!(answer.header("cameo-predicted-at"), body["predicted_at"]);
    assert_eq!(answer.header("cameo-stale"), "false");
    assert_eq!(answer.header("cache-control"), "private, max-age=5");

    let even = world.get(&world.marketing, &format!("{GENDER}/predictions/18")).await.json();
    assert_eq!(even["predictions"]["score"], 18.5);
    assert!(even["predictions"]["tier"].is_null());

    let mut known = request(Method::GET, &path, Some(&world.marketing), None);
    known.headers_mut().insert(header::IF_NONE_MATCH, answer.headers["etag"].clone());
    let same = world.send(known).await;
    assert_eq!((same.status, same.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(same.header("etag"), answer.header("etag"));

    let second = world.publish("marketing", "gender", Utc::now(), 100, 0.25).await;
    let newer = poll(&world, &path, second).await;
    assert_eq!(newer["predictions"]["score"], 17.25);

    let back = world.post(&world.marketing, &format!("{GENDER}:rollback"), "{}").await;
    assert_eq!(
        back.json(),
        json!({"generation": first, "previous": second, "release": null}),
        "{back:?}"
    );
    let older = world.get(&world.marketing, &path).await.json();
    assert_eq!(
        (&older["generation"], &older["predictions"]["score"]),
        (&json!(first), &json!(17.5))
    );
    let again = world.post(&world.marketing, &format!("{GENDER}:rollback"), "").await;
    assert_eq!(again.code(), "malformed_json");
    let gone = format!("{{\"generation\": {}}}", second + 1_000);
    let gone = world.post(&world.marketing, &format!("{GENDER}:rollback"), &gone).await;
    assert_eq!(
        (gone.status, gone.code().as_str()),
        (StatusCode::CONFLICT, "nothing_to_roll_back_to")
    );

    let listed = world.get(&world.marketing, &format!("{GENDER}/generations")).await.json();
    let current = listed["generations"].as_array().expect("a list").iter();
    let current: Vec<_> = current.filter(|one| one["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["rows"], 100);
}

/// The news of a publication arrives within moments, not within the call.
async fn poll(world: &World, path: &str, generation: i64) -> serde_json::Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let body = world.get(&world.marketing, path).await.json();
        if body["generation"] == generation {
            return body;
        }
        assert!(tokio::time::Instant::now() < deadline, "generation {generation} never showed");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_key_in_order_and_one_bad_key_fails_no_other() {
    let world = World::start().await;
    world.apply("crm", "clv", DataType::String).await;
    let stale = Utc::now() - Duration::seconds(STALE_AFTER_SECONDS + 60);
    let generation = world.publish("crm", "clv", stale, 1_000, 0.0).await;
    let batch = "/v1/tenants/crm/services/clv/predictions:batchGet";
    let keys = json!({"keys": ["c/3", "nobody", 3, "c/1", "c/3", ""]}).to_string();
    let answer = world.post(&world.crm, batch, &keys).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    let results = body["results"].as_array().expect("a list");
    let statuses: Vec<_> = results.iter().map(|one| one["status"].as_str().unwrap_or("")).collect();
    assert_eq!(statuses, ["found", "not_found", "invalid", "found", "found", "invalid"]);
    assert_eq!(results[3]["key"], "c/1");
    assert_eq!(results[3]["predictions"]["visits"], 1);
    assert_eq!(results[0], results[4]);
    assert_eq!((&body["generation"], &body["stale"]), (&json!(generation), &json!(true)));
    assert_eq!(answer.header("cameo-stale"), "true");

    let one = world.get(&world.crm, "/v1/tenants/crm/services/clv/predictions/c%2F3").await;
    assert_eq!(one.json()["predictions"]["visits"], 3, "a percent-encoded key is decoded");

    let most: Vec<String> = (1..=10_000).map(|key| format!("c/{key}")).collect();
    let answer = world.post(&world.crm, batch, &json!({"keys": most}).to_string()).await.json();
    let found = answer["results"].as_array().expect("a list").iter();
    assert_eq!(found.filter(|one| one["status"] == "found").count(), 1_000);
    let too_many: Vec<i64> = (0..10_001).collect();
    let refused = world.post(&world.crm, batch, &json!({"keys": too_many}).to_string()).await;
    assert_eq!(refused.code(), "invalid_body");
    assert_eq!(world.post(&world.crm, batch, "{\"keys\":[]}").await.code(), "invalid_body");

    let metrics = world.metrics.encode();
    assert!(metrics.contains("cameo_api_lookups_total{outcome=\"found\"} 1004"), "{metrics}");
    assert!(metrics.contains("cameo_api_served_stale_total 3"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_get_each_their_own_answer() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", Utc::now(), 500, 0.5).await;
    let world = std::sync::Arc::new(world);
    let asked = (1..=200_i64).map(|key| {
        let world = world.clone();
        tokio::spawn(async move {
            let path = format!("{GENDER}/predictions/{key}");
            (key, world.get(&world.marketing, &path).await)
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        let (key, answer) = asked.await.expect("no panic");
        assert_eq!(answer.json()["predictions"]["score"], key as f64 + 0.5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_look_ups_are_measured_against_needs_a_key_and_is_absent_unless_it_is_set() {
    let answer = Some(Bytes::from_static(b"{}"));
    let world = World::start_with(Config { constant_answer: answer, ..Config::default() }).await;
    let path = format!("{GENDER}/constant/17");
    let found = world.get(&world.marketing, &path).await;
    assert_eq!((found.status, found.body.as_str()), (StatusCode::OK, "{}"));
    assert_eq!(world.get(&world.crm, &path).await.status, StatusCode::NOT_FOUND);
    let anybody = world.send(request(Method::GET, &path, None, None)).await;
    assert_eq!(anybody.status, StatusCode::UNAUTHORIZED);
    let world = World::start().await;
    assert_eq!(world.get(&world.marketing, &path).await.status, StatusCode::NOT_FOUND);
}
