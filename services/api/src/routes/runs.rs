//! The executions that make predictions.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use cameo_access::Caller;
use cameo_checkpoint::{Check, passes};
use cameo_domain::{RunId, RunState, ServiceName};
use cameo_store::runs::{self, Progress, RunFilter, RunPurpose, RunRecord, RunTrigger};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    acting::Acting,
    app::App,
    authorise::visible,
    extract::{PathParams, QueryParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Most runs of a page.
const PAGE_ROWS_MAX: u32 = 200;
/// Runs of a page, unless the caller says otherwise.
const PAGE_ROWS: u32 = 50;
/// What a cursor starts with; the rest is the last run of the page before.
const CURSOR_PREFIX: &str = "run-";
/// Longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Names a request, so that repeating it changes nothing.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One execution of a release for one due instant.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Run {
    /// Its number.
    #[schema(example = 1201)]
    run: i64,
    /// Whose it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Of which service.
    #[schema(example = "gender")]
    service: String,
    /// What it executes.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// `publish`, or `shadow` beside production: complete, compared, never served.
    #[schema(value_type = String, example = "publish")]
    purpose: RunPurpose,
    /// For which instant.
    due_at: DateTime<Utc>,
    /// `schedule` or `manual`.
    #[schema(value_type = String, example = "schedule")]
    trigger: RunTrigger,
    /// Who asked for it, where somebody did.
    #[schema(required = true)]
    requested_by: Option<String>,
    /// `queued`, `running`, `published`, `superseded`, `shadowed`, `halted`, `failed` or `cancelled`.
    #[schema(value_type = String, example = "published")]
    state: RunState,
    /// Which attempt is the latest, from 1; 0 before the first.
    #[schema(example = 1)]
    attempt: u32,
    /// How many attempts it has.
    #[schema(example = 3)]
    attempts_max: u32,
    /// Why it ended without publishing, or why it was tried again.
    #[schema(required = true)]
    reason: Option<ReasonView>,
    /// How far it is, or what it cost.
    #[schema(required = true, value_type = Option<Object>)]
    progress: Option<Progress>,
    /// Rows that the features query gave; once complete.
    #[schema(required = true, example = 1_000_000)]
    rows_read: Option<u64>,
    /// Rows with predictions; once complete.
    #[schema(required = true, example = 999_990)]
    rows_scored: Option<u64>,
    /// Rows set aside with a reason; once complete.
    #[schema(required = true, example = 10)]
    rows_quarantined: Option<u64>,
    /// Rows of customers who were erased, neither scored nor set aside; once complete.
    #[schema(required = true, example = 0)]
    rows_suppressed: Option<u64>,
    /// What it produced; once complete.
    #[schema(required = true, example = 42)]
    generation: Option<i64>,
    /// When it was asked for.
    created_at: DateTime<Utc>,
    /// When a worker first took it.
    #[schema(required = true)]
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required = true)]
    finished_at: Option<DateTime<Utc>>,
    /// The most memory that the worker's process had during the latest attempt, by samples.
    #[schema(required = true, example = 412_000_000)]
    memory_peak_bytes: Option<u64>,
}

/// Why a run ended as it did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonView {
    /// Stable code.
    #[schema(example = "CAM0301")]
    code: String,
    /// What was expected, what was found, where, what to do next.
    message: String,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunPage {
    /// Newest first.
    runs: Vec<Run>,
    /// Ask for the next page with it; `null` on the last page.
    #[schema(required = true, example = "run-1152")]
    next_cursor: Option<String>,
}

/// Which runs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Only runs in this state.
    #[param(value_type = Option<String>, example = "published")]
    state: Option<RunState>,
    /// Most runs of the page, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^run-[1-9][0-9]{0,17}$", max_length = 22, example = "run-1152")]
    cursor: Option<String>,
}

/// List a tenant's runs
///
/// Newest first. Pages are stable: runs that start meanwhile do not shift them.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/runs", operation_id = "listTenantRuns", tag = "runs",
    params(("tenant" = String, Path, description = "The team.", example = "marketing"), RunQuery),
    responses((status = 200, description = "A page of runs", body = RunPage)))]
pub(crate) async fn list_tenant_runs(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    QueryParams(query): QueryParams<RunQuery>,
) -> Result<Json<RunPage>, Problem> {
    page(&app, &caller, &path, None, query).await
}

/// List a service's runs
///
/// Newest first. Pages are stable: runs that start meanwhile do not shift them.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/runs", operation_id = "listRuns", tag = "runs",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        RunQuery,
    ),
    responses((status = 200, description = "A page of runs", body = RunPage)))]
pub(crate) async fn list_runs(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
    QueryParams(query): QueryParams<RunQuery>,
) -> Result<Json<RunPage>, Problem> {
    let service = super::services::existing(&app, &path).await?;
    page(&app, &caller, &path, Some(service), query).await
}

