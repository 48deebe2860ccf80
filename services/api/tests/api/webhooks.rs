//! Webhooks: made, shown without their secrets, replaced secrets, tested, ended.

use axum::http::{Method, StatusCode};
use cameo_api::{Config, Reach};
use serde_json::json;

use crate::world::{World, request};

const HOOKS: &str = "/v1/tenants/marketing/webhooks";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_shows_its_secret_when_it_is_made_and_when_it_is_replaced_and_never_again() {
    let world = World::start().await;
    let key = world.scoped_key("marketing", &["segment"]).await;
    let put = async |body: &str| {
        let path = format!("{HOOKS}/campaigns");
        world.send(request(Method::PUT, &path, Some(&key), Some(body))).await
    };
    let body = r#"{"url": "https://campaigns.example/hooks", "segments": ["loyal"]}"#;
    let made = put(body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let first = made.json()["secret"].as_str().expect("a secret").to_owned();
    assert!(first.starts_with("whsec_"));
    assert_eq!(made.json()["segments"], json!(["loyal"]));

    let changed = put(r#"{"url": "https://campaigns.example/other"}"#).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    assert_eq!(changed.json()["url"], "https://campaigns.example/other");
    assert_eq!(changed.json()["segments"], json!([]));
    let shown = world.get(&key, &format!("{HOOKS}/campaigns")).await;
    let listed = world.get(&key, HOOKS).await;
    assert_eq!(listed.json()["webhooks"][0], shown.json());

    let rotated = world.post(&key, &format!("{HOOKS}/campaigns:rotate"), "{}").await;
    let second = rotated.json()["secret"].as_str().expect("a secret").to_owned();
    assert_ne!(first, second);
    assert!(rotated.json()["previous_secret_until"].is_string());
    let too_long = r#"{"both_hours": 721}"#;
    let refused = world.post(&key, &format!("{HOOKS}/campaigns:rotate"), too_long).await;
    assert_eq!(refused.code(), "invalid_body");

    let trail = world.get(&world.marketing, "/v1/tenants/marketing/audit?limit=200").await;
    for answer in [&changed, &shown, &listed, &trail] {
        for secret in [&first, &second] {
            assert!(!answer.body.contains(secret["whsec_".len()..].trim_end_matches('=')));
        }
    }
    let actions = ["webhook.created", "webhook.changed"];
    assert!(actions.iter().all(|action| trail.body.contains(action)), "{trail:?}");

    let gone = request(Method::DELETE, &format!("{HOOKS}/campaigns"), Some(&key), None);
    assert_eq!(world.send(gone).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&key, &format!("{HOOKS}/campaigns")).await.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_waits_in_the_list_of_deliveries() {
    let world = World::start().await;
    let key = &world.marketing;
    let path = format!("{HOOKS}/campaigns");
    let nobody = world.post(key, &format!("{path}:ping"), "").await;
    assert_eq!(nobody.code(), "not_found");
    let body = r#"{"url": "https://campaigns.example/hooks"}"#;
    world.send(request(Method::PUT, &path, Some(key), Some(body))).await;
    let asked = world.send(request(Method::POST, &format!("{path}:ping"), Some(key), None)).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    let listed = world.get(key, &format!("{path}/deliveries")).await.json();
    let delivery = &listed["deliveries"][0];
    assert_eq!(delivery["id"], asked.json()["delivery"]);
    assert_eq!(delivery["event"], "cameo.webhook.ping");
    assert_eq!(delivery["state"], "pending");
    assert_eq!(delivery["attempts"], 0);
    assert_eq!(world.post(key, &format!("{path}:explode"), "").await.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_within_the_private_network_is_refused_unless_the_operator_allows_it() {
    let put = async |world: &World, url: &str| {
        let body = json!({ "url": url }).to_string();
        let path = format!("{HOOKS}/campaigns");
        world.send(request(Method::PUT, &path, Some(&world.marketing), Some(&body))).await
    };
    let world = World::start().await;
    for url in ["http://campaigns.example/", "https://169.254.169.254/", "https://[::1]/", "x"] {
        let refused = put(&world, url).await;
        assert_eq!(refused.code(), "invalid_body", "{url}");
    }
    let config = Config { webhook_reach: Reach::Anywhere, ..Config::default() };
    let trusting = World::start_with(config).await;
    let made = put(&trusting, "http://127.0.0.1:9000/hooks").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_a_bounded_number_of_webhooks() {
    let world = World::start().await;
    let body = r#"{"url": "https://campaigns.example/hooks"}"#;
    let put = async |number: usize| {
        let path = format!("{HOOKS}/hook_{number}");
        world.send(request(Method::PUT, &path, Some(&world.marketing), Some(body))).await
    };
    for number in 0..cameo_store::webhooks::WEBHOOKS_MAX {
        assert_eq!(put(number).await.status, StatusCode::CREATED);
    }
    let refused = put(cameo_store::webhooks::WEBHOOKS_MAX).await;
    assert_eq!(refused.code(), "invalid_request");
    assert_eq!(put(0).await.status, StatusCode::OK, "those that are there can be changed");
}
