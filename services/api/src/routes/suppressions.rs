//! Whom runs leave out.

use axum::{Json, extract::State};
use cameo_store::erasures::{self, SuppressionRecord};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::erasures::{KeyOfCustomer, MeantAs, check_reason, key_type};
use crate::{
    acting::Acting,
    app::App,
    extract::{JsonBytes, PathParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Whom runs leave out.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Suppression {
    /// Its number.
    #[schema(example = 7)]
    suppression: i64,
    /// `INT` or `STRING`.
    #[schema(example = "INT")]
    key_type: String,
    /// HMAC-SHA-256 of the key under the tenant's salt.
    fingerprint: String,
    /// In which service; `null`: in all.
    #[schema(required = true, example = json!(null))]
    service: Option<String>,
    /// The erasure that left it.
    #[schema(example = 12)]
    erasure: i64,
    /// Since when.
    created_at: DateTime<Utc>,
    /// Until when; `null` while runs leave the customer out.
    #[schema(required = true)]
    lifted_at: Option<DateTime<Utc>>,
    /// Who lifted it.
    #[schema(required = true)]
    lifted_by: Option<String>,
    /// Why.
    #[schema(required = true)]
    lift_reason: Option<String>,
}

/// The suppressions of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuppressionList {
    /// The latest 1,000, newest first.
    suppressions: Vec<Suppression>,
}

/// Whom runs may have again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiftRequest {
    /// The customer's key, as a number or a text.
    key: KeyOfCustomer,
    /// As what it is meant; as whatever it can be unless given.
    key_type: Option<MeantAs>,
    /// Why, for the audit trail.
    #[schema(example = "registered anew")]
    reason: String,
}

/// List a tenant's suppressions
///
/// Whom its runs leave out, and whom they may have again.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/suppressions", operation_id = "listSuppressions", tag = "erasures",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The suppressions", body = SuppressionList)))]
pub(crate) async fn list_suppressions(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<SuppressionList>, Problem> {
    let records = erasures::suppressions(&app.store, &path.tenant()?).await?;
    Ok(Json(SuppressionList { suppressions: records.into_iter().map(Suppression::from).collect() }))
}

/// Lift a customer's suppressions
///
/// For a customer who has come back: the next run has them again. The key is in the body, because addresses
/// are written into logs on their way.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/suppressions:lift", operation_id = "liftSuppressions", tag = "erasures",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    request_body(content = LiftRequest, example = json!({"key": 17, "reason": "registered anew"})),
    responses(
        (status = 200, description = "What was lifted", body = SuppressionList),
        (status = 400, description = "The key is not of the type that it is meant as", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidKey)))))]
pub(crate) async fn lift_suppressions(
    acting: Acting,
    path: PathParams,
    body: JsonBytes,
) -> Result<Json<SuppressionList>, Problem> {
    let tenant = path.tenant()?;
    let LiftRequest { key, key_type: meant, reason } = body.read()?;
    check_reason(&reason)?;
    let Acting { store, by } = acting;
    let (key, meant) = (key.text(), key_type(meant));
    let lifted = erasures::lift(&store, &tenant, &key, meant, reason.trim(), &by).await?;
    Ok(Json(SuppressionList { suppressions: lifted.into_iter().map(Suppression::from).collect() }))
}

impl From<SuppressionRecord> for Suppression {
    fn from(record: SuppressionRecord) -> Self {
        Self {
            suppression: record.suppression,
            key_type: record.key_type,
            fingerprint: record.fingerprint.to_string(),
            service: record.service.map(String::from),
            erasure: record.erasure.0,
            created_at: record.created_at,
            lifted_at: record.lifted_at,
            lifted_by: record.lifted_by,
            lift_reason: record.lift_reason,
        }
    }
}
