//! Everything that a tenant's services say about a customer.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cameo_access::Caller;
use cameo_checkpoint::{Check, passes};
use cameo_domain::{Key, Scope, ServiceName, ServicePath, TenantName};
use cameo_serving::{
    LookupError,
    profiles::{CUSTOMERS_MAX, CustomerKey, Missing, Said, ServiceAnswers, Sources},
    render::Rows,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::predictions::{KeyView, Predictions, answer, write_json};
use crate::{
    app::App,
    authorise::lacks,
    extract::{JsonBytes, PathParams, QueryParams},
    freshness,
    openapi::example,
    problem::{Code, Problem, ProblemBody},
    sensitive,
};

/// Room for what one service says, so that most answers are written without growing the buffer.
const SERVICE_BYTES_GUESS: usize = 512;

/// A customer's profile.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Whose services were asked.
    #[schema(example = "marketing")]
    tenant: String,
    /// Whom the profile is about, as asked.
    key: KeyView,
    /// What each service says that has predictions for the customer, by the services' names.
    services: Vec<ServiceAttributes>,
    /// Services that could not answer now; the others are complete without them. Ask again for these.
    failed: Vec<FailedService>,
    /// Services that say nothing about the customer; given where `missing=true` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<MissingService>>,
}

/// What one service says about a customer, and from when it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceAttributes {
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// The key as the service declares it.
    key: KeyView,
    /// The declared prediction columns by name; a list of them for a service that ranks.
    predictions: Predictions,
    /// The publication that says so.
    #[schema(example = 42)]
    generation: i64,
    /// The immutable version of the bundle that made it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// When it was predicted.
    predicted_at: DateTime<Utc>,
    /// The newest modification of the data that was read, where the warehouse tells.
    #[schema(required = true)]
    watermark: Option<DateTime<Utc>>,
    /// Seconds since `predicted_at`.
    #[schema(example = 5040)]
    age_seconds: i64,
    /// Whether it is older than the service allows.
    stale: bool,
    /// The columns that are sensitive and therefore `null` here: the caller lacks the scope `sensitive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<Vec<String>>,
}

/// A service that could not answer now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedService {
    /// Which service.
    #[schema(example = "clv")]
    service: String,
    /// The code of the problem that a look-up of this service alone would be answered with.
    #[schema(example = "unavailable")]
    code: String,
    /// What is the matter.
    #[schema(example = "the database cannot be asked now; try again")]
    detail: String,
}

/// A service that says nothing about the customer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MissingService {
    /// Which service.
    #[schema(example = "churn")]
    service: String,
    /// Why.
    reason: MissingReason,
}

/// Why a service says nothing about a customer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MissingReason {
    /// It has no prediction for the key.
    UnknownKey,
    /// Its keys are of another type.
    KeyType,
    /// It has not published predictions yet.
    NotPublished,
}

/// Whose services, and which.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProfileQuery {
    /// The team. The caller's own unless given; who may see several has to say which.
    tenant: Option<String>,
    /// Only these services, separated by commas; all that have published unless given.
    services: Option<String>,
    /// Whether to list the services that say nothing about the customer.
    #[param(example = true)]
    missing: Option<bool>,
}

/// Get a customer's profile
///
/// Every attribute of a customer, over all services that the caller may read: what each predicts, by which
/// release and how long ago. Services that do not know the customer, or whose keys are of another type, are
/// left out. One that cannot answer now is listed in `failed`, and the answer then has no `ETag`. The publications
/// of different services are independent: each attribute has an age of its own.
#[utoipa::path(get, path = "/v1/profiles/{key}", operation_id = "getProfile", tag = "profiles",
    params(
        ("key" = String, Path, description = "Whom to look up, percent-encoded where it needs to be.", example = "17"),
        ProfileQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the answer that the caller has."),
    ),
    responses(
        (status = 200, description = "What the services say", body = Profile, headers(
            ("etag" = String, description = "Names the customer and the generations."),
            ("cache-control" = String, description = "How long the answer may be reused."))),
        (status = 304, description = "The caller has it already", headers(
            ("etag" = String, description = "As before."),
            ("cache-control" = String, description = "How long the answer may be reused."))),
        (status = 404, description = "No such tenant or service, or no service knows the customer (`unknown_key`)", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::UnknownKey)))))]
