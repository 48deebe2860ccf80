//! The versions of a bundle, and which of them is in production.

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use cameo_domain::{ServicePath, Stage};
use cameo_store::releases::{
    self, HISTORY_ROWS_MAX, LedgerEntry, Move, Moved, Promotion, StagedRelease,
};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use utoipa::{
    IntoParams, ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType, Type},
};

use crate::{
    acting::Acting,
    app::App,
    extract::{OptionalJsonBytes, PathParams, QueryParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// The template under which the router knows the actions on a release; see
/// [`super::generations::ACTION_PATH`].
pub(crate) const ACTION_PATH: &str = "/v1/tenants/{tenant}/services/{service}/releases/{release}";
const PROMOTE: &str = "promote";
const APPROVE: &str = "approve";
/// Entries of a page of the history, unless the caller says otherwise.
const HISTORY_ROWS: u32 = 50;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 2_000;

/// An immutable version of a bundle.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Release {
    /// Its hash.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// `candidate`, `shadow`, `canary`, `production` or `archived`.
    #[schema(value_type = String, example = "production")]
    stage: Stage,
    /// Since when it stands there.
    since: DateTime<Utc>,
    /// The stage that usually comes next; `null` for what is in production.
    #[schema(required = true, value_type = Option<String>, example = json!(null))]
    next_stage: Option<Stage>,
    /// Whether a second person has to approve what goes into production.
    protected: bool,
    /// Who asked for its approval, while nobody has given it.
    #[schema(required = true, example = json!(null))]
    approval_asked_by: Option<String>,
    /// How many comparisons with production in a row have to pass before it may enter production.
    #[schema(example = 3)]
    shadow_runs_min: u32,
    /// How many of its latest comparisons passed, up to the first that did not.
    #[schema(example = 3)]
    comparisons_passed: u64,
    /// The commit that its bundle came from, where it came from a repository.
    #[schema(required = true, example = "8c1f5a0e2d3b4c5f6a7b8c9d0e1f2a3b4c5d6e7f")]
    git_commit: Option<String>,
    /// Who applied it first.
    #[schema(example = "cli:ann")]
    applied_by: String,
    /// When it was applied first.
    applied_at: DateTime<Utc>,
}

/// The releases of a service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseList {
    /// Those in use first, then the latest; 200 at most.
    releases: Vec<Release>,
}

/// List a service's releases
///
/// Those in use first, then the latest, 200 at most: where each stands, and what has to happen before it may go on.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/releases",
    operation_id = "listReleases", tag = "releases",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    responses((status = 200, description = "The releases", body = ReleaseList)))]
pub(crate) async fn list_releases(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<ReleaseList>, Problem> {
    let service = super::services::existing(&app, &path).await?;
    let records = releases::list(&app.store, &path.tenant()?, &service).await?;
    Ok(Json(ReleaseList { releases: records.into_iter().map(Release::from).collect() }))
}

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// How things stood at this instant, and what had happened until then.
    #[param(example = "2026-03-01T00:00:00Z")]
    at: Option<DateTime<Utc>>,
    /// Only what happened before this instant: the `next_before` of the page before.
    #[param(example = "2026-03-01T00:00:00Z")]
    before: Option<DateTime<Utc>>,
    /// Entries of the page, 1 to 200; 50 unless given. What happened at one instant stays together.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// What happened to a service: moves of releases from stage to stage, and of the pointer from generation
/// to generation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// Newest first.
    entries: Vec<HistoryEntry>,
    /// Ask for the next page with it as `before`; `null` on the last page.
    #[schema(required = true)]
    next_before: Option<DateTime<Utc>>,
    /// How things stood at the instant that was asked for; `null` where none was.
    #[schema(required = true)]
    as_of: Option<AsOf>,
}

