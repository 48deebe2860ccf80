//! No byte of one tenant reaches another. The routes come from the `OpenAPI` document, which comes from
//! the router, so a new route is swept without anybody remembering it.

use axum::http::{Method, StatusCode};
use cameo_domain::DataType;
use serde_json::Value;

use crate::world::{Answer, World, request};

/// Every route under a tenant, with its method, for a tenant and one of its services.
fn tenant_routes(document: &Value, tenant: &str, service: &str) -> Vec<(Method, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut routes = Vec::new();
    for (path, item) in paths.iter().filter(|(path, _)| path.contains("{tenant}")) {
        let filled = path
            .replace("{tenant}", tenant)
            .replace("{service}", service)
            .replace("{key}", "1")
            .replace("{run}", "1")
            .replace("{release}", "0.0.1")
            .replace("{segment}", "loyal")
            .replace("{webhook}", "campaigns");
        assert!(!filled.contains('{'), "the sweep must learn how to fill {path}");
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_uppercase().parse().expect("a method");
            routes.push((method, filled.clone()));
        }
    }
    routes
}

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
    let routes = tenant_routes(&document, "marketing", "gender");
    assert!(routes.len() >= 10, "the document describes the routes: {routes:?}");
    let nobody = tenant_routes(&document, "nobody", "gender");
    for ((method, path), (_, nowhere)) in routes.into_iter().zip(nobody) {
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