pub(crate) async fn get_profile(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    headers: HeaderMap,
    QueryParams(query): QueryParams<ProfileQuery>,
) -> Result<Response, Problem> {
    let asked = path.text("key");
    let customer = CustomerKey::text(asked);
    if customer.is_impossible() {
        app.metrics.lookups_invalid.inc();
        return Err(Problem::new(
            Code::InvalidKey,
            "expected a key of 1 to 512 bytes without zero bytes",
        ));
    }
    let tenant = tenant_of(&caller, query.tenant.as_deref())?;
    let sources = sources(&app, &caller, &tenant, query.services.as_deref()).await?;
    let now = Utc::now();
    let tag = |published: &mut dyn Iterator<Item = &cameo_serving::Current>| {
        let chosen = (tenant.as_str(), asked, query.services.as_deref(), query.missing);
        freshness::profile_tag(published, &chosen, now)
    };
    // The tag names the generations, so the caller had this very answer: no query is needed.
    let known = tag(&mut sources.published.iter().map(AsRef::as_ref));
    let reusable = !sources.published.iter().any(|current| current.is_sensitive);
    if reusable && freshness::is_known(&headers, known.as_ref()) {
        return Ok(with_tag(StatusCode::NOT_MODIFIED.into_response(), known));
    }
    let mut answers = app.predictions.profile(sources.published, &customer).await;
    let withheld = shown(&app, &caller, &mut answers).await?;
    let whole = answers.iter().all(|answers| answers.said.is_ok());
    let mut body = Vec::with_capacity(SERVICE_BYTES_GUESS * (answers.len() + 1));
    body.extend_from_slice(b"{\"tenant\":");
    write_json(&mut body, &tenant)?;
    body.extend_from_slice(b",\"key\":");
    write_json(&mut body, &asked)?;
    let lists_missing = query.missing.unwrap_or_default();
    let writer =
        Writer { app: &app, unpublished: &sources.unpublished, lists_missing, withheld, now };
    let found = writer.write(&mut body, &answers, 0)?;
    body.push(b'}');
    if found == 0 {
        return Err(nothing_said(&tenant, asked, answers));
    }
    let mut response = answer(body);
    if !reusable {
        sensitive::not_to_be_kept(response.headers_mut());
        return Ok(response);
    }
    if !whole {
        return Ok(response);
    }
    // A service may have published since.
    let tag = tag(&mut answers.iter().map(|answers| answers.current.as_ref()));
    Ok(with_tag(response, tag))
}

/// Customers to look up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfilesRequest {
    /// Up to 100 keys: integers, or texts.
    #[schema(min_items = 1, max_items = 100, example = json!([17, "18"]))]
    keys: Vec<KeyView>,
}

/// The profiles of several customers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfilesResult {
    /// Whose services were asked.
    #[schema(example = "marketing")]
    tenant: String,
    /// One profile for each key, in the order asked; without services where none knows the customer.
    profiles: Vec<CustomerProfile>,
}

/// The profile of one of several customers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerProfile {
    /// The key as asked.
    key: KeyView,
    /// What each service says that has predictions for the customer, by the services' names.
    services: Vec<ServiceAttributes>,
    /// Services that could not answer now; the others are complete without them. Ask again for these.
    failed: Vec<FailedService>,
    /// Services that say nothing about the customer; given where `missing=true` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<MissingService>>,
}

/// Get the profiles of up to 100 customers
///
/// As for one customer, in the order of the keys; a customer whom no service knows has a profile without services.
/// Each service answers from one generation for all customers.
#[utoipa::path(post, path = "/v1/profiles:batchGet", operation_id = "batchGetProfiles", tag = "profiles",
    params(ProfileQuery),
    request_body(content = ProfilesRequest, example = json!({"keys": [17, "18"]})),
    responses(
        (status = 200, description = "A profile for each key", body = ProfilesResult),
        (status = 404, description = "No such tenant or service", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotFound)))))]
