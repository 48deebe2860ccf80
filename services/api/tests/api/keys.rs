//! A tenant makes, rotates and revokes its own keys.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use cameo_domain::DataType;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

const KEYS: &str = "/v1/tenants/marketing/keys";
const SERVICES: &str = "/v1/tenants/marketing/services";

async fn world() -> World {
    let world = World::start().await;
    for (tenant, service) in [("marketing", "gender"), ("marketing", "age"), ("crm", "clv")] {
        world.apply(tenant, service, DataType::Int).await;
    }
    world
}

async fn made(world: &World, by: &str, wanted: &Value) -> Value {
    let answer = world.post(by, KEYS, &wanted.to_string()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

/// Asks for something to be done, without a body.
async fn act(world: &World, key: &str, path: &str) -> Answer {
    world.send(request(Method::POST, path, Some(key), None)).await
}

async fn status(world: &World, key: &str, path: &str) -> StatusCode {
    world.get(key, path).await.status
}

/// Until when an answer of an API may be remembered.
async fn becomes(world: &World, key: &str, wanted: StatusCode) {
    let deadline = tokio::time::Instant::now() + cameo_access::authenticator::TRUST_FOR;
    while status(world, key, SERVICES).await != wanted {
        assert!(tokio::time::Instant::now() < deadline, "the key is not {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_a_service_sees_that_service_and_no_other() {
    let world = world().await;
    let wanted = json!({
        "name": "campaign tool", "scopes": ["read", "run"], "services": ["gender"], "expires_days": 30,
    });
    let made = made(&world, &world.marketing, &wanted).await;
    assert_eq!(made["key"]["services"], json!(["gender"]));
    assert_eq!(made["key"]["active"], true);
    let key = text(&made, "/secret");
    let seen = world.get(key, SERVICES).await.json();
    let names: Vec<_> = seen["services"].as_array().expect("a list").iter().collect();
    assert_eq!((names.len(), &names[0]["service"]), (1, &json!("gender")), "{seen}");
    assert_eq!(status(&world, key, &format!("{SERVICES}/gender")).await, StatusCode::OK);
    let hidden = world.get(key, &format!("{SERVICES}/age")).await;
    let missing = world.get(key, &format!("{SERVICES}/nothing")).await;
    assert_eq!((hidden.code(), missing.code()), ("not_found".into(), "not_found".into()));
    let asked = world.post(key, &format!("{SERVICES}/gender/runs"), "").await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    world.post(&world.marketing, &format!("{SERVICES}/age/runs"), "").await;
    let runs = world.get(key, "/v1/tenants/marketing/runs").await.json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
    let trail = world.get(key, "/v1/tenants/marketing/audit").await.json();
    let of_others = |entry: &&Value| entry["service"] != "gender";
    assert_eq!(trail["entries"].as_array().expect("entries").iter().find(of_others), None);
    let me = world.get(key, "/v1/me").await.json();
    assert_eq!(me["tenants"][0]["services"], json!(["gender"]));
    assert_eq!(me["tenants"][0]["scopes"], json!(["read", "run"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_more_than_they_hold() {
    let world = world().await;
    let wanted = json!({"name": "keys", "scopes": ["read", "manage"], "services": ["gender"]});
    let made = made(&world, &world.marketing, &wanted).await;
    let manager = text(&made, "/secret");
    for (wanted, expected) in [
        (json!({"name": "a", "scopes": ["read"], "services": ["gender"]}), StatusCode::CREATED),
        (json!({"name": "a", "scopes": ["run"], "services": ["gender"]}), StatusCode::FORBIDDEN),
        (json!({"name": "a", "scopes": ["all"], "services": ["gender"]}), StatusCode::FORBIDDEN),
        (json!({"name": "a", "scopes": ["read"], "services": ["age"]}), StatusCode::FORBIDDEN),
        (json!({"name": "a", "scopes": ["read"]}), StatusCode::FORBIDDEN),
        (json!({"name": "", "scopes": ["read"]}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"name": "a", "scopes": []}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"name": "a", "scopes": ["write"]}), StatusCode::UNPROCESSABLE_ENTITY),
        (
            json!({"name": "a", "scopes": ["read"], "services": []}),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json!({"name": "a", "scopes": ["read"], "tenant": "crm"}),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            json!({"name": "a", "scopes": ["read"], "services": ["gender"], "expires_days": 0}),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let answer = world.post(manager, KEYS, &wanted.to_string()).await;
        assert_eq!(answer.status, expected, "{wanted}: {answer:?}");
    }
    let sensitive = json!({"name": "a", "scopes": ["sensitive"]}).to_string();
    let refused = world.post(&world.marketing, KEYS, &sensitive).await;
    assert_eq!(refused.code(), "missing_scope", "`all` is not `sensitive`");
    let missing = json!({"name": "a", "scopes": ["read"], "services": ["clv"]}).to_string();
    let refused = world.post(&world.marketing, KEYS, &missing).await;
    assert_eq!(refused.code(), "invalid_body", "clv is another team's");

    // Neither what reaches further nor what is another team's can be seen, rotated or revoked.
    let own = &world.marketing[6..14];
    let listed = world.get(manager, KEYS).await.json();
    let mut listed = listed["keys"].as_array().expect("keys").iter();
    assert!(listed.all(|key| key["services"] == json!(["gender"])), "{listed:?}");
    for prefix in [own, &world.crm[6..14], &world.admin[6..14], "zzzzzzzz"] {
        let path = format!("{KEYS}/{prefix}");
        assert_eq!(act(&world, manager, &format!("{path}:rotate")).await.code(), "not_found");
        let delete = request(Method::DELETE, &path, Some(manager), None);
        assert_eq!(world.send(delete).await.code(), "not_found");
    }
    let reader = world.scoped_key("marketing", &["read", "manage"]).await;
    let path = format!("{KEYS}/{own}:rotate");
    let refused = act(&world, &reader, &path).await;
    assert_eq!(refused.code(), "missing_scope", "the successor could do more: {refused:?}");
    assert_eq!(status(&world, &world.marketing, SERVICES).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_without_a_failed_request_and_ends_after_the_overlap() {
    let world = world().await;
    let wanted =
        json!({"name": "tool", "scopes": ["read"], "services": ["age"], "expires_days": 7});
    let first = made(&world, &world.marketing, &wanted).await;
    let (old, prefix) = (text(&first, "/secret"), text(&first, "/key/prefix"));
    assert_eq!(status(&world, old, SERVICES).await, StatusCode::OK);
    let rotate = format!("{KEYS}/{prefix}:rotate");
    let body = json!({"overlap_seconds": 2}).to_string();
    let rotated = world.post(&world.marketing, &rotate, &body).await;
    assert_eq!(rotated.status, StatusCode::CREATED, "{rotated:?}");
    let rotated = rotated.json();
    let new = text(&rotated, "/secret");
    for same in ["name", "scopes", "services"] {
        assert_eq!(rotated["key"][same], first["key"][same], "{same}");
    }
    assert_eq!(rotated["replaced"]["successor"], rotated["key"]["prefix"]);
    assert!(
        text(&rotated, "/key/expires_at") >= text(&first, "/key/expires_at"),
        "it lives as long"
    );
    assert_eq!(status(&world, new, SERVICES).await, StatusCode::OK);
    assert_eq!(status(&world, old, SERVICES).await, StatusCode::OK, "both work");
    let again = act(&world, &world.marketing, &rotate).await;
    assert_eq!(again.code(), "key_ended", "{again:?}");
    becomes(&world, old, StatusCode::UNAUTHORIZED).await;
    assert_eq!(status(&world, new, SERVICES).await, StatusCode::OK);

    let successor = text(&rotated, "/key/prefix");
    let path = format!("{KEYS}/{successor}");
    let revoked = world.send(request(Method::DELETE, &path, Some(&world.marketing), None)).await;
    assert_eq!(revoked.json()["active"], false);
    becomes(&world, new, StatusCode::UNAUTHORIZED).await;
    let ended = act(&world, &world.marketing, &format!("{path}:rotate")).await;
    assert_eq!(ended.code(), "key_ended");
    let never = json!({"overlap_seconds": 2_592_001}).to_string();
    let own = format!("{KEYS}/{}:rotate", &world.marketing[6..14]);
    assert_eq!(world.post(&world.marketing, &own, &never).await.code(), "invalid_body");

    let trail = world.get(&world.marketing, "/v1/tenants/marketing/audit?limit=200").await.json();
    let actor = format!("key:{}", &world.marketing[6..14]);
    let told = |action: &str, subject: &str| {
        let entries = trail["entries"].as_array().expect("entries");
        entries.iter().any(|entry| {
            entry["action"] == action
                && entry["subject"] == subject
                && entry["actor"] == actor.as_str()
        })
    };
    assert!(told("key.created", prefix) && told("key.rotated", prefix), "{trail}");
    assert!(told("key.created", successor) && told("key.revoked", successor), "{trail}");
    let used = world.get(&world.marketing, KEYS).await.json();
    let used = used["keys"].as_array().expect("keys").iter().find(|key| key["prefix"] == prefix);
    assert!(used.expect("listed")["last_used_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_one_made_oneself_is_no_second_person() {
    let world = world().await;
    let release = world
        .apply_version("marketing", "gender", "0.0.2", |new| {
            new.protected = true;
            new.stage = cameo_domain::Stage::Candidate;
        })
        .await;
    let path = |action: &str| format!("{SERVICES}/gender/releases/{release}:{action}");
    let asked = act(&world, &world.marketing, &path("promote")).await.json();
    assert_eq!(asked["outcome"], json!("awaits_approval"), "{asked}");
    let own = made(&world, &world.marketing, &json!({"name": "me", "scopes": ["all"]})).await;
    let of_own =
        made(&world, text(&own, "/secret"), &json!({"name": "me", "scopes": ["all"]})).await;
    let rotate = format!("{KEYS}/{}:rotate", &world.marketing[6..14]);
    let rotated = act(&world, &world.admin, &rotate).await.json();
    for key in [&own, &of_own, &rotated] {
        let refused = act(&world, text(key, "/secret"), &path("approve")).await;
        assert_eq!(refused.code(), "promotion_refused", "{refused:?}");
        assert!(refused.body.contains("somebody else"), "{refused:?}");
    }
    let another = world.scoped_key("marketing", &["promote"]).await;
    let approved = act(&world, &another, &path("approve")).await;
    assert_eq!(approved.json()["outcome"], json!("moved"), "{approved:?}");
}
