//! A key does what its scopes say. The routes come from the document, so a new one is swept as well.

use axum::http::{Method, StatusCode};
use cameo_domain::{DataType, Scope};
use serde_json::Value;

use crate::world::{World, request};

/// Every operation under `/v1`, with its method, its path filled in, and the scope that it declares.
fn operations(document: &Value) -> Vec<(Method, String, Scope)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if !path.starts_with("/v1/") {
            continue;
        }
        let filled = path
            .replace("{tenant}", "marketing")
            .replace("{service}", "gender")
            .replace("{key}", "1")
            .replace("{run}", "1")
            .replace("{release}", "0.0.1")
            .replace("{segment}", "loyal")
            .replace("{webhook}", "campaigns");
        assert!(!filled.contains('{'), "the sweep must learn how to fill {path}");
        for (method, operation) in item.as_object().expect("operations") {
            let scope = operation["x-scope"].as_str();
            let scope = scope.unwrap_or_else(|| panic!("{method} {path} declares no scope"));
            let method = method.to_uppercase().parse().expect("a method");
            operations.push((method, filled.clone(), scope.parse().expect("a known scope")));
        }
    }
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_declares_its_scope_and_refuses_keys_without_it() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let document = world.get("", "/openapi.json").await.json();
    let operations = operations(&document);
    assert!(operations.len() >= 15, "the document describes the routes: {operations:?}");
    for scope in Scope::ALL {
        let key = world.scoped_key("marketing", &[scope.as_str()]).await;
        for (method, path, wanted) in &operations {
            let answer = world.send(request(method.clone(), path, Some(&key), None)).await;
            let told = format!("{method} {path} with `{scope}`: {answer:?}");
            if scope == *wanted {
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{told}");
                continue;
            }
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{told}");
            assert_eq!(answer.code(), "missing_scope", "{told}");
            let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
            assert!(detail.contains(&format!("`{wanted}`")), "{detail}");
        }
    }
    let both = world.scoped_key("marketing", &["read", "run"]).await;
    let gender = "/v1/tenants/marketing/services/gender";
    assert_eq!(world.get(&both, gender).await.status, StatusCode::OK);
    let asked = world.post(&both, &format!("{gender}/runs"), "").await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    // Another tenant's key learns nothing of scopes.
    let other = world.scoped_key("crm", &["run"]).await;
    assert_eq!(world.get(&other, gender).await.code(), "not_found");
}
