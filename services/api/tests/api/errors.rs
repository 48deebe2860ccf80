//! Every error is a problem with a stable code.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use cameo_api::Config;
use cameo_domain::DataType;
use serde_json::json;

use crate::world::{Answer, World, request};

/// What a person reads of a problem; the request's id differs each time.
fn shown(answer: &Answer) -> serde_json::Value {
    answer.code();
    let mut body = answer.json();
    body["request_id"] = json!("[id]");
    body["instance"] = json!("[instance]");
    let names = ["allow", "retry-after", "www-authenticate", "cache-control"];
    let headers: serde_json::Map<_, _> = names
        .into_iter()
        .filter(|name| answer.headers.contains_key(*name))
        .map(|name| (name.to_owned(), json!(answer.header(name))))
        .collect();
    json!({"body": body, "headers": headers})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_has_its_own_problem() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let generation = world.publish("marketing", "gender", chrono::Utc::now(), 10, 0.0).await;
    assert_eq!(generation, 1, "the snapshots name it");
    let gender = "/v1/tenants/marketing/services/gender";
    let batch = format!("{gender}/predictions:batchGet");
    let key = world.marketing.as_str();

    let mut typo = key.to_owned();
    typo.replace_range(20..21, if &typo[20..21] == "x" { "y" } else { "x" });
    let other = cameo_access::ApiKey::generate().expect("random numbers");
    let plain = Request::post(&batch)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Body::from("keys"))
        .expect("a request");
    let large = format!("{{\"keys\":[\"{}\"]}}", "x".repeat(6_000_000));
    let answers = [
        ("no_route", world.get(key, "/v2").await),
        ("no_key", world.send(request(Method::GET, gender, None, None)).await),
        ("typo", world.get(&typo, gender).await),
        ("unknown_key", world.get(other.reveal(), gender).await),
        ("no_service", world.get(key, "/v1/tenants/marketing/services/age").await),
        ("no_customer", world.get(key, &format!("{gender}/predictions/11")).await),
        ("wrong_key_type", world.get(key, &format!("{gender}/predictions/abc")).await),
        ("not_utf8", world.get(key, &format!("{gender}/predictions/%ff")).await),
        ("method", world.send(request(Method::PUT, gender, Some(key), None)).await),
        ("no_action", world.post(key, &format!("{gender}:explode"), "{}").await),
        ("post_service", world.post(key, gender, "{}").await),
        ("not_json", world.post(key, &batch, "{\"keys\":\n [1,,2]}").await),
        ("not_a_list", world.post(key, &batch, "{\"keys\": 17}").await),
        ("unknown_member", world.post(key, &batch, "{\"key\": [17]}").await),
        ("no_media_type", world.send(plain).await),
        ("too_large", world.post(key, &batch, &large).await),
        ("bad_limit", world.get(key, &format!("{gender}/runs?limit=0")).await),
        ("bad_cursor", world.get(key, &format!("{gender}/runs?cursor=x")).await),
        ("bad_parameter", world.get(key, &format!("{gender}/runs?page=2")).await),
    ];
    let shown: serde_json::Map<_, _> =
        answers.iter().map(|(name, answer)| ((*name).to_owned(), shown(answer))).collect();
    insta::assert_json_snapshot!(shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_refused_with_a_time_to_come_back() {
    let config = Config { requests_in_flight_max: 0, ..Config::default() };
    let world = World::start_with(config).await;
    let answer = world.get(&world.admin, "/v1/tenants").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
    );
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(world.get("", "/livez").await.status, StatusCode::OK, "health is never shed");
    assert!(world.metrics.encode().contains("cameo_api_requests_shed_total 1"));
}
