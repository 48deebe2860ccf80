//! Where a prediction comes from.

use axum::{Json, extract::State};
use cameo_domain::{GenerationId, Key, ServicePath, Stage};
use cameo_serving::LookupError;
use cameo_store::{
    lineage::{self, ExplanationOrigin, Lineage, Mirror, ReleaseOrigin, Served},
    lookup,
    runs::{RunRecord, RunTrigger},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::predictions::KeyView;
use crate::{
    app::App,
    extract::{PathParams, QueryParams},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Where a prediction comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PredictionLineage {
    /// Whose service it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// Whom the prediction is about.
    key: KeyView,
    /// The immutable predictions among which it is.
    generation: super::generations::Generation,
    /// The run that made them.
    run: RunOrigin,
    /// What the run executed.
    release: ReleaseOriginView,
    /// When readers were served them, oldest first.
    served: Vec<ServedView>,
    /// Their copy in the warehouse.
    #[schema(required = true)]
    mirror: Option<MirrorView>,
    /// What their explanations rest on; `null` where they are not explained.
    #[schema(required = true)]
    explanation: Option<ExplanationOriginView>,
}

/// The run of a lineage.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunOrigin {
    /// Its number.
    #[schema(example = 1201)]
    run: i64,
    /// For which instant.
    due_at: DateTime<Utc>,
    /// `schedule` or `manual`.
    #[schema(value_type = String, example = "schedule")]
    trigger: RunTrigger,
    /// Who asked for it, where somebody did.
    #[schema(required = true)]
    requested_by: Option<String>,
    /// Which attempt succeeded, from 1.
    #[schema(example = 1)]
    attempt: u32,
    /// Who executed it.
    #[schema(required = true, example = "worker-4711")]
    worker: Option<String>,
    /// When a worker first took it.
    #[schema(required = true)]
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required = true)]
    finished_at: Option<DateTime<Utc>>,
}

/// The release of a lineage.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseOriginView {
    /// Its hash.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// Where it stands now: `candidate`, `shadow`, `canary`, `production` or `archived`.
    #[schema(required = true, value_type = Option<String>, example = "production")]
    stage: Option<Stage>,
    /// The commit that its bundle came from.
    #[schema(required = true)]
    git_commit: Option<String>,
    /// Who applied it first.
    #[schema(example = "cli:ada")]
    applied_by: String,
    /// When it was applied first.
    applied_at: DateTime<Utc>,
    /// Who answers for it, as its card says.
    #[schema(required = true, example = "campaign-science@example.com")]
    owner: Option<String>,
}

/// A time in which a generation was served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServedView {
    /// `publish` or `rollback`.
    #[schema(example = "publish")]
    action: String,
    /// The worker or person.
    #[schema(example = "worker-4711")]
    actor: String,
    /// From when.
    from: DateTime<Utc>,
    /// Until when; `null` while it is served.
    #[schema(required = true)]
    until: Option<DateTime<Utc>>,
}

/// The copy of a generation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MirrorView {
    /// `pending` or `mirrored`.
    #[schema(example = "mirrored")]
    state: String,
    /// When both sides were found equal.
    #[schema(required = true)]
    completed_at: Option<DateTime<Utc>>,
}

/// What explanations rest on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationOriginView {
    /// How contributions were found.
    #[schema(example = "LINEAR")]
    method: String,
    /// How many customers the release compares with; `null` where its method needs none.
    #[schema(required = true, example = 100)]
    background_rows: Option<u64>,
}

/// Which prediction.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LineageQuery {
    /// What was served at this instant; now unless given.
    #[param(example = "2026-03-01T00:00:00Z")]
    at: Option<DateTime<Utc>>,
}

/// Get the lineage of a prediction
///
/// From the prediction back to generation, run, release, hashes, commit and data. With `at`, of what was
/// served then; where the predictions of that time are dropped by now, the lineage is told for any key.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/predictions/{key}/lineage",
    operation_id = "getLineage", tag = "predictions",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("key" = String, Path, description = "Whose prediction, percent-encoded where it needs to be.", example = "17"),
        LineageQuery,
    ),
    responses(
        (status = 200, description = "The lineage", body = PredictionLineage),
        (status = 400, description = "The key is not of the declared type", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidKey))),
        (status = 404, description = "No such service, or no prediction for this key (`unknown_key`)", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::UnknownKey))),
        (status = 409, description = "Nothing was published", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotPublished)))))]
