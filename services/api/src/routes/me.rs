//! Who a caller is and what it may do.

use std::sync::Arc;

use axum::{Extension, Json};
use cameo_access::{Caller, Grant, Identity};
use cameo_domain::{Scope, Services};
use serde::Serialize;
use utoipa::ToSchema;

/// Who calls.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The caller in ledgers and audit trails.
    #[schema(example = "oidc:ada")]
    actor: String,
    /// `key` for an API key, `person` for a token of the identity provider.
    #[schema(example = "person")]
    kind: &'static str,
    /// What holds for every tenant that is not listed; `null` for everybody but the platform's operators.
    #[schema(required = true, value_type = Option<Vec<String>>, example = json!(null))]
    everywhere: Option<Vec<Scope>>,
    /// What holds for each tenant.
    tenants: Vec<Membership>,
}

/// What a caller may do with a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Membership {
    /// Which.
    #[schema(example = "marketing")]
    tenant: String,
    /// The scopes, one by one.
    #[schema(value_type = Vec<String>, example = json!(["read", "run", "segment"]))]
    scopes: Vec<Scope>,
    /// With which of its services; `null` for all.
    #[schema(required = true, value_type = Option<Vec<String>>, example = json!(null))]
    services: Services,
}

/// Who am I, and what may I do
///
/// Answers every caller that is let in, whatever it may do.
#[utoipa::path(get, path = "/v1/me", operation_id = "getMe", tag = "keys",
    responses((status = 200, description = "The caller", body = Me)))]
pub(crate) async fn get_me(Extension(caller): Extension<Arc<Caller>>) -> Json<Me> {
    let scopes = |grant: &Grant| grant.scopes.each().collect();
    let kind = match caller.identity() {
        Identity::Key { .. } => "key",
        Identity::Person { .. } => "person",
    };
    let tenants = caller.tenants().iter().map(|(tenant, grant)| Membership {
        tenant: tenant.to_string(),
        scopes: scopes(grant),
        services: grant.services.clone(),
    });
    Json(Me {
        actor: caller.actor().to_owned(),
        kind,
        everywhere: caller.everywhere().map(scopes),
        tenants: tenants.collect(),
    })
}
