//! API keys of a tenant, managed by the tenant.
//!
//! Nobody can grant more than they hold: a key that is made or rotated has no scope and no service that
//! its maker has not, and it is of the maker's tenant.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cameo_access::{ApiKey, Caller, Grant};
use cameo_checkpoint::{Check, passes};
use cameo_domain::{Scopes, ServiceName, Services, TenantName};
use cameo_store::{
    keys::{self, KeyRecord, NewKey, Rotation},
    services,
};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    acting::Acting,
    app::App,
    authorise::visible,
    extract::{JsonBytes, OptionalJsonBytes, PathParams, whole_number},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// The template under which the router knows the actions on a key; see
/// [`super::generations::ACTION_PATH`].
pub(crate) const ACTION_PATH: &str = "/v1/tenants/{tenant}/keys/{prefix}";
const ROTATE: &str = "rotate";
/// How long a key that was rotated goes on working, unless said otherwise.
const OVERLAP_SECONDS: u32 = 24 * 60 * 60;
/// Longest such time: 30 days.
const OVERLAP_SECONDS_MAX: u32 = 30 * 24 * 60 * 60;
/// Longest life of a key that ends by itself, in days.
const LIFETIME_DAYS_MAX: u32 = 3_650;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Most services that a key names.
const SERVICES_MAX: usize = 100;

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    /// The public part, which names it.
    #[schema(example = "1a2b3c4d")]
    prefix: String,
    /// What it is for.
    #[schema(example = "campaign-tool")]
    name: String,
    /// What it may do; `all` stands for everything but `sensitive`.
    #[schema(value_type = Vec<String>, example = json!(["read"]))]
    scopes: Scopes,
    /// For which services it is; `null` for all of the tenant.
    #[schema(required = true, value_type = Option<Vec<String>>, example = json!(["clv"]))]
    services: Services,
    /// Whether it opens anything now.
    active: bool,
    /// Who made it.
    #[schema(example = "cli:ada")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it ends by itself.
    #[schema(required = true)]
    expires_at: Option<DateTime<Utc>>,
    /// When somebody ended it.
    #[schema(required = true)]
    revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    #[schema(required = true)]
    last_used_at: Option<DateTime<Utc>>,
    /// The key that takes over, where it was rotated.
    #[schema(required = true, example = json!(null))]
    successor: Option<String>,
}

/// The keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// Newest first; 1,000 at most.
    keys: Vec<Key>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// The whole key. Keep it now: it cannot be shown again.
    #[schema(example = "cameo_1a2b3c4d_…_…")]
    secret: String,
    /// What is kept of it.
    key: Key,
}

/// What a key shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKeyRequest {
    /// What it is for, up to 200 bytes.
    #[schema(min_length = 1, max_length = 200, example = "campaign-tool")]
    name: String,
    /// What it may do: no more than the caller.
    #[schema(min_items = 1, example = json!(["read"]))]
    scopes: Vec<String>,
    /// For which services it is; all of the tenant unless given.
    #[schema(example = json!(["clv"]))]
    services: Option<Vec<String>>,
    /// After how many days it ends by itself, 1 to 3,650; never unless given.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(minimum = 1, maximum = 3650, example = 365)]
    expires_days: Option<u32>,
}

/// How a key is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateKeyRequest {
    /// How long both keys work, up to 2,592,000 (30 days); 86,400 (a day) unless given.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(maximum = 2_592_000, example = 86_400)]
    overlap_seconds: Option<u32>,
}

/// A key that was replaced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotatedKey {
    /// The whole key that takes over. Keep it now: it cannot be shown again.
    #[schema(example = "cameo_5e6f7a8b_…_…")]
    secret: String,
    /// What is kept of it.
    key: Key,
    /// The key that ends, with its end.
    replaced: Key,
}

/// List a tenant's API keys
///
/// Without their secrets, which nobody can show. A key for some services sees keys that reach no further.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/keys", operation_id = "listKeys", tag = "keys",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The keys", body = KeyList)))]
pub(crate) async fn list_keys(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
) -> Result<Json<KeyList>, Problem> {
    let tenant = path.tenant()?;
    let reach = visible(&caller, &tenant, Check::KeysListed);
    let now = Utc::now();
    let listed = keys::list(&app.store, Some(&tenant)).await?.into_iter();
    let keys = listed.filter(|key| reach.cover(&key.services)).map(|key| view(key, now));
    Ok(Json(KeyList { keys: keys.collect() }))
}

