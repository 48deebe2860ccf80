//! Everything that a tenant's services say about a customer.

use axum::http::{Method, StatusCode, header};
use cameo_domain::DataType;
use chrono::{Duration, Utc};
use serde_json::{Value, json};

use crate::world::{World, request};

/// Marketing has one service with integer keys and one with texts, and one that has published nothing.
async fn world() -> World {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", Utc::now() - Duration::days(3), 10, 0.0).await;
    world.apply("marketing", "taste", DataType::String).await;
    world.publish("marketing", "taste", Utc::now(), 5, 0.5).await;
    world.apply("marketing", "churn", DataType::Int).await;
    world.apply("crm", "clv", DataType::Int).await;
    world.publish("crm", "clv", Utc::now(), 3, 0.25).await;
    world
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|one| one["service"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_what_every_service_says_each_with_its_own_age() {
    let world = world().await;
    let profile = world.get(&world.marketing, "/v1/profiles/7").await;
    assert_eq!(profile.status, StatusCode::OK, "{profile:?}");
    let body = profile.json();
    assert_eq!((&body["tenant"], &body["key"]), (&json!("marketing"), &json!("7")));
    assert_eq!(names(&body["services"]), ["gender"], "the text service has no customer `7`");
    let gender = &body["services"][0];
    assert_eq!((&gender["key"], &gender["predictions"]["score"]), (&json!(7), &json!(7.0)));
    assert_eq!((&gender["stale"], &gender["version"]), (&json!(true), &json!("0.0.1")));
    assert!(gender["age_seconds"].as_i64() >= Some(3 * 86_400));
    assert_eq!((&body["failed"], body.get("missing")), (&json!([]), None));
    let one = world.get(&world.marketing, "/v1/tenants/marketing/services/gender/predictions/7");
    let one = one.await.json();
    for member in ["key", "predictions", "generation", "release", "predicted_at", "watermark"] {
        assert_eq!(gender[member], one[member], "{member} as in a look-up");
    }

    let text = world.get(&world.marketing, "/v1/profiles/c%2F3?missing=true").await.json();
    assert_eq!(names(&text["services"]), ["taste"]);
    assert_eq!(text["services"][0]["key"], "c/3");
    assert_eq!(text["missing"], json!([{"service": "gender", "reason": "key_type"}]));
    let named = "/v1/profiles/7?services=taste,gender,churn,gender&missing=true";
    let named = world.get(&world.marketing, named).await.json();
    assert_eq!(names(&named["services"]), ["gender"]);
    let missing = json!([{"service": "taste", "reason": "unknown_key"},
        {"service": "churn", "reason": "not_published"}]);
    assert_eq!(named["missing"], missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_not_sent_again_until_a_service_publishes() {
    let world = world().await;
    let path = "/v1/profiles/3";
    let first = world.get(&world.marketing, path).await;
    assert_eq!(first.header("cache-control"), "private, max-age=5");
    let ask = async |path: &str| {
        let mut known = request(Method::GET, path, Some(&world.marketing), None);
        known.headers_mut().insert(header::IF_NONE_MATCH, first.headers["etag"].clone());
        world.send(known).await
    };
    let same = ask(path).await;
    assert_eq!((same.status, same.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(same.header("etag"), first.header("etag"));
    assert_eq!(ask("/v1/profiles/4").await.status, StatusCode::OK, "of another customer");
    assert_eq!(ask("/v1/profiles/3?missing=true").await.status, StatusCode::OK, "says more");
    world.publish("marketing", "taste", Utc::now(), 5, 0.75).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    while ask(path).await.status == StatusCode::NOT_MODIFIED {
        assert!(tokio::time::Instant::now() < deadline, "the new publication was not noticed");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_profile_is_not_found_as_if_there_were_none() {
    let world = world().await;
    let whose = async |key: &str, path: &str| {
        let answer = world.get(key, path).await;
        if answer.status == StatusCode::OK {
            return answer.json()["tenant"].as_str().expect("a tenant").to_owned();
        }
        answer.code()
    };
    assert_eq!(whose(&world.crm, "/v1/profiles/1").await, "crm");
    assert_eq!(whose(&world.crm, "/v1/profiles/1?tenant=crm").await, "crm");
    for foreign in ["tenant=marketing", "tenant=nobody", "tenant=no%20name", "services=gender"] {
        let path = format!("/v1/profiles/1?{foreign}");
        assert_eq!(whose(&world.crm, &path).await, "not_found", "{foreign}");
        let batch = format!("/v1/profiles:batchGet?{foreign}");
        let answer = world.post(&world.crm, &batch, r#"{"keys":[1]}"#).await;
        assert_eq!(answer.code(), "not_found", "{foreign}");
    }
    assert_eq!(whose(&world.admin, "/v1/profiles/1").await, "invalid_request", "of which tenant?");
    assert_eq!(whose(&world.admin, "/v1/profiles/1?tenant=marketing").await, "marketing");
    assert_eq!(whose(&world.marketing, "/v1/profiles/99").await, "unknown_key");
    assert_eq!(whose(&world.marketing, "/v1/profiles/%00").await, "invalid_key");
    assert_eq!(whose(&world.marketing, "/v1/profiles/1?services=nothing").await, "not_found");
    assert_eq!(whose("", "/v1/profiles/1").await, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_profiles_are_answered_in_the_order_asked() {
    let world = world().await;
    let batch = "/v1/profiles:batchGet";
    let asked = json!({"keys": ["2", 2.0, "c/2", 99, ""]}).to_string();
    let answer = world.post(&world.marketing, &format!("{batch}?missing=true"), &asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let profiles = answer.json()["profiles"].as_array().expect("profiles").clone();
    let said: Vec<(&Value, Vec<&str>)> =
        profiles.iter().map(|profile| (&profile["key"], names(&profile["services"]))).collect();
    let (text, int) = (json!("2"), json!(2));
    assert_eq!(said[0], (&text, vec!["gender"]));
    assert_eq!(said[1], (&int, vec!["gender"]));
    assert_eq!(said[2], (&json!("c/2"), vec!["taste"]));
    assert_eq!(said[3], (&json!(99), vec![]));
    assert_eq!(said[4], (&json!(""), vec![]), "no key of anybody");
    assert_eq!(profiles[0]["services"], profiles[1]["services"]);
    let of_integer = json!([{"service": "taste", "reason": "key_type"}]);
    assert_eq!(profiles[1]["missing"], of_integer, "an integer is not the text of its digits");

    let many: Vec<i64> = (0..101).collect();
    for (body, code) in [
        (json!({"keys": []}), "invalid_body"),
        (json!({"keys": many}), "invalid_body"),
        (json!({"keys": [1.5]}), "invalid_body"),
        (json!({"keys": [1], "tenant": "crm"}), "invalid_body"),
    ] {
        let answer = world.post(&world.marketing, batch, &body.to_string()).await;
        assert_eq!(answer.code(), code, "{body}");
    }
}
