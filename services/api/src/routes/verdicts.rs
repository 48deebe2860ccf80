//! How releases compared with production while they ran beside it.

use axum::{Json, extract::State};
use cameo_store::{
    releases,
    verdicts::{self, VERDICTS_MAX},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, extract::PathParams, problem::Problem};

/// How a run beside production compared with production's run of the same instant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Verdict {
    /// The run beside production.
    #[schema(example = 1202)]
    run: i64,
    /// For which instant.
    due_at: DateTime<Utc>,
    /// What it made, where it ended well.
    #[schema(required = true, example = 43)]
    generation: Option<i64>,
    /// Production's run of the instant.
    #[schema(required = true, example = 1201)]
    production_run: Option<i64>,
    /// What that made, where it ended well.
    #[schema(required = true, example = 42)]
    production_generation: Option<i64>,
    /// Whether every check passed.
    passed: bool,
    /// What was compared.
    checks: Vec<Check>,
    /// When it was decided.
    at: DateTime<Utc>,
}

/// One thing that was compared.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in the store and its records")]
pub(crate) struct Check {
    /// `completed`, `production`, `duration`, `memory`, `columns`, `keys`, `mean`, `distribution`,
    /// `changed`, `constant` or `comparison`.
    #[schema(example = "mean")]
    check: String,
    /// Which column, where it is about one.
    #[schema(required = true, example = "clv")]
    subject: Option<String>,
    /// Whether it is within its limit.
    passed: bool,
    /// What was found; `null` where it is no number.
    #[schema(required = true, example = 0.04)]
    found: Option<f64>,
    /// The limit; `null` where there is none.
    #[schema(required = true, example = 0.15)]
    limit: Option<f64>,
    /// What was found, in words.
    #[schema(required = true, example = json!(null))]
    detail: Option<String>,
}

/// The verdicts on a release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictList {
    /// The latest 200, newest instant first.
    verdicts: Vec<Verdict>,
}

/// List the verdicts on a release
///
/// A release in shadow or canary runs at the same instants as production, and each run is compared with
/// production's. The release is named by its hash, the first digits of it, or its version.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/releases/{release}/verdicts",
    operation_id = "listVerdicts", tag = "releases",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("release" = String, Path, description = "Hash, at least 4 digits of it, or version.", example = "9f86d081884c"),
    ),
    responses((status = 200, description = "The verdicts", body = VerdictList)))]
pub(crate) async fn list_verdicts(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<VerdictList>, Problem> {
    let service = super::services::existing(&app, &path).await?;
    let (store, tenant) = (&app.store, path.tenant()?);
    let release = releases::named(store, &tenant, &service, path.text("release")).await?.release;
    let found = verdicts::list(store, &tenant, &service, Some(release), VERDICTS_MAX).await?;
    Ok(Json(VerdictList { verdicts: found.into_iter().map(Verdict::from).collect() }))
}

impl From<verdicts::Verdict> for Verdict {
    fn from(found: verdicts::Verdict) -> Self {
        let checks = found.checks.into_iter().map(|check| Check {
            check: check.check,
            subject: check.subject,
            passed: check.passed,
            found: check.found,
            limit: check.limit,
            detail: check.detail,
        });
        Self {
            run: found.run.0,
            due_at: found.due_at,
            generation: found.generation.map(|generation| generation.0),
            production_run: found.production_run.map(|run| run.0),
            production_generation: found.production_generation.map(|generation| generation.0),
            passed: found.passed,
            checks: checks.collect(),
            at: found.at,
        }
    }
}