/// An entry of a ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryEntry {
    /// When.
    at: DateTime<Utc>,
    /// `apply`, `promote`, `approve`, `replace`, `rollback` or `archive` of a release; `publish`,
    /// `rollback` or `withdraw` of a generation.
    #[schema(example = "approve")]
    action: String,
    /// Who: a key, a person on the command line, a worker.
    #[schema(example = "key:1a2b3c4d")]
    actor: String,
    /// From where; publications do not say.
    #[schema(required = true, example = "api")]
    origin: Option<String>,
    /// Why, in the person's words.
    #[schema(required = true, example = "signed off in the weekly review")]
    reason: Option<String>,
    /// Which release.
    #[schema(required = true)]
    release: Option<String>,
    /// Its version.
    #[schema(required = true, example = "0.0.2")]
    version: Option<String>,
    /// Where the release stood; `null` where it was new, and for publications.
    #[schema(required = true, value_type = Option<String>, example = "candidate")]
    from: Option<Stage>,
    /// Where the release stands since; `null` for publications.
    #[schema(required = true, value_type = Option<String>, example = "production")]
    to: Option<Stage>,
    /// Who had asked, where it was approved.
    #[schema(required = true, example = "cli:ann")]
    requested_by: Option<String>,
    /// The generation that is served since; `null` for promotions.
    #[schema(required = true, example = json!(null))]
    generation: Option<i64>,
    /// The generation that was served before; `null` for promotions.
    #[schema(required = true, example = json!(null))]
    previous: Option<i64>,
}

/// How a service stood at an instant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AsOf {
    /// The instant.
    at: DateTime<Utc>,
    /// The release in production; `null` where nothing was.
    #[schema(required = true)]
    production: Option<ReleaseAt>,
    /// What readers were served; `null` where nothing was published.
    #[schema(required = true)]
    served: Option<GenerationAt>,
}

/// A release in production.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseAt {
    /// Its hash.
    release: String,
    /// Its version.
    #[schema(required = true, example = "0.0.1")]
    version: Option<String>,
    /// The commit that its bundle came from.
    #[schema(required = true)]
    git_commit: Option<String>,
    /// Since when it stood there.
    since: DateTime<Utc>,
    /// Who put it there.
    #[schema(example = "cli:ann")]
    actor: String,
}

/// A generation that readers were served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GenerationAt {
    /// Its number.
    #[schema(example = 42)]
    generation: i64,
    /// What made it.
    release: String,
    /// The version of that release.
    #[schema(example = "0.0.1")]
    version: String,
    /// The commit that its bundle came from.
    #[schema(required = true)]
    git_commit: Option<String>,
    /// Since when it was served.
    since: DateTime<Utc>,
}

/// Get a service's history
///
/// Two ledgers as one: which release stood in which stage, and which generation was served. With `at` it
/// says what was in production and what was served at that instant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/history",
    operation_id = "getHistory", tag = "releases",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        HistoryQuery,
    ),
    responses((status = 200, description = "A page of the history", body = History)))]
pub(crate) async fn get_history(
    State(app): State<App>,
    path: PathParams,
    QueryParams(query): QueryParams<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    let service = super::services::existing(&app, &path).await?;
    let tenant = path.tenant()?;
    let limit = query.limit.unwrap_or(HISTORY_ROWS);
    if !(1..=HISTORY_ROWS_MAX).contains(&limit) {
        let detail = format!("expected a `limit` of 1 to {HISTORY_ROWS_MAX}, found {limit}");
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let as_of = match query.at {
        Some(at) => Some(releases::as_of(&app.store, &tenant, &service, at).await?.into()),
        None => None,
    };
    // The ledgers count in microseconds: what happened at the instant itself belongs to it.
    let until = query.at.map(|at| at + Duration::microseconds(1));
    let before = [query.before, until].into_iter().flatten().min();
    let found = releases::ledger(&app.store, &tenant, &service, before, limit).await?;
    // A full page may be the last one; the next is then empty, which costs less than counting.
    let is_full = found.len() >= limit as usize;
    let next_before = found.last().filter(|_| is_full).map(|entry| entry.at);
    let entries = found.into_iter().map(HistoryEntry::from).collect();
    Ok(Json(History { entries, next_before, as_of }))
}

/// Where a release shall stand, and why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteRequest {
    /// The stage that usually comes next unless given.
    #[schema(schema_with = stage_or_none)]
    to: Option<Stage>,
    /// Why, for the ledger.
    #[schema(example = "three good nights in shadow")]
    reason: Option<String>,
}

