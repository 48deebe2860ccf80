//! Customers who ask to be forgotten, over the API.

use axum::http::{Method, StatusCode};
use cameo_domain::DataType;
use chrono::Utc;
use serde_json::json;

use crate::world::{World, request};

const ERASURES: &str = "/v1/tenants/marketing/erasures";
const LIFT: &str = "/v1/tenants/marketing/suppressions:lift";
const PREDICTION: &str = "/v1/tenants/marketing/services/gender/predictions/7";

async fn published() -> World {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", Utc::now(), 10, 0.0).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_answer_nothing_is_served_and_what_follows_is_told() {
    let world = published().await;
    let key = world.scoped_key("marketing", &["read", "erase"]).await;
    let before = world.get(&key, PREDICTION).await;
    assert_eq!(before.status, StatusCode::OK, "{before:?}");
    let body = r#"{"key": 7, "reason": "request 4711"}"#;
    let asked = world.post(&key, ERASURES, body).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    assert!(!asked.body.contains("\"key\""), "the key is not repeated");
    let after = world.get(&key, PREDICTION).await;
    assert_eq!((after.status, after.code().as_str()), (StatusCode::NOT_FOUND, "unknown_key"));

    // A client that kept its answer is not told that it still holds.
    let tag = before.header("etag").to_owned();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let mut again = request(Method::GET, PREDICTION, Some(&key), None);
        again.headers_mut().insert("if-none-match", tag.parse().expect("a header"));
        if world.send(again).await.status == StatusCode::NOT_FOUND {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the answer is called unchanged");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let told = world.get(&key, asked.header("location")).await.json();
    assert_eq!((&told["state"], &told["reason"]), (&json!("erasing"), &json!("request 4711")));
    assert!(told["fingerprint_int"].is_string() && told["finished_at"].is_null(), "{told}");
    let again = world.post(&key, ERASURES, body).await;
    assert_eq!((again.status, &again.json()["erasure"]), (StatusCode::OK, &told["erasure"]));
    let listed = world.get(&key, ERASURES).await.json();
    assert_eq!(listed["erasures"].as_array().map(Vec::len), Some(1));

    let lifted = world.post(&key, LIFT, r#"{"key": "7", "reason": "came back"}"#).await;
    assert_eq!(lifted.json()["suppressions"].as_array().map(Vec::len), Some(2), "{lifted:?}");
    let nothing = world.post(&key, LIFT, r#"{"key": "7", "reason": "came back"}"#).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    let all = world.get(&key, "/v1/tenants/marketing/suppressions").await.json();
    assert_eq!(all["suppressions"][0]["lift_reason"], "came back");
    let trail = world.get(&key, "/v1/tenants/marketing/audit").await.json();
    let actions: Vec<_> = trail["entries"].as_array().expect("entries").iter().collect();
    for wanted in ["customer.erasure_requested", "suppression.lifted"] {
        assert!(actions.iter().any(|entry| entry["action"] == wanted), "{trail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_means_nobody_is_refused_with_the_cure() {
    let world = published().await;
    let refused = async |body: &str| {
        let answer = world.post(&world.marketing, ERASURES, body).await;
        (answer.status.as_u16(), answer.code())
    };
    assert_eq!(refused(r#"{"key": "abc", "key_type": "INT"}"#).await, (400, "invalid_key".into()));
    assert_eq!(refused(r#"{"key": ""}"#).await, (400, "invalid_key".into()));
    assert_eq!(refused(r#"{"key": 7, "services": []}"#).await.1, "invalid_body");
    assert_eq!(refused(r#"{"key": 7, "services": ["nope"]}"#).await, (404, "not_found".into()));
    assert_eq!(refused(r#"{"key": 7, "reason": " "}"#).await.1, "invalid_body");
    assert_eq!(refused(r#"{"kee": 7}"#).await.1, "invalid_body");
    let listed = world.get(&world.marketing, ERASURES).await.json();
    assert_eq!(listed["erasures"], json!([]));
}