/// Make an API key
///
/// The answer shows the key once. It may do no more than the caller: no scope and no service that the
/// caller has not.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/keys", operation_id = "createKey", tag = "keys",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    request_body(content = CreateKeyRequest, example = json!({"name": "campaign-tool", "scopes": ["read"], "services": ["clv"]})),
    responses(
        (status = 201, description = "The key", body = CreatedKey),
        (status = 403, description = "The key would do more than the caller may", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::MissingScope)))))]
pub(crate) async fn create_key(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    acting: Acting,
    path: PathParams,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let tenant = path.tenant()?;
    let request: CreateKeyRequest = body.read()?;
    let name = name(request.name)?;
    let grant = Grant { scopes: scopes(&request.scopes)?, services: named(request.services)? };
    within_own(&caller, &tenant, &grant)?;
    must_exist(&app, &tenant, &grant.services).await?;
    let now = Utc::now();
    let made = generate()?;
    let new = NewKey {
        prefix: made.prefix().to_owned(),
        hash: made.hash(),
        tenant: Some(tenant),
        name,
        scopes: grant.scopes,
        services: grant.services,
        created_by: acting.by.actor,
        expires_at: lifetime(request.expires_days)?.map(|lifetime| now + lifetime),
    };
    let record = keys::insert(&acting.store, &new).await?;
    let created = CreatedKey { secret: made.reveal().to_owned(), key: view(record, now) };
    Ok(secret(StatusCode::CREATED, &created))
}

/// Rotate an API key
///
/// Makes a key that may do the same and lets the old one end after the overlap, so that whoever uses it
/// can change over without a failed request. A key that ends by itself is followed by one that lives as
/// long. The body may be left out.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/keys/{prefix}:rotate", operation_id = "rotateKey", tag = "keys",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("prefix" = String, Path, description = "The key's public part.", example = "1a2b3c4d"),
    ),
    request_body(content = Option<RotateKeyRequest>, example = json!({"overlap_seconds": 3600})),
    responses(
        (status = 201, description = "The key that takes over", body = RotatedKey),
        (status = 403, description = "The key may do more than the caller", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::MissingScope))),
        (status = 409, description = "The key has ended or was rotated already", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::KeyEnded)))))]
pub(crate) async fn rotate_key(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    acting: Acting,
    path: PathParams,
    request: Request,
) -> Result<Response, Problem> {
    let segment = path.text("prefix");
    let (prefix, action) = segment.split_once(':').unwrap_or((segment, ""));
    if action != ROTATE {
        return Err(Problem::not_found());
    }
    let tenant = path.tenant()?;
    let found = find(&app, &caller, &tenant, prefix).await?;
    within_own(&caller, &tenant, &Grant { scopes: found.scopes, services: found.services })?;
    let body = OptionalJsonBytes::from_request(request, &app).await?.0;
    let request: RotateKeyRequest = body.map(|body| body.read()).transpose()?.unwrap_or_default();
    let overlap = request.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
    if overlap > OVERLAP_SECONDS_MAX {
        let detail =
            format!("expected `overlap_seconds` of 0 to {OVERLAP_SECONDS_MAX}, found {overlap}");
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let (made, now) = (generate()?, Utc::now());
    let rotation = Rotation {
        prefix: prefix.to_owned(),
        successor: made.prefix().to_owned(),
        hash: made.hash(),
        overlap: Duration::seconds(overlap.into()),
        by: acting.by.actor,
        now,
    };
    let rotated = keys::rotate(&acting.store, Some(&tenant), &rotation).await?;
    let answer = RotatedKey {
        secret: made.reveal().to_owned(),
        key: view(rotated.new, now),
        replaced: view(rotated.old, now),
    };
    Ok(secret(StatusCode::CREATED, &answer))
}

/// Revoke an API key
///
/// Ends a key for good; every process of the API follows within 10 seconds.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/keys/{prefix}", operation_id = "revokeKey", tag = "keys",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("prefix" = String, Path, description = "The key's public part.", example = "1a2b3c4d"),
    ),
    responses((status = 200, description = "The key that was ended", body = Key)))]
