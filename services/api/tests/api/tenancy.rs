//! A tenant that a caller may not see does not exist for it. The matrix goes further, this is the short form.

use axum::http::StatusCode;
use cameo_domain::DataType;
use serde_json::Value;

use crate::{
    sweep::{Names, operations},
    world::{Answer, World, request},
};

fn said(answer: &Answer) -> Value {
    let mut body = answer.json();
    for own in ["request_id", "instance"] {
        body[own] = Value::Null;
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_hides_another_tenant_exactly_as_if_it_did_not_exist() {
    let world = World::start().await;
    for (tenant, service, key) in
        [("marketing", "gender", DataType::Int), ("crm", "clv", DataType::String)]
    {
        world.apply(tenant, service, key).await;
        world.publish(tenant, service, chrono::Utc::now(), 10, 0.0).await;
    }
    let document = world.get("", "/openapi.json").await.json();
    let mut routes = operations(&document);
    routes.retain(|operation| operation.names("tenant"));
    assert!(routes.len() >= 10, "the document describes the routes: {routes:?}");
    for operation in routes {
        let path = Names::of("marketing", "gender").fill(&operation.template);
        let nowhere = Names::of("nobody", "gender").fill(&operation.template);
        let method = operation.method;
        for body in [None, Some("{}"), Some("not json")] {
            let ask = |path: &str, key| request(method.clone(), path, key, body);
            let theirs = world.send(ask(&path, Some(&world.crm))).await;
            assert_eq!(theirs.code(), "not_found", "{method} {path} for another tenant");
            let none = world.send(ask(&nowhere, Some(&world.crm))).await;
            assert_eq!(said(&theirs), said(&none), "{method} {path} tells the tenants apart");
            assert_eq!(theirs.headers.len(), none.headers.len());

            let anonymous = world.send(ask(&path, None)).await;
            assert_eq!(anonymous.code(), "unauthenticated", "{method} {path} without a key");
            assert!(anonymous.header("www-authenticate").starts_with("Bearer"));
        }
        let own = request(method.clone(), &path, Some(&world.marketing), None);
        assert_ne!(world.send(own).await.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }

    let listed = |answer: &Answer| {
        let tenants = answer.json()["tenants"].as_array().expect("a list").clone();
        tenants
            .iter()
            .map(|one| one["tenant"].as_str().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&world.get(&world.crm, "/v1/tenants").await), ["crm"]);
    assert_eq!(listed(&world.get(&world.admin, "/v1/tenants").await), ["crm", "marketing"]);
    let run = "/v1/tenants/crm/services/clv/runs/1";
    assert_eq!(world.get(&world.crm, run).await.code(), "not_found", "run 1 is marketing's");
    assert_eq!(
        world.get(&world.admin, "/v1/tenants/marketing/services/gender/predictions/1").await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_stops_working_within_seconds() {
    let world = World::start().await;
    assert_eq!(world.get(&world.crm, "/v1/tenants").await.status, StatusCode::OK);
    let prefix = &world.crm[6..14];
    cameo_store::keys::revoke(&world.store, None, prefix).await.expect("a revoked key");
    let deadline = tokio::time::Instant::now() + cameo_access::authenticator::TRUST_FOR;
    while world.get(&world.crm, "/v1/tenants").await.status != StatusCode::UNAUTHORIZED {
        assert!(tokio::time::Instant::now() < deadline, "the key still works");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
