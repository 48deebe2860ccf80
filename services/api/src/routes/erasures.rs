//! Erasing customers.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use cameo_domain::{ErasureId, ServiceName};
use cameo_store::erasures::{
    self, ErasureRecord, ErasureState, KeyType, NewErasure, Requested, StepRecord,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    acting::Acting,
    app::App,
    extract::{JsonBytes, PathParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// A customer's key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum KeyOfCustomer {
    /// As the key of services that declare it `INT`, and as text where such services exist.
    #[schema(example = 17)]
    Int(i64),
    /// As it is written.
    #[schema(example = "c-17")]
    Text(String),
}

impl KeyOfCustomer {
    pub(super) fn text(self) -> String {
        match self {
            Self::Int(key) => key.to_string(),
            Self::Text(key) => key,
        }
    }
}

/// As what a key is meant.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum MeantAs {
    /// The key of services that declare it `INT`.
    Int,
    /// The key of services that declare it `STRING`.
    String,
}

pub(super) fn key_type(meant: Option<MeantAs>) -> KeyType {
    match meant {
        None => KeyType::Any,
        Some(MeantAs::Int) => KeyType::Int,
        Some(MeantAs::String) => KeyType::String,
    }
}

/// Whom to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasureRequest {
    /// The customer's key, as a number or a text.
    key: KeyOfCustomer,
    /// As what it is meant; as whatever it can be unless given.
    key_type: Option<MeantAs>,
    /// From which services; from all, and from those to come, unless given.
    #[schema(value_type = Option<Vec<String>>, example = json!(null))]
    services: Option<Vec<ServiceName>>,
    /// Why, for the audit trail. Nothing that tells who the customer is belongs here.
    #[schema(example = "request 4711")]
    reason: Option<String>,
}

/// A request to erase a customer. The key is nowhere in it.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Erasure {
    /// Its number.
    #[schema(example = 12)]
    erasure: i64,
    /// `erasing`: nothing of the customer is served any more, and old generations and copies are being gone
    /// through; `done`: every place was searched again and nothing was found.
    #[schema(value_type = String, example = "done")]
    state: ErasureState,
    /// HMAC-SHA-256 of the key as an integer under the tenant's salt; `null` where it cannot be one.
    #[schema(required = true)]
    fingerprint_int: Option<String>,
    /// HMAC-SHA-256 of the key as a text; `null` where it was not meant as one.
    #[schema(required = true)]
    fingerprint_string: Option<String>,
    /// From which services; `null`: from all.
    #[schema(required = true, example = json!(null))]
    services: Option<Vec<String>>,
    /// What the request says of itself.
    #[schema(required = true, example = "request 4711")]
    reason: Option<String>,
    /// Who asked.
    #[schema(example = "key:3f9a21bc")]
    actor: String,
    /// When; from then on nothing of the customer is served.
    requested_at: DateTime<Utc>,
    /// When the last place was found empty.
    #[schema(required = true)]
    finished_at: Option<DateTime<Utc>>,
    /// How many places are known so far.
    #[schema(example = 9)]
    places: u64,
    /// How many of them are done.
    #[schema(example = 9)]
    places_done: u64,
    /// How many rows were removed so far, in all places together.
    #[schema(example = 4)]
    rows_removed: u64,
}

/// What was done in one place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasedPlace {
    /// `run` (waited for, because it may have read the customer before), `table`, `quarantine`, `mirror`,
    /// `snapshot` or `segment`.
    #[schema(example = "table")]
    place: String,
    /// Of which service; `null` where the place is of none.
    #[schema(required = true, example = "gender")]
    service: Option<String>,
    /// The run, the generation or the materialisation; `null` of a place that there is once.
    #[schema(required = true, example = 42)]
    subject: Option<i64>,
    /// `pending`; `removed`: nothing is in sight, its bytes may still be there; `done`.
    #[schema(example = "done")]
    state: String,
    /// How many rows were removed.
    #[schema(example = 1)]
    rows_removed: u64,
    /// What the place held before, where rows were removed.
    #[schema(required = true)]
    before: Option<Digest>,
    /// What it holds since then, computed from what is stored.
    #[schema(required = true)]
    after: Option<Digest>,
    /// How many rows the search at the end found: none, or the erasure is not done.
    #[schema(required = true, example = 0)]
    rows_found_again: Option<u64>,
    /// When the place was done.
    #[schema(required = true)]
    finished_at: Option<DateTime<Utc>>,
}

/// Count and checksum of rows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Digest {
    /// How many rows.
    #[schema(example = 999_989)]
    rows: u64,
    /// Over all rows, 16 hexadecimal digits.
    #[schema(example = "00c0ffee00c0ffee")]
    checksum: String,
}

/// An erasure with every place that it went through: the proof, once it is done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasureProof {
    #[serde(flatten)]
    erasure: Erasure,
    /// Every place, in an order of its own.
    steps: Vec<ErasedPlace>,
}

/// The erasures of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasureList {
    /// The latest 200, newest first.
    erasures: Vec<Erasure>,
}

