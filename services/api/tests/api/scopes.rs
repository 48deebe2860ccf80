//! A caller does what its scopes say. The routes come from the document, so a new one is swept as well.

use axum::http::StatusCode;
use cameo_api::Config;
use cameo_domain::{DataType, GroupAccess, Role, Scope, role::SENSITIVE};
use cameo_store::tenants;

use crate::{
    issuer::{Issuer, Signer},
    sweep::{Names, Operation, operations},
    world::{World, request},
};

async fn swept(world: &World) -> Vec<Operation> {
    let operations = operations(&world.get("", "/openapi.json").await.json());
    assert!(operations.len() >= 15, "the document describes the routes: {operations:?}");
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_declares_its_scope_and_refuses_keys_without_it() {
    let world = World::start().await;
    world.apply("marketing", "gender", DataType::Int).await;
    let operations = swept(&world).await;
    for scope in Scope::ALL {
        let key = world.scoped_key("marketing", &[scope.as_str()]).await;
        for operation in &operations {
            let may = operation.scope.is_none_or(|wanted| wanted == scope);
            holds(&world, operation, &key, may, scope.as_str()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_people_whose_groups_do_not_give_its_scope() {
    let signer = Signer::elliptic("one");
    let issuer = Issuer::start(&[&signer]).await;
    let config = Config { oidc: Some(issuer.config(&["ES256"])), ..Config::default() };
    let world = World::start_with(config).await;
    world.apply("marketing", "gender", DataType::Int).await;
    let group = |name: &str| vec![name.to_owned()];
    let access = GroupAccess {
        viewer: group(Role::Viewer.as_str()),
        member: group(Role::Member.as_str()),
        operator: group(Role::Operator.as_str()),
        admin: group(Role::Admin.as_str()),
        sensitive: group(SENSITIVE),
    };
    let marketing = "marketing".parse().expect("a name");
    tenants::grant(&world.store, &marketing, &access).await.expect("granted");
    let operations = swept(&world).await;
    for (group, _, scopes) in access.lists() {
        let token = signer.sign(&issuer.claims("ada", &[group]));
        for operation in &operations {
            let may = operation.scope.is_none_or(|wanted| scopes.contains(&wanted));
            holds(&world, operation, &token, may, group).await;
        }
    }
}

/// Whether an operation lets a caller do what it may, and nothing else.
async fn holds(world: &World, operation: &Operation, credential: &str, may: bool, with: &str) {
    let path = Names::of("marketing", "gender").fill(&operation.template);
    let asked = request(operation.method.clone(), &path, Some(credential), None);
    let answer = world.send(asked).await;
    let told = format!("{} {path} with `{with}`: {answer:?}", operation.method);
    assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{told}");
    if may {
        assert_ne!(answer.status, StatusCode::FORBIDDEN, "{told}");
        return;
    }
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{told}");
    assert_eq!(answer.code(), "missing_scope", "{told}");
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    let wanted = operation.scope.expect("a scope that is missing");
    assert!(detail.contains(&format!("`{wanted}`")), "{detail}");
}
