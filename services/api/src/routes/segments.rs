//! Segments: the customers for whom a condition over predictions holds.
//!
//! They are about the services of a tenant together, so they are closed to callers who may see some of
//! these alone.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use cameo_domain::{SegmentName, TenantName};
use cameo_segment::{Catalog, Definition, DefinitionError, Draft, Read, Share};
use cameo_serving::segments::CountError;
use cameo_store::{
    segments::{self, Materialisation, NewSegment, SegmentRecord},
    services,
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

/// The name that routes give a segment in their templates.
const SEGMENT: &str = "segment";

/// What a segment shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentDraft {
    /// SQL over `service.column`: comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS, arithmetic, COALESCE, LOWER,
    /// UPPER, CAST. Whom it makes NULL is no member.
    #[schema(
        example = "gender.female_percentile >= 0.8 AND clv.tier = 'High' AND NOT churn.churned"
    )]
    condition: String,
    /// What it is, in words, up to 2,000 bytes.
    #[serde(default)]
    #[schema(example = "Women of high value who are still with us")]
    description: String,
    /// Columns that members are handed on with, as `service.column`; up to 64.
    #[serde(default)]
    #[schema(example = json!(["clv.tier"]))]
    attributes: Vec<String>,
    /// Only customers in this share are members.
    sample: Option<ShareView>,
    /// Customers in this share are no members.
    hold_out: Option<ShareView>,
}

/// A share of all customers: the same ones whenever it is asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareView {
    /// How much, from 0.01 to 100 in steps of 0.01.
    #[schema(example = 10.0)]
    percent: f64,
    /// What chooses: shares with different salts are independent of one another.
    #[schema(example = "spring_2026")]
    salt: String,
}

/// A segment.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Segment {
    /// Its name.
    #[schema(example = "loyal_women")]
    segment: String,
    /// How often it was defined, from 1.
    #[schema(example = 2)]
    version: u32,
    /// The service whose bundle defines it; `null` where the API does.
    #[schema(required = true, example = json!(null))]
    defined_by: Option<String>,
    /// The condition, with every name written out.
    #[schema(example = "clv.tier = 'High' AND NOT churn.churned")]
    condition: String,
    /// What it is, in words.
    #[schema(example = "Women of high value who are still with us")]
    description: String,
    /// Columns that members are handed on with.
    #[schema(example = json!(["clv.tier"]))]
    attributes: Vec<String>,
    /// Only customers in this share are members.
    #[schema(required = true)]
    sample: Option<ShareView>,
    /// Customers in this share are no members.
    #[schema(required = true)]
    hold_out: Option<ShareView>,
    /// The services that it names.
    #[schema(example = json!(["churn", "clv"]))]
    services: Vec<String>,
    /// Who defined this version.
    #[schema(example = "key:1a2b3c4d")]
    changed_by: String,
    /// When.
    changed_at: DateTime<Utc>,
    /// Why its members could not be made from what the services show now; the last ones stay.
    #[schema(required = true, example = json!(null))]
    reason: Option<String>,
    /// Its members as they were made last; `null` until then.
    #[schema(required = true)]
    latest: Option<MaterialisationView>,
}

/// Who was a member at one time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MaterialisationView {
    /// Its number within the segment, from 1.
    #[schema(example = 17)]
    number: u32,
    /// By which version of the definition.
    #[schema(example = 2)]
    version: u32,
    /// The oldest time of prediction among the generations.
    as_of: DateTime<Utc>,
    /// Seconds since then.
    #[schema(example = 5040)]
    age_seconds: i64,
    /// From what it was made: service and generation.
    #[schema(value_type = BTreeMap<String, i64>, example = json!({"churn": 41, "clv": 42}))]
    generations: BTreeMap<String, i64>,
    /// How many members there were.
    #[schema(example = 81_204)]
    members: u64,
    /// Of how many customers.
    #[schema(example = 1_000_000)]
    profiles: u64,
    /// Size of the file of members.
    #[schema(example = 1_310_720)]
    bytes: u64,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Whether its members can still be read.
    readable: bool,
}

/// The segments of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentList {
    /// By name; 1,000 at most.
    segments: Vec<Segment>,
}

/// A segment with what was made of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentDetail {
    /// What it is.
    #[serde(flatten)]
    segment: Segment,
    /// Newest first; 200 at most.
    materialisations: Vec<MaterialisationView>,
}