/// Erase a customer
///
/// With the answer nothing of the customer is served any more. Old generations, quarantine and the copies in
/// the warehouse are gone through within minutes; ask for the erasure to see how far it is and, once it is
/// done, what was removed where. Runs leave the customer out from now on, although the source may still have
/// them. Asking again while it goes on gives the same erasure.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/erasures", operation_id = "eraseCustomer", tag = "erasures",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    request_body(content = ErasureRequest, example = json!({"key": 17, "reason": "request 4711"})),
    responses(
        (status = 202, description = "Erased from what is served; the rest follows", body = Erasure,
            headers(("location" = String, description = "Where the erasure is."))),
        (status = 200, description = "Being erased already", body = Erasure),
        (status = 400, description = "The key is not of the type that it is meant as", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidKey)))))]
pub(crate) async fn erase_customer(
    State(app): State<App>,
    acting: Acting,
    path: PathParams,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let tenant = path.tenant()?;
    let ErasureRequest { key, key_type: meant, services, reason } = body.read()?;
    if let Some(reason) = &reason {
        check_reason(reason)?;
    }
    if services.as_ref().is_some_and(Vec::is_empty) {
        let detail = "expected at least one service in `services`; leave it out to mean all";
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let new = NewErasure { key: key.text(), key_type: key_type(meant), services, reason };
    let Acting { store, by } = acting;
    let (status, record) = match erasures::request(&store, &tenant, &new, &by).await? {
        Requested::Created(record) => (StatusCode::ACCEPTED, record),
        Requested::Existing(record) => (StatusCode::OK, record),
    };
    // The hint brings the news to every process; whoever asks this one next need not wait for it.
    app.predictions.refresh().await?;
    let location = format!("/v1/tenants/{tenant}/erasures/{}", record.erasure);
    Ok((status, [(header::LOCATION, location)], Json(Erasure::from(record))).into_response())
}

/// List a tenant's erasures
///
/// Newest first, with how far each is. Customers are named by fingerprints; keys are nowhere in the answer.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/erasures", operation_id = "listErasures", tag = "erasures",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The erasures", body = ErasureList)))]
pub(crate) async fn list_erasures(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<ErasureList>, Problem> {
    let records = erasures::list(&app.store, &path.tenant()?).await?;
    Ok(Json(ErasureList { erasures: records.into_iter().map(Erasure::from).collect() }))
}

/// Get an erasure
///
/// How far it is, place by place; once it is done, the proof: what was searched, how many rows were removed,
/// count and checksum before and after, and that a last search found nothing.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/erasures/{erasure}", operation_id = "getErasure", tag = "erasures",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("erasure" = i64, Path, description = "The erasure's number.", example = 12),
    ),
    responses((status = 200, description = "The erasure", body = ErasureProof)))]
pub(crate) async fn get_erasure(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<ErasureProof>, Problem> {
    let number = ErasureId(path.number("erasure")?);
    let found = erasures::find(&app.store, &path.tenant()?, number).await?;
    let (record, steps) = found.ok_or_else(Problem::not_found)?;
    let steps = steps.into_iter().map(ErasedPlace::from).collect();
    Ok(Json(ErasureProof { erasure: record.into(), steps }))
}

pub(super) fn check_reason(reason: &str) -> Result<(), Problem> {
    let is_sane = !reason.trim().is_empty()
        && reason.len() <= REASON_BYTES_MAX
        && !reason.chars().any(char::is_control);
    if is_sane {
        return Ok(());
    }
    Err(Problem::new(
        Code::InvalidBody,
        format!(
            "expected a `reason` of 1 to {REASON_BYTES_MAX} bytes without control characters, found {} bytes",
            reason.len()
        ),
    ))
}

impl From<ErasureRecord> for Erasure {
    fn from(record: ErasureRecord) -> Self {
        Self {
            erasure: record.erasure.0,
            state: record.state,
            fingerprint_int: record.fingerprint_int.map(|hash| hash.to_string()),
            fingerprint_string: record.fingerprint_string.map(|hash| hash.to_string()),
            services: record.services.map(|names| names.into_iter().map(String::from).collect()),
            reason: record.reason,
            actor: record.actor,
            requested_at: record.requested_at,
            finished_at: record.finished_at,
            places: record.places,
            places_done: record.places_done,
            rows_removed: record.rows_removed,
        }
    }
}

impl Digest {
    fn new(rows: u64, checksum: u64) -> Self {
        Self { rows, checksum: format!("{checksum:016x}") }
    }
}

impl From<StepRecord> for ErasedPlace {
    fn from(step: StepRecord) -> Self {
        Self {
            place: step.place,
            service: step.service.map(String::from),
            subject: step.subject,
            state: step.state,
            rows_removed: step.rows_removed,
            before: step.before.map(|before| Digest::new(before.rows, before.checksum)),
            after: step.after.map(|after| Digest::new(after.rows, after.checksum)),
            rows_found_again: step.rows_found_again,
            finished_at: step.finished_at,
        }
    }
}