fn stage_or_none() -> Object {
    let stages = Stage::ALL.into_iter().map(|stage| json!(stage));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(stages.chain([json!(null)])))
        .description(Some("Where to; the stage that usually comes next unless given."))
        .examples([json!("production")])
        .build()
}

/// Why a release is approved.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApproveRequest {
    /// Why, for the ledger.
    #[schema(example = "signed off in the weekly review")]
    reason: Option<String>,
}

/// What became of the wish to move a release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PromotionResult {
    /// `moved`, `unchanged` where it stood there already, or `awaits_approval` by somebody else.
    #[schema(example = "moved")]
    outcome: &'static str,
    /// Which release.
    release: String,
    /// Where it stands now.
    #[schema(value_type = String, example = "production")]
    stage: Stage,
    /// The release that made room for it.
    #[schema(required = true)]
    replaced: Option<String>,
}

/// Promote a release
///
/// Moves a release to another stage. Where a second person has to approve what goes into production, this
/// asks for it. The release is named by its hash, the first digits of it, or its version. The body may be
/// left out.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/services/{service}/releases/{release}:promote",
    operation_id = "promoteRelease", tag = "releases",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("release" = String, Path, description = "Hash, at least 4 digits of it, or version.", example = "9f86d081884c"),
    ),
    request_body(content = Option<PromoteRequest>, example = json!({"to": "production"})),
    responses(
        (status = 200, description = "Where the release stands now", body = PromotionResult),
        (status = 409, description = "The release cannot go there now", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::PromotionRefused)))))]
pub(crate) async fn promote_release(
    State(app): State<App>,
    acting: Acting,
    params: PathParams,
    request: Request,
) -> Result<Json<PromotionResult>, Problem> {
    let service = super::services::existing(&app, &params).await?;
    let (name, _) = action(&params);
    let path = ServicePath::new(params.tenant()?, service);
    let request: PromoteRequest = read(request, &app).await?;
    let staged = releases::named(&app.store, &path.tenant, &path.service, name).await?;
    let to = request.to.or_else(|| staged.next_stage()).unwrap_or(staged.stage);
    let promotion = Promotion {
        path,
        release: staged.release,
        to,
        reason: bounded(request.reason)?,
        by: acting.by,
        now: Utc::now(),
    };
    let moved = releases::promote(&acting.store, &promotion).await?;
    Ok(Json(PromotionResult::new(&staged, to, &moved)))
}

/// Approve a release
///
/// Puts a release into production that somebody else has asked for. Whoever asked cannot approve: two
/// keys count as two. The body may be left out.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/services/{service}/releases/{release}:approve",
    operation_id = "approveRelease", tag = "releases",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("release" = String, Path, description = "Hash, at least 4 digits of it, or version.", example = "9f86d081884c"),
    ),
    request_body(content = Option<ApproveRequest>, example = json!({"reason": "signed off"})),
    responses(
        (status = 200, description = "Where the release stands now", body = PromotionResult),
        (status = 409, description = "The release cannot go there now", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::PromotionRefused)))))]
pub(crate) async fn approve_release(
    State(app): State<App>,
    acting: Acting,
    params: PathParams,
    request: Request,
) -> Result<Json<PromotionResult>, Problem> {
    let service = super::services::existing(&app, &params).await?;
    let (name, _) = action(&params);
    let path = ServicePath::new(params.tenant()?, service);
    let request: ApproveRequest = read(request, &app).await?;
    let staged = releases::named(&app.store, &path.tenant, &path.service, name).await?;
    let Acting { store, by } = acting;
    let reason = bounded(request.reason)?;
    let (release, reason) = (staged.release, reason.as_deref());
    let moved = releases::approve(&store, &path, release, reason, &by, Utc::now()).await?;
    Ok(Json(PromotionResult::new(&staged, Stage::Production, &moved)))
}

