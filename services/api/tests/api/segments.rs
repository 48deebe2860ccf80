//! Segments over the API: defined, shown, changed where they are defined.

use axum::http::{Method, StatusCode};
use cameo_domain::DataType;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

const SEGMENTS: &str = "/v1/tenants/marketing/segments";

async fn put(world: &World, segment: &str, body: &Value) -> Answer {
    let path = format!("{SEGMENTS}/{segment}");
    let body = body.to_string();
    world.send(request(Method::PUT, &path, Some(&world.marketing), Some(&body))).await
}

/// A condition over a column that the services of these tests have.
fn loyal(more: &str) -> Value {
    json!({"condition": format!("score > 0.5{more}"), "description": "Who stays"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_defined_shown_and_removed_by_campaign_teams() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let answer = put(&world, "loyal", &loyal("")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["condition"], "gender.score > 0.5");
    assert_eq!((&body["version"], &body["defined_by"]), (&json!(1), &Value::Null));
    assert_eq!(body["services"], json!(["gender"]));
    assert_eq!((&body["latest"], &body["materialisations"]), (&Value::Null, &json!([])));
    let body = put(&world, "loyal", &loyal(" or score is null")).await.json();
    assert_eq!(body["version"], 2);

    let list = world.get(&world.marketing, SEGMENTS).await.json();
    assert_eq!(list["segments"].as_array().map(Vec::len), Some(1), "{list}");
    let other = world.get(&world.crm, SEGMENTS).await;
    assert_eq!(other.code(), "not_found");

    let loyal = format!("{SEGMENTS}/loyal");
    let remove = || request(Method::DELETE, &loyal, Some(&world.marketing), None);
    assert_eq!(world.send(remove()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.send(remove()).await.code(), "not_found");
    assert_eq!(world.get(&world.marketing, &loyal).await.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_does_not_fit_is_refused_at_its_place() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let cases = [
        (json!({"condition": "score > 0.5\nand scor < 1"}), Some((2, 5)), "did you mean `score`?"),
        (json!({"condition": "score > 'high'"}), Some((1, 9)), "expected FLOAT64, found STRING"),
        (json!({"condition": ""}), Some((1, 1)), "found nothing"),
        (json!({"condition": "score > 1", "attributes": ["gender.nothing"]}), None, "`nothing`"),
        (
            json!({"condition": "score > 1", "sample": {"percent": 0, "salt": "a"}}),
            None,
            "0.01 to 100",
        ),
    ];
    for (body, place, said) in cases {
        let answer = put(&world, "loyal", &body).await;
        assert_eq!(answer.code(), "invalid_segment", "{answer:?}");
        let problem = answer.json();
        let place = place.map(|(line, column)| json!({"line": line, "column": column}));
        assert_eq!(problem.get("position"), place.as_ref(), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|told| told.contains(said)), "{problem}");
    }
    let answer = put(&world, "Loyal", &loyal("")).await;
    assert_eq!(answer.code(), "invalid_request");
    let answer = put(&world, "loyal", &json!({"condition": "score > 1", "colour": "red"})).await;
    assert_eq!(answer.code(), "invalid_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_a_bundle_is_changed_in_the_bundle() {
    let world = World::start().await;
    let segments = json!([{ "name": "loyal", "condition": "score > 0.9" }]);
    let declaring = json!({ "segments": segments });
    world.apply_version("marketing", "gender", "1.0.0", |new| new.manifest = declaring).await;
    let path = format!("{SEGMENTS}/loyal");
    assert_eq!(world.get(&world.marketing, &path).await.json()["defined_by"], "gender");
    let remove = request(Method::DELETE, &path, Some(&world.marketing), None);
    for answer in [put(&world, "loyal", &loyal("")).await, world.send(remove).await] {
        assert_eq!(answer.code(), "segment_defined_elsewhere", "{answer:?}");
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains("SEGMENT_CONFIG of the bundle of `gender`"), "{detail}");
    }
}
