//! The tenants that a caller may see.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use cameo_access::Caller;
use cameo_checkpoint::{Check, passes};
use cameo_domain::GroupAccess;
use cameo_store::tenants;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, extract::PathParams, problem::Problem};

/// A team.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Tenant {
    /// Its name.
    #[schema(example = "marketing")]
    tenant: String,
    /// How many of its runs may run at once.
    #[schema(example = 2)]
    max_concurrent_runs: u32,
    /// When it was first seen.
    created_at: DateTime<Utc>,
}

/// All tenants that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantList {
    /// By name.
    tenants: Vec<Tenant>,
}

/// List tenants
///
/// A tenant's key sees its own tenant, an operator all, a person those that let one of its groups in.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "listTenants", tag = "tenants",
    responses((status = 200, description = "The tenants", body = TenantList)))]
pub(crate) async fn list_tenants(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<TenantList>, Problem> {
    let tenants = tenants::list(&app.store).await?;
    let visible = tenants
        .into_iter()
        .filter(|record| passes(Check::TenantsListed, caller.may_access(record.tenant.as_str())));
    let tenants = visible
        .map(|record| Tenant {
            tenant: record.tenant.into(),
            max_concurrent_runs: record.max_concurrent_runs,
            created_at: record.created_at,
        })
        .collect();
    Ok(Json(TenantList { tenants }))
}

/// Which groups of the identity provider may do what with a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Access {
    /// The groups of each role, and those that see what is sensitive, under the keys of `tenant.yaml`.
    #[schema(value_type = Object, example = json!({"VIEWER": ["everybody"], "ADMIN": ["crm-leads"]}))]
    access: GroupAccess,
}

/// Get a tenant's access
///
/// Which groups may do what, as `ACCESS` in the tenant's `tenant.yaml` says.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/access", operation_id = "getAccess", tag = "keys",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The groups", body = Access)))]
pub(crate) async fn get_access(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<Access>, Problem> {
    let record = tenants::find(&app.store, &path.tenant()?).await?;
    let record = record.ok_or_else(Problem::not_found)?;
    Ok(Json(Access { access: record.access }))
}