/// Tells the actions on a release apart.
pub(crate) async fn act_on_release(
    app: State<App>,
    acting: Acting,
    path: PathParams,
    request: Request,
) -> Response {
    let answer = match action(&path) {
        (_, Some(PROMOTE)) => promote_release(app, acting, path, request).await,
        (_, Some(APPROVE)) => approve_release(app, acting, path, request).await,
        _ => Err(Problem::not_found()),
    };
    answer.into_response()
}

/// The name of a release and what shall be done with it.
fn action(path: &PathParams) -> (&str, Option<&str>) {
    let segment = path.text("release");
    segment.rsplit_once(':').map_or((segment, None), |(name, action)| (name, Some(action)))
}

async fn read<T: DeserializeOwned + Default>(request: Request, app: &App) -> Result<T, Problem> {
    let body = OptionalJsonBytes::from_request(request, app).await?.0;
    Ok(body.map(|body| body.read()).transpose()?.unwrap_or_default())
}

fn bounded(reason: Option<String>) -> Result<Option<String>, Problem> {
    match reason {
        Some(reason) if reason.len() > REASON_BYTES_MAX => Err(Problem::new(
            Code::InvalidBody,
            format!(
                "expected a reason of at most {REASON_BYTES_MAX} bytes, found {}",
                reason.len()
            ),
        )),
        reason => Ok(reason.filter(|reason| !reason.trim().is_empty())),
    }
}

impl PromotionResult {
    fn new(staged: &StagedRelease, to: Stage, moved: &Moved) -> Self {
        let (outcome, stage, replaced) = match moved {
            Moved::Moved { replaced, .. } => ("moved", to, *replaced),
            Moved::Unchanged => ("unchanged", to, None),
            Moved::AwaitsApproval { .. } => ("awaits_approval", staged.stage, None),
        };
        let replaced = replaced.map(|release| release.to_string());
        Self { outcome, release: staged.release.to_string(), stage, replaced }
    }
}

impl From<StagedRelease> for Release {
    fn from(record: StagedRelease) -> Self {
        Self {
            next_stage: record.next_stage(),
            release: record.release.to_string(),
            version: record.version,
            stage: record.stage,
            since: record.since,
            protected: record.protected,
            approval_asked_by: record.approval_asked_by,
            shadow_runs_min: record.shadow_runs_min,
            comparisons_passed: record.comparisons_passed,
            git_commit: record.git_commit,
            applied_by: record.applied_by,
            applied_at: record.applied_at,
        }
    }
}

impl From<LedgerEntry> for HistoryEntry {
    fn from(entry: LedgerEntry) -> Self {
        let LedgerEntry { at, actor, origin, reason, moved } = entry;
        match moved {
            Move::Promotion { action, release, version, from, to, requested_by } => Self {
                at,
                action,
                actor,
                origin,
                reason,
                release: Some(release.to_string()),
                version: Some(version),
                from,
                to: Some(to),
                requested_by,
                generation: None,
                previous: None,
            },
            Move::Publication { action, generation, previous, release, version } => Self {
                at,
                action,
                actor,
                origin,
                reason,
                release: release.map(|release| release.to_string()),
                version,
                from: None,
                to: None,
                requested_by: None,
                generation: generation.map(|generation| generation.0),
                previous: previous.map(|generation| generation.0),
            },
        }
    }
}

impl From<releases::AsOf> for AsOf {
    fn from(found: releases::AsOf) -> Self {
        let releases::AsOf { at, production, version, git_commit, served } = found;
        let production = production.map(|entry| ReleaseAt {
            release: entry.release.to_string(),
            version,
            git_commit,
            since: entry.at,
            actor: entry.actor,
        });
        let served = served.map(|served| GenerationAt {
            generation: served.generation.0,
            release: served.release.to_string(),
            version: served.version,
            git_commit: served.git_commit,
            since: served.since,
        });
        Self { at, production, served }
    }
}