/// List a tenant's segments
///
/// By name, each with its condition and its members as they were made last.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/segments", operation_id = "listSegments", tag = "segments",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The segments", body = SegmentList)))]
pub(crate) async fn list_segments(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<SegmentList>, Problem> {
    let tenant = path.tenant()?;
    let records = segments::list(&app.store, &tenant).await?;
    let mut latest = segments::latest(&app.store, &tenant).await?;
    let now = Utc::now();
    let views = records.into_iter().map(|record| {
        let latest = latest.remove(&record.segment);
        view(record, latest.as_ref(), now)
    });
    Ok(Json(SegmentList { segments: views.collect() }))
}

/// Get a segment
///
/// Its condition, what hands members on, and what was made of it: who was a member when, of how many.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/segments/{segment}", operation_id = "getSegment", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("segment" = String, Path, description = "The team's segment.", example = "loyal_women"),
    ),
    responses((status = 200, description = "The segment", body = SegmentDetail)))]
pub(crate) async fn get_segment(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<SegmentDetail>, Problem> {
    let (tenant, segment) = (path.tenant()?, named(&path)?);
    detail(&app, &tenant, &segment).await.map(Json)
}

/// Define a segment
///
/// Makes it, or gives it another version; earlier versions stay in the audit trail. Its members are made
/// soon after, and again whenever one of its services publishes.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/segments/{segment}", operation_id = "defineSegment", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("segment" = String, Path, description = "A lower-case letter, then up to 39 lower-case letters, digits or underscores.", example = "loyal_women"),
    ),
    request_body(content = SegmentDraft, example = json!({
        "condition": "gender.female_percentile >= 0.8 AND NOT churn.churned", "attributes": ["clv.tier"]})),
    responses(
        (status = 200, description = "The segment as it is defined now", body = SegmentDetail),
        (status = 409, description = "A bundle defines it", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::SegmentDefinedElsewhere))),
        (status = 422, description = "The definition does not fit what the services predict", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidSegment))),
    ))]
pub(crate) async fn define_segment(
    State(app): State<App>,
    path: PathParams,
    acting: Acting,
    body: JsonBytes,
) -> Result<Json<SegmentDetail>, Problem> {
    let tenant = path.tenant()?;
    let segment: SegmentName =
        path.text(SEGMENT).parse().map_err(|error: cameo_domain::NameError| {
            Problem::new(Code::InvalidRequest, error.to_string())
        })?;
    let Read { definition, condition } = read(&app, &tenant, body.read()?).await?;
    let services = definition.services(&condition);
    let new = NewSegment { segment: segment.clone(), definition, services };
    segments::define(&acting.store, &tenant, &new, &acting.by).await?;
    detail(&app, &tenant, &segment).await.map(Json)
}

/// Whom a condition chooses from what the services show now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentCount {
    /// The condition, with every name written out.
    #[schema(example = "clv.tier = 'High' AND NOT churn.churned")]
    condition: String,
    /// How many customers it chooses.
    #[schema(example = 81_204)]
    members: u64,
    /// How many customers its services know.
    #[schema(example = 1_000_000)]
    profiles: u64,
    /// The oldest time of prediction among the generations.
    as_of: DateTime<Utc>,
    /// What was counted: service and generation.
    #[schema(value_type = BTreeMap<String, i64>, example = json!({"churn": 41, "clv": 42}))]
    generations: BTreeMap<String, i64>,
}

/// Count a segment while it is edited
///
/// Counts from what the services show now; nothing is kept.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/segments:count", operation_id = "countSegment", tag = "segments",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    request_body(content = SegmentDraft, example = json!({
        "condition": "gender.female_percentile >= 0.8 AND clv.tier = 'High'"
    })),
    responses(
        (status = 200, description = "How many customers it chooses", body = SegmentCount),
        (status = 422, description = "The definition does not fit what the services predict", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidSegment))),
        (status = 503, description = "The predictions of a service are not at hand yet", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::Unavailable))),
    ))]
pub(crate) async fn count_segment(
    State(app): State<App>,
    path: PathParams,
    body: JsonBytes,
) -> Result<Json<SegmentCount>, Problem> {
    let tenant = path.tenant()?;
    let draft = drafted(body.read()?)?;
    // It takes all cores for a moment, as large batches do.
    let _place = app.batches.acquire().await.map_err(|_| Problem::internal())?;
    let counted = app.predictions.count(&tenant, &draft).await.map_err(not_counted)?;
    let generations = counted.generations.iter();
    Ok(Json(SegmentCount {
        condition: counted.condition,
        members: counted.count.members,
        profiles: counted.count.profiles,
        as_of: counted.as_of,
        generations: generations.map(|(service, id)| (service.to_string(), id.0)).collect(),
    }))
}