pub(crate) async fn get_lineage(
    State(app): State<App>,
    path: PathParams,
    QueryParams(query): QueryParams<LineageQuery>,
) -> Result<Json<PredictionLineage>, Problem> {
    let (key, lineage) = match query.at {
        None => of_current(&app, &path).await?,
        Some(at) => of_earlier(&app, &path, at).await?,
    };
    Ok(Json(view(key, lineage)))
}

async fn of_current(app: &App, path: &PathParams) -> Result<(KeyView, Lineage), Problem> {
    let current = app.predictions.current(path.text("tenant"), path.text("service")).await?;
    let key = current.key(path.text("key")).map_err(LookupError::from)?;
    let found = app.predictions.one(current, key).await?;
    let served = &found.current.served;
    let lineage = lineage::find(&app.store, &served.path, served.generation).await?;
    Ok((found.key.into(), lineage.ok_or_else(Problem::internal)?))
}

async fn of_earlier(
    app: &App,
    path: &PathParams,
    at: DateTime<Utc>,
) -> Result<(KeyView, Lineage), Problem> {
    let service = super::services::existing(app, path).await?;
    let service = ServicePath::new(path.tenant()?, service);
    let generation = lineage::served_at(&app.store, &service, at).await?.ok_or_else(|| {
        Problem::new(Code::NotPublished, format!("{service} had published nothing at {at}"))
    })?;
    let key = look_up(app, &service, generation, path.text("key")).await?;
    let lineage = lineage::find(&app.store, &service, generation).await?;
    Ok((key, lineage.ok_or_else(Problem::internal)?))
}

/// The key, where the generation has a prediction for it or nobody can tell any more.
async fn look_up(
    app: &App,
    service: &ServicePath,
    generation: GenerationId,
    key: &str,
) -> Result<KeyView, Problem> {
    let Some(kept) = lookup::kept(&app.store, service, generation).await? else {
        return Ok(KeyView::Text(key.to_owned()));
    };
    let key = Key::parse(key, kept.schema.key().data_type).map_err(LookupError::from)?;
    if lookup::one(&app.store, &kept, &key).await?.is_none() {
        let detail =
            format!("{service} has no prediction for key `{key}` in generation {generation}");
        return Err(Problem::new(Code::UnknownKey, detail));
    }
    Ok(key.into())
}

fn view(key: KeyView, lineage: Lineage) -> PredictionLineage {
    PredictionLineage {
        tenant: lineage.service.tenant.into(),
        service: lineage.service.service.into(),
        key,
        generation: lineage.generation.into(),
        run: lineage.run.into(),
        release: lineage.release.into(),
        served: lineage.served.into_iter().map(ServedView::from).collect(),
        mirror: lineage.mirror.map(MirrorView::from),
        explanation: lineage.explanation.map(ExplanationOriginView::from),
    }
}

impl From<RunRecord> for RunOrigin {
    fn from(run: RunRecord) -> Self {
        Self {
            run: run.run.0,
            due_at: run.due_at,
            trigger: run.trigger,
            requested_by: run.requested_by,
            attempt: run.attempt,
            worker: run.worker,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

impl From<ReleaseOrigin> for ReleaseOriginView {
    fn from(release: ReleaseOrigin) -> Self {
        Self {
            release: release.release.to_string(),
            version: release.version,
            stage: release.stage,
            git_commit: release.git_commit,
            applied_by: release.applied_by,
            applied_at: release.applied_at,
            owner: release.owner,
        }
    }
}

impl From<Served> for ServedView {
    fn from(served: Served) -> Self {
        let Served { action, actor, from, until } = served;
        Self { action, actor, from, until }
    }
}

impl From<Mirror> for MirrorView {
    fn from(mirror: Mirror) -> Self {
        Self { state: mirror.state, completed_at: mirror.completed_at }
    }
}

impl From<ExplanationOrigin> for ExplanationOriginView {
    fn from(explanation: ExplanationOrigin) -> Self {
        Self { method: explanation.method, background_rows: explanation.background_rows }
    }
}
