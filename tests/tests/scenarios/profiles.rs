//! A customer's profile when one of the services cannot answer.

use axum::http::StatusCode;
use cameo_tests::{Bundle, World};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_does_not_hide_what_the_others_say() {
    let world = World::start().await;
    world.customers("marketing", 20, 1.0).await;
    for service in ["churn", "gender"] {
        let service = world.apply(&Bundle::new("marketing", service)).await;
        service.publish("2024-03-01T18:00:00Z").await;
    }
    let key = world.key(Some("marketing")).await;
    let whole = world.get(&key, "/v1/profiles/17").await;
    assert_eq!(whole.json()["services"].as_array().map(Vec::len), Some(2), "{whole:?}");
    assert!(!whole.header("etag").is_empty());

    let table = "select table_name from cameo.generations where service = 'churn'";
    let table = world.texts(table).await.remove(0);
    world.sql(&format!("alter table tenant_marketing.{table} rename column score to gone")).await;
    let partial = world.get(&key, "/v1/profiles/17").await;
    assert_eq!(partial.status, StatusCode::OK, "{partial:?}");
    let body = partial.json();
    assert_eq!(body["services"][0]["service"], "gender");
    assert_eq!(body["services"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["failed"][0]["service"], "churn");
    assert_eq!(body["failed"][0]["code"], "unavailable");
    assert_eq!(partial.header("etag"), "", "a part is not to be kept");
    let asked = json!({"keys": [1, 2]});
    let many = world.post(&key, "/v1/profiles:batchGet", &asked).await.json();
    for profile in many["profiles"].as_array().expect("profiles") {
        assert_eq!(profile["services"][0]["service"], "gender");
        assert_eq!(profile["failed"][0]["service"], "churn");
    }
    let alone = world.get(&key, "/v1/profiles/17?services=churn").await;
    assert_eq!(alone.status, StatusCode::SERVICE_UNAVAILABLE, "nobody says anything: {alone:?}");
}