pub(crate) async fn revoke_key(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    acting: Acting,
    path: PathParams,
) -> Result<Json<Key>, Problem> {
    let (tenant, prefix) = (path.tenant()?, path.text("prefix"));
    find(&app, &caller, &tenant, prefix).await?;
    let revoked = keys::revoke(&acting.store, Some(&tenant), prefix).await?;
    Ok(Json(view(revoked, Utc::now())))
}

/// A key that the caller may see.
async fn find(
    app: &App,
    caller: &Caller,
    tenant: &TenantName,
    prefix: &str,
) -> Result<KeyRecord, Problem> {
    let found = keys::find(&app.store, tenant, prefix).await?;
    let reach = visible(caller, tenant, Check::ServicesOfKey);
    if reach.cover(&found.services) { Ok(found) } else { Err(Problem::not_found()) }
}

/// Refuses to grant what the caller has not got.
fn within_own(caller: &Caller, tenant: &TenantName, wanted: &Grant) -> Result<(), Problem> {
    let own = caller.grant(tenant.as_str());
    if passes(Check::GrantOfKey, own.is_some_and(|own| own.covers(wanted))) {
        return Ok(());
    }
    let detail = match own {
        Some(Grant { scopes, services: Services::All }) => {
            format!("nobody can grant more than they hold, which is here: {scopes}")
        }
        Some(Grant { scopes, services: Services::Only(names) }) => {
            let names: Vec<_> = names.iter().map(ServiceName::as_str).collect();
            let names = names.join(", ");
            format!("nobody can grant more than they hold, which is here: {scopes} of {names}")
        }
        None => "nobody can grant more than they hold".to_owned(),
    };
    Err(Problem::new(Code::MissingScope, detail))
}

async fn must_exist(app: &App, tenant: &TenantName, named: &Services) -> Result<(), Problem> {
    for service in named.names().unwrap_or_default() {
        if services::find(&app.store, tenant, service).await?.is_none() {
            let detail = format!("expected services of {tenant}, which has no `{service}`");
            return Err(Problem::new(Code::InvalidBody, detail));
        }
    }
    Ok(())
}

fn name(name: String) -> Result<String, Problem> {
    let is_sane =
        !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
    if is_sane {
        return Ok(name);
    }
    let detail = format!("expected a `name` of 1 to {NAME_BYTES_MAX} bytes of text");
    Err(Problem::new(Code::InvalidBody, detail))
}

fn scopes(words: &[String]) -> Result<Scopes, Problem> {
    if words.is_empty() {
        let detail = "expected at least one of `scopes`, found none";
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    Scopes::from_words(words).map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))
}

fn named(services: Option<Vec<String>>) -> Result<Services, Problem> {
    let Some(names) = services else { return Ok(Services::All) };
    if !(1..=SERVICES_MAX).contains(&names.len()) {
        let detail = format!(
            "expected 1 to {SERVICES_MAX} `services`, or none for all, found {}",
            names.len()
        );
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let names: Result<_, _> = names.into_iter().map(ServiceName::try_from).collect();
    let names = names.map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))?;
    Ok(Services::Only(names))
}

fn lifetime(days: Option<u32>) -> Result<Option<Duration>, Problem> {
    match days {
        Some(days) if !(1..=LIFETIME_DAYS_MAX).contains(&days) => {
            let detail =
                format!("expected `expires_days` of 1 to {LIFETIME_DAYS_MAX}, found {days}");
            Err(Problem::new(Code::InvalidBody, detail))
        }
        days => Ok(days.map(|days| Duration::days(days.into()))),
    }
}

fn generate() -> Result<ApiKey, Problem> {
    ApiKey::generate().map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::internal()
    })
}

/// An answer that nothing between here and the caller may keep.
fn secret(status: StatusCode, body: &impl Serialize) -> Response {
    let never = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (status, never, Json(body)).into_response()
}

fn view(record: KeyRecord, now: DateTime<Utc>) -> Key {
    Key {
        active: record.is_active(now),
        prefix: record.prefix,
        name: record.name,
        scopes: record.scopes,
        services: record.services,
        created_by: record.created_by,
        created_at: record.created_at,
        expires_at: record.expires_at,
        revoked_at: record.revoked_at,
        last_used_at: record.last_used_at,
        successor: record.successor,
    }
}