fn not_counted(error: CountError) -> Problem {
    match error {
        CountError::Definition(error) => refused(error),
        CountError::NoSnapshot(_) => Problem::new(Code::Unavailable, error.to_string()),
        CountError::Lookup(error) => error.into(),
        error => {
            tracing::error!(error = &error as &dyn std::error::Error, "could not count a segment");
            Problem::internal()
        }
    }
}

/// Remove a segment
///
/// Its versions stay in the audit trail.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/segments/{segment}", operation_id = "removeSegment", tag = "segments",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("segment" = String, Path, description = "The team's segment.", example = "loyal_women"),
    ),
    responses(
        (status = 204, description = "It was removed"),
        (status = 409, description = "A bundle defines it", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::SegmentDefinedElsewhere))),
    ))]
pub(crate) async fn remove_segment(
    path: PathParams,
    acting: Acting,
) -> Result<StatusCode, Problem> {
    let (tenant, segment) = (path.tenant()?, named(&path)?);
    let removed = segments::remove(&acting.store, &tenant, &segment, &acting.by).await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

/// The segment that the path names; a text that is no name names none.
fn named(path: &PathParams) -> Result<SegmentName, Problem> {
    path.text(SEGMENT).parse().map_err(|_| Problem::not_found())
}

async fn detail(
    app: &App,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<SegmentDetail, Problem> {
    let record = segments::find(&app.store, tenant, segment).await?;
    let record = record.ok_or_else(Problem::not_found)?;
    let made = segments::materialisations(&app.store, tenant, segment).await?;
    let now = Utc::now();
    let materialisations = made.iter().map(|one| materialisation(one, now)).collect();
    Ok(SegmentDetail { segment: view(record, made.first(), now), materialisations })
}

/// Reads a draft against what the tenant's services predict.
async fn read(app: &App, tenant: &TenantName, draft: SegmentDraft) -> Result<Read, Problem> {
    let services = services::list(&app.store, Some(tenant)).await?.into_iter();
    let catalog =
        Catalog::new(services.map(|record| (record.path.service, record.schema)).collect());
    drafted(draft)?.read(&catalog).map_err(refused)
}

fn drafted(draft: SegmentDraft) -> Result<Draft, Problem> {
    Ok(Draft {
        condition: draft.condition,
        description: draft.description,
        attributes: draft.attributes,
        sample: draft.sample.map(share).transpose()?,
        hold_out: draft.hold_out.map(share).transpose()?,
    })
}

fn share(view: ShareView) -> Result<Share, Problem> {
    let ShareView { percent, salt } = view;
    Share::new(percent, &salt)
        .map_err(|error| Problem::new(Code::InvalidSegment, error.to_string()))
}

fn refused(error: DefinitionError) -> Problem {
    let problem = Problem::new(Code::InvalidSegment, error.to_string());
    match error {
        DefinitionError::Condition(error) => problem.at(error.line, error.column),
        _ => problem,
    }
}

fn view(record: SegmentRecord, latest: Option<&Materialisation>, now: DateTime<Utc>) -> Segment {
    let Definition { condition, description, attributes, sample, hold_out } = record.definition;
    let share =
        |share: Share| ShareView { percent: share.percent(), salt: share.salt().to_owned() };
    Segment {
        segment: record.segment.to_string(),
        version: record.version,
        defined_by: record.service.map(String::from),
        condition,
        description,
        attributes: attributes.iter().map(ToString::to_string).collect(),
        sample: sample.map(share),
        hold_out: hold_out.map(share),
        services: record.services.into_iter().map(String::from).collect(),
        changed_by: record.changed_by,
        changed_at: record.changed_at,
        reason: record.reason,
        latest: latest.map(|latest| materialisation(latest, now)),
    }
}

fn materialisation(one: &Materialisation, now: DateTime<Utc>) -> MaterialisationView {
    let generations = one.generations.iter();
    MaterialisationView {
        number: one.number,
        version: one.version,
        as_of: one.as_of,
        age_seconds: (now - one.as_of).num_seconds().max(0),
        generations: generations.map(|(service, id)| (service.to_string(), id.0)).collect(),
        members: one.members,
        profiles: one.profiles,
        bytes: one.bytes,
        created_at: one.created_at,
        readable: one.dropped_at.is_none(),
    }
}