pub(crate) async fn batch_get_profiles(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    QueryParams(query): QueryParams<ProfileQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let tenant = tenant_of(&caller, query.tenant.as_deref())?;
    let _place = app.batches.acquire().await.map_err(|_| Problem::internal())?;
    let body = JsonBytes::from_request(request, &app).await?;
    let asked: ProfilesRequest = body.read()?;
    let customers = customers(&asked.keys)?;
    let sources = sources(&app, &caller, &tenant, query.services.as_deref()).await?;
    let mut answers = app.predictions.profiles(sources.published, &customers).await;
    let withheld = shown(&app, &caller, &mut answers).await?;
    let bytes = SERVICE_BYTES_GUESS * answers.len() * customers.len();
    let mut body = Vec::with_capacity(bytes.max(SERVICE_BYTES_GUESS));
    body.extend_from_slice(b"{\"tenant\":");
    write_json(&mut body, &tenant)?;
    body.extend_from_slice(b",\"profiles\":[");
    let (lists_missing, now) = (query.missing.unwrap_or_default(), Utc::now());
    let writer =
        Writer { app: &app, unpublished: &sources.unpublished, lists_missing, withheld, now };
    for (at, key) in asked.keys.iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"{\"key\":" } else { b",{\"key\":" });
        write_json(&mut body, key)?;
        writer.write(&mut body, &answers, at)?;
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    Ok(answer(body))
}

/// Opens what is sensitive where the caller may see it, and takes it out elsewhere; gives the member
/// `withheld` of each service.
async fn shown(
    app: &App,
    caller: &Caller,
    answers: &mut [ServiceAnswers],
) -> Result<Vec<Bytes>, Problem> {
    let mut withheld = Vec::with_capacity(answers.len());
    for ServiceAnswers { current, said } in answers {
        let mut found: Vec<(&Key, &mut Rows)> = Vec::new();
        for said in said.iter_mut().flatten() {
            if let Said::Found { key, rows } = said {
                found.push((key, rows));
            }
        }
        withheld.push(sensitive::show(app, caller, current, found).await?);
    }
    Ok(withheld)
}

/// The tenant whose services are asked. One that the caller may not see is answered like one that does not exist.
fn tenant_of(caller: &Caller, named: Option<&str>) -> Result<TenantName, Problem> {
    let tenant: TenantName = match (named, caller.confined_to()) {
        (Some(named), _) => named.parse().map_err(|_| Problem::not_found())?,
        (None, Some(own)) => own.clone(),
        (None, None) => {
            let detail = "you may see several tenants: say which with `?tenant=`";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    };
    let grant = caller.grant(tenant.as_str());
    if !passes(Check::TenantOfProfile, grant.is_some()) {
        return Err(Problem::not_found());
    }
    // The router knows no tenant of this route, so it has asked for the scope with any.
    match grant.map(|grant| grant.scopes).filter(|scopes| !scopes.allow(Scope::Read)) {
        Some(scopes) => Err(lacks(caller, Scope::Read, scopes)),
        None => Ok(tenant),
    }
}

async fn sources(
    app: &App,
    caller: &Caller,
    tenant: &TenantName,
    named: Option<&str>,
) -> Result<Sources, Problem> {
    let named = named.map(|named| {
        let mut services = named
            .split(',')
            .map(|name| name.trim().parse::<ServiceName>().map_err(|_| Problem::not_found()))
            .collect::<Result<Vec<_>, _>>()?;
        services.sort_unstable();
        services.dedup();
        Ok::<_, Problem>(services)
    });
    let named = named.transpose()?;
    let may_read = |path: &ServicePath| {
        let sees = caller.may_see(path.tenant.as_str(), path.service.as_str());
        passes(Check::ServicesOfProfile, sees)
    };
    Ok(app.predictions.sources(tenant, named.as_deref(), may_read).await?)
}

fn customers(keys: &[KeyView]) -> Result<Vec<CustomerKey>, Problem> {
    if keys.is_empty() || keys.len() > CUSTOMERS_MAX {
        return Err(Problem::new(
            Code::InvalidBody,
            format!("expected 1 to {CUSTOMERS_MAX} keys, found {}; ask in parts", keys.len()),
        ));
    }
    // A text that can be no key is one that nobody knows, like any other.
    let customers = keys.iter().map(|key| match key {
        KeyView::Int(key) => CustomerKey::int(*key),
        KeyView::Text(key) => CustomerKey::text(key),
    });
    Ok(customers.collect())
}

/// Why there is no profile: the services know nobody with this key, or cannot say.
fn nothing_said(tenant: &TenantName, key: &str, answers: Vec<ServiceAnswers>) -> Problem {
    let asked = answers.len();
    let failed = answers.into_iter().find_map(|answers| answers.said.err());
    if let Some(error) = failed {
        return error.into();
    }
    let detail = match asked {
        0 => format!("no service of {tenant} that this API key may see has published predictions"),
        _ => format!("none of the {asked} services of {tenant} that were asked knows key `{key}`"),
    };
    Problem::new(Code::UnknownKey, detail)
}

/// Writes what the services say about one customer after the other.
struct Writer<'a> {
    app: &'a App,
    unpublished: &'a [ServiceName],
    lists_missing: bool,
    /// The member `withheld` of each service that was asked.
    withheld: Vec<Bytes>,
    now: DateTime<Utc>,
}