async fn page(
    app: &App,
    caller: &Caller,
    path: &PathParams,
    service: Option<ServiceName>,
    query: RunQuery,
) -> Result<Json<RunPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_ROWS);
    if !(1..=PAGE_ROWS_MAX).contains(&limit) {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("expected a `limit` of 1 to {PAGE_ROWS_MAX}, found {limit}"),
        ));
    }
    let tenant = path.tenant()?;
    let filter = RunFilter {
        services: visible(caller, &tenant, Check::RunsListed),
        tenant: Some(tenant),
        service,
        state: query.state,
        before: query.cursor.as_deref().map(run_of_cursor).transpose()?,
        limit,
    };
    let records = runs::list(&app.store, &filter).await?;
    // A full page may be the last one; the next is then empty, which costs less than counting.
    let is_full = records.len() == limit as usize;
    let last = records.last().filter(|_| is_full).map(|record| record.run);
    let next_cursor = last.map(|run| format!("{CURSOR_PREFIX}{run}"));
    Ok(Json(RunPage { runs: records.into_iter().map(Run::from).collect(), next_cursor }))
}

fn run_of_cursor(cursor: &str) -> Result<RunId, Problem> {
    let run = cursor.strip_prefix(CURSOR_PREFIX).and_then(|run| run.parse().ok());
    run.map(RunId).ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "expected a `cursor` as an earlier page gave it")
    })
}

/// Get a run
///
/// Where it stands, how far it is, and why it ended where it did not publish.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/runs/{run}", operation_id = "getRun", tag = "runs",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("run" = i64, Path, description = "The run's number.", example = 1201),
    ),
    responses((status = 200, description = "The run", body = Run)))]
pub(crate) async fn get_run(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<Run>, Problem> {
    let (tenant, service) = (path.tenant()?, path.service()?);
    let found = runs::find(&app.store, &tenant, RunId(path.number("run")?)).await?;
    let found = found.filter(|record| passes(Check::ServiceOfRun, record.path.service == service));
    found.map(|record| Json(record.into())).ok_or_else(Problem::not_found)
}

/// Run now
///
/// Asks for a run of the current release. With an `Idempotency-Key`, repeating the request gives the
/// same run and starts no other; without one, each request asks for a run of its own.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/services/{service}/runs", operation_id = "createRun", tag = "runs",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters that name this request."),
    ),
    responses(
        (status = 202, description = "The run waits for a worker, or has begun", body = Run,
            headers(("location" = String, description = "Where the run is."))),
        (status = 409, description = "No release is in production", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NothingInProduction)))))]
pub(crate) async fn create_run(
    acting: Acting,
    path: PathParams,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, service) = (path.tenant()?, path.service()?);
    let key = match headers.get(IDEMPOTENCY_KEY) {
        Some(key) => idempotency_key(key.as_bytes())?.to_owned(),
        None => Uuid::now_v7().to_string(),
    };
    let Acting { store, by } = acting;
    let asked = runs::create_manual(&store, &tenant, &service, &key, Utc::now(), &by.actor);
    let run = Run::from(asked.await?.into_run());
    let location = format!("/v1/tenants/{tenant}/services/{service}/runs/{}", run.run);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(run)).into_response())
}

fn idempotency_key(key: &[u8]) -> Result<&str, Problem> {
    let is_sane = !key.is_empty()
        && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX
        && key.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(key).ok().filter(|_| is_sane).ok_or_else(|| {
        Problem::new(
            Code::InvalidRequest,
            format!(
                "expected an Idempotency-Key of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII \
                 characters, found {} bytes",
                key.len()
            ),
        )
    })
}

impl From<RunRecord> for Run {
    fn from(record: RunRecord) -> Self {
        Self {
            run: record.run.0,
            tenant: record.path.tenant.into(),
            service: record.path.service.into(),
            release: record.release.to_string(),
            purpose: record.purpose,
            due_at: record.due_at,
            trigger: record.trigger,
            requested_by: record.requested_by,
            state: record.state,
            attempt: record.attempt,
            attempts_max: record.attempts_max,
            reason: record
                .reason
                .map(|reason| ReasonView { code: reason.code, message: reason.message }),
            progress: record.progress,
            rows_read: record.counts.map(|counts| counts.rows_read),
            rows_scored: record.counts.map(|counts| counts.rows_scored),
            rows_quarantined: record.counts.map(|counts| counts.rows_quarantined),
            rows_suppressed: record.counts.map(|counts| counts.rows_suppressed),
            generation: record.generation.map(|generation| generation.0),
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
            memory_peak_bytes: record.memory_peak_bytes,
        }
    }
}
