//! What was published, and going back.

use axum::{
    Json,
    extract::{FromRequest, Request, State},
};
use cameo_domain::{GenerationId, ServiceName};
use cameo_store::generations::{self, GenerationRecord, GenerationState, Releases};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    acting::Acting,
    app::App,
    extract::{OptionalJsonBytes, PathParams, whole_number},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// The template under which the router knows the actions on a service: it cannot match what follows
/// a parameter within a segment, so [`act_on_service`] tells them apart.
pub(crate) const ACTION_PATH: &str = "/v1/tenants/{tenant}/services/{service}";
const ROLLBACK: &str = "rollback";

/// The immutable predictions that one run produced.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Generation {
    /// Its number.
    #[schema(example = 42)]
    generation: i64,
    /// The run that made it.
    #[schema(example = 1201)]
    run: i64,
    /// For which instant.
    due_at: DateTime<Utc>,
    /// The immutable version of the bundle that made it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// Hash of the config that made it.
    config_hash: String,
    /// Hash of the SQL that made it.
    sql_hash: String,
    /// Hash of the model that made it.
    model_hash: String,
    /// Fingerprint of the data that was read, where the warehouse tells.
    #[schema(required = true)]
    data_fingerprint: Option<String>,
    /// The newest modification of the data that was read, where the warehouse tells.
    #[schema(required = true)]
    watermark: Option<DateTime<Utc>>,
    /// When it was predicted.
    predicted_at: DateTime<Utc>,
    /// `loading`, `published`, `retired`, `shadowed` or `abandoned`.
    #[schema(value_type = String, example = "published")]
    state: GenerationState,
    /// Whether readers are served from it.
    current: bool,
    /// Whether the service can go back to it.
    kept: bool,
    /// How many predictions it holds; once complete.
    #[schema(required = true, example = 999_990)]
    rows: Option<u64>,
    /// Checksum over all rows, 16 hexadecimal digits; once complete.
    #[schema(required = true, example = "00c0ffee00c0ffee")]
    checksum: Option<String>,
    /// When it was published.
    #[schema(required = true)]
    published_at: Option<DateTime<Utc>>,
}

/// The generations of a service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GenerationList {
    /// The latest 200, newest first.
    generations: Vec<Generation>,
}

/// List a service's generations
///
/// The latest 200, newest first: what made each, how many predictions it holds, whether it is served and whether
/// the service can go back to it.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/generations",
    operation_id = "listGenerations", tag = "generations",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    responses((status = 200, description = "The generations", body = GenerationList)))]
pub(crate) async fn list_generations(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<GenerationList>, Problem> {
    let service = super::services::existing(&app, &path).await?;
    let records = generations::list(&app.store, &path.tenant()?, &service).await?;
    Ok(Json(GenerationList { generations: records.into_iter().map(Generation::from).collect() }))
}

/// Where to go back to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackRequest {
    /// A kept generation; the one that was published before the current one unless given.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(example = 41)]
    generation: Option<i64>,
    /// Leave the release that is in production there: the next run publishes its predictions again.
    #[serde(default)]
    keep_release: bool,
}

/// What a rollback did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RollbackResult {
    /// What readers are served now.
    #[schema(example = 41)]
    generation: i64,
    /// What they were served before.
    #[schema(example = 42)]
    previous: i64,
    /// The release that is in production again, where that changed; `null` otherwise.
    #[schema(required = true, example = json!(null))]
    release: Option<String>,
}

async fn rollback(
    app: &App,
    acting: &Acting,
    path: &PathParams,
    service: ServiceName,
    request: RollbackRequest,
) -> Result<Json<RollbackResult>, Problem> {
    let tenant = path.tenant()?;
    let to = request.generation.map(GenerationId);
    let releases = if request.keep_release { Releases::Keep } else { Releases::Follow };
    let Acting { store, by } = acting;
    let done = generations::rollback(store, &tenant, &service, to, releases, by).await?;
    // The hint brings the news to every process; whoever asks this one next need not wait for it.
    app.predictions.refresh().await?;
    Ok(Json(RollbackResult {
        generation: done.to.0,
        previous: done.from.0,
        release: done.release.map(|release| release.to_string()),
    }))
}

/// Roll back
///
/// Serves an earlier generation that is still kept, at once and for all keys. The next run publishes
/// a new generation as usual. Where another release made the generation, that release is in production
/// again, unless `keep_release` is set. The body may be left out.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/services/{service}:rollback",
    operation_id = "rollback", tag = "generations",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    request_body(content = Option<RollbackRequest>, example = json!({"generation": 41})),
    responses(
        (status = 200, description = "What is served now", body = RollbackResult),
        (status = 409, description = "No such generation is kept", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NothingToRollBackTo)))))]
pub(crate) async fn act_on_service(
    State(app): State<App>,
    acting: Acting,
    path: PathParams,
    request: Request,
) -> Result<Json<RollbackResult>, Problem> {
    let segment = path.text("service");
    let (service, action) = segment.split_once(':').ok_or_else(Problem::not_found)?;
    if action != ROLLBACK {
        return Err(Problem::not_found());
    }
    let service = service.parse().map_err(|_| Problem::not_found())?;
    let body = OptionalJsonBytes::from_request(request, &app).await?.0;
    let request = body.map(|body| body.read()).transpose()?.unwrap_or_default();
    rollback(&app, &acting, &path, service, request).await
}

impl From<GenerationRecord> for Generation {
    fn from(record: GenerationRecord) -> Self {
        let is_published = matches!(record.state, GenerationState::Published);
        Self {
            generation: record.generation.0,
            run: record.run.0,
            due_at: record.due_at,
            release: record.release.to_string(),
            config_hash: record.hashes.config.to_string(),
            sql_hash: record.hashes.sql.to_string(),
            model_hash: record.hashes.model.to_string(),
            data_fingerprint: record.data_fingerprint.map(|hash| hash.to_string()),
            watermark: record.watermark,
            predicted_at: record.predicted_at,
            state: record.state,
            current: record.current,
            kept: is_published && record.dropped_at.is_none(),
            rows: record.digest.map(|digest| digest.rows),
            checksum: record.digest.map(|digest| format!("{:016x}", digest.checksum)),
            published_at: record.published_at,
        }
    }
}
