//! Bundles that are sent to the API.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use cameo_domain::DataType;

use crate::world::World;

fn sent(path: &str, key: &str, body: Vec<u8>) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Body::from(body))
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_package_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let plans = "/v1/tenants/marketing/plans";
    for body in [Vec::new(), b"PK\x03\x04".to_vec(), vec![0x1f, 0x8b, 8, 0]] {
        for path in [plans, "/v1/tenants/marketing/releases"] {
            let answer = world.send(sent(path, &world.marketing, body.clone())).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
            assert_eq!(answer.code(), "invalid_package");
        }
    }
    let answer =
        world.send(sent(&format!("{plans}?sample=100000000"), &world.marketing, vec![])).await;
    assert_eq!(answer.code(), "invalid_request");
    let answer = world.send(sent(plans, &world.crm, vec![])).await;
    assert_eq!(answer.code(), "not_found", "another team's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_taken_out_of_use_and_listed_where_it_stands() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    world.publish("marketing", "gender", chrono::Utc::now(), 3, 0.0).await;
    let standing = async || {
        let list = world.get(&world.marketing, "/v1/tenants/marketing/releases").await.json();
        let service = &list["services"][0];
        (service["stage"].clone(), service["generation"].clone())
    };
    let (stage, generation) = standing().await;
    assert_eq!(stage, "production");
    assert!(generation.is_number());

    let gender = "/v1/tenants/marketing/services/gender";
    let delete = |key: &str| crate::world::request(Method::DELETE, gender, Some(key), None);
    assert_eq!(world.send(delete(&world.crm)).await.code(), "not_found");
    let archived = world.send(delete(&world.marketing)).await.json();
    assert_eq!(archived["releases"].as_array().map(Vec::len), Some(1), "{archived}");
    assert_eq!(standing().await, ("archived".into(), generation), "what is published stays served");
    let one = world.get(&world.marketing, &format!("{gender}/predictions/1")).await;
    assert_eq!(one.status, StatusCode::OK, "{one:?}");
    let again = world.send(delete(&world.marketing)).await.json();
    assert_eq!(again["releases"].as_array().map(Vec::len), Some(0), "{again}");
}