impl Writer<'_> {
    /// Writes the members from `services` on for the customer at a place of the list; gives how many services
    /// have predictions.
    fn write(
        &self,
        body: &mut Vec<u8>,
        answers: &[ServiceAnswers],
        customer: usize,
    ) -> Result<usize, Problem> {
        let (mut found, mut failed, mut missing) = (0, Vec::new(), Vec::new());
        body.extend_from_slice(b",\"services\":[");
        for (ServiceAnswers { current, said }, withheld) in answers.iter().zip(&self.withheld) {
            let service = &current.served.path.service;
            match said.as_ref().map(|said| said.get(customer)) {
                Ok(Some(Said::Found { key, rows })) => {
                    body.extend_from_slice(if found == 0 {
                        b"{\"service\":"
                    } else {
                        b",{\"service\":"
                    });
                    write_json(body, service)?;
                    body.extend_from_slice(b",\"key\":");
                    write_json(body, key)?;
                    body.extend_from_slice(b",\"predictions\":");
                    rows.write(body, current);
                    body.push(b',');
                    let now = current.repeated(self.now);
                    body.extend_from_slice(&now.members);
                    body.extend_from_slice(withheld);
                    body.push(b'}');
                    self.app.metrics.lookups_found.inc();
                    if now.freshness.stale {
                        self.app.metrics.served_stale.inc();
                    }
                    found += 1;
                }
                Ok(Some(Said::Missing(why))) => {
                    self.app.metrics.lookups_missing.inc();
                    missing.push(MissingService::new(service, (*why).into()));
                }
                Ok(None) => missing.push(MissingService::new(service, MissingReason::UnknownKey)),
                Err(error) => failed.push(FailedService::new(service, error)),
            }
        }
        body.extend_from_slice(b"],\"failed\":");
        write_json(body, &failed)?;
        if self.lists_missing {
            let unpublished = self.unpublished.iter();
            missing.extend(
                unpublished
                    .map(|service| MissingService::new(service, MissingReason::NotPublished)),
            );
            body.extend_from_slice(b",\"missing\":");
            write_json(body, &missing)?;
        }
        Ok(found)
    }
}

impl FailedService {
    fn new(service: &ServiceName, error: &LookupError) -> Self {
        let problem = Problem::from(error.clone());
        Self {
            service: service.to_string(),
            code: problem.code.as_str().to_owned(),
            detail: problem.detail.into_owned(),
        }
    }
}

impl MissingService {
    fn new(service: &ServiceName, reason: MissingReason) -> Self {
        Self { service: service.to_string(), reason }
    }
}

impl From<Missing> for MissingReason {
    fn from(why: Missing) -> Self {
        match why {
            Missing::UnknownKey => Self::UnknownKey,
            Missing::KeyType => Self::KeyType,
            Missing::NotPublished => Self::NotPublished,
        }
    }
}

fn with_tag(mut response: Response, tag: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, freshness::CACHE_CONTROL);
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag);
    }
    response
}
