//! Why predictions are what they are: for one key, for all customers.

use axum::http::StatusCode;
use cameo_domain::DataType;
use serde_json::json;

use crate::world::World;

const GENDER: &str = "/v1/tenants/marketing/services/gender";

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_explanation_is_json_in_every_look_up() {
    let world = World::start().await;
    world.apply_explained("marketing", "gender").await;
    world.publish("marketing", "gender", chrono::Utc::now(), 4, 0.0).await;
    let visits = json!([{"feature": "visits", "value": 3, "contribution": 0.5}]);

    let one = world.get(&world.marketing, &format!("{GENDER}/predictions/3")).await.json();
    assert_eq!(one["predictions"]["explanation"], visits);
    let body = json!({"keys": [3, 4]}).to_string();
    let url = format!("{GENDER}/predictions:batchGet");
    let batch = world.post(&world.marketing, &url, &body).await.json();
    assert_eq!(batch["results"][0]["predictions"]["explanation"], visits);
    assert!(batch["results"][1]["predictions"]["explanation"].is_null());

    let answer = world.get(&world.marketing, &format!("{GENDER}/predictions/3/explanation")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("cameo-generation"), "1");
    let found = answer.json();
    assert_eq!(found["explanation"], visits);
    assert_eq!((&found["key"], &found["base_value"]), (&json!(3), &json!(0.125)));
    assert_eq!((&found["unit"], &found["output"]), (&json!("margin"), &json!("score")));
    let without = world.get(&world.marketing, &format!("{GENDER}/predictions/4/explanation")).await;
    assert!(without.json()["explanation"].is_null(), "{without:?}");
    let unknown = world.get(&world.marketing, &format!("{GENDER}/predictions/9/explanation")).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "unknown_key"));
    let foreign = world.get(&world.crm, &format!("{GENDER}/predictions/3/explanation")).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn importance_is_told_for_each_generation_to_its_tenant_alone() {
    let world = World::start().await;
    world.apply_explained("marketing", "gender").await;
    let importance = format!("{GENDER}/importance");
    let early = world.get(&world.marketing, &importance).await;
    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "not_published"));
    let first = world.publish("marketing", "gender", chrono::Utc::now(), 4, 0.0).await;
    world.publish("marketing", "gender", chrono::Utc::now(), 6, 0.0).await;

    let found = world.get(&world.marketing, &importance).await.json();
    let visits = json!({"feature": "visits", "mean_absolute_contribution": 0.75,
        "mean_contribution": -0.5, "share": 0.75});
    assert_eq!(found["features"][0], visits);
    assert_eq!(found["features"][1]["feature"], "tenure");
    assert_eq!((&found["rows"], &found["stored"]), (&json!(6), &json!(true)));
    assert_eq!(found["cohorts"][0]["value"], "JP");
    assert_eq!(found["cohorts"][0]["features"][0], visits);

    let older = format!("{importance}?generation={first}&features=1");
    let older = world.get(&world.marketing, &older).await.json();
    assert_eq!((&older["generation"], &older["rows"]), (&json!(first), &json!(4)));
    assert_eq!(older["features"].as_array().map(Vec::len), Some(1));
    assert_eq!(older["features"][0]["share"], 0.75, "of all features, listed or not");
    for (query, status, code) in [
        ("?generation=99", StatusCode::NOT_FOUND, "not_found"),
        ("?features=0", StatusCode::BAD_REQUEST, "invalid_request"),
        ("?feature=1", StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let answer = world.get(&world.marketing, &format!("{importance}{query}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{query}");
    }
    let foreign = world.get(&world.crm, &importance).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_stored_explanations_says_where_to_get_them() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", chrono::Utc::now(), 4, 0.0).await;
    let answer = world.get(&world.marketing, &format!("{GENDER}/predictions/3/explanation")).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::CONFLICT, "explanation_not_stored")
    );
    let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("`cameo explain marketing/gender --key 3`"), "{detail}");
    let answer = world.get(&world.marketing, &format!("{GENDER}/importance")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_explained"));
    assert!(
        answer.json()["detail"].as_str().is_some_and(|text| text.contains("EXPLANATION_CONFIG"))
    );
}
