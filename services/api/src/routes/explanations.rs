//! Why predictions are what they are: for one key, and for all customers.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use cameo_domain::{DataType, GenerationId};
use cameo_serving::{Cell, Found, LookupError};
use cameo_store::explanations::{self, Cohort, Explanation, FeatureImportance, Importance, Unit};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::predictions::KeyView;
use crate::{
    app::App,
    extract::{PathParams, QueryParams},
    freshness::{self, CACHE_CONTROL},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// Features that are listed unless the caller says how many.
const FEATURES: u32 = 50;
/// Most features that are listed.
const FEATURES_MAX: u32 = 500;

/// What contributions are measured in.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnitView {
    /// The raw score before the model's last transform, such as log-odds.
    Margin,
    /// The explained output column itself.
    Output,
}

impl From<Unit> for UnitView {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Margin => Self::Margin,
            Unit::Output => Self::Output,
        }
    }
}

/// What a feature adds to a prediction.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContributionView {
    /// The feature column.
    #[schema(example = "beauty_views")]
    feature: String,
    /// What the customer has in it.
    #[schema(example = 12)]
    value: serde_json::Value,
    /// What that adds to the base value, in `unit`.
    #[schema(example = 0.83)]
    contribution: f64,
}

/// Why a prediction is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PredictionExplanation {
    /// Whose service it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// Whom the prediction is about.
    key: KeyView,
    /// The greatest contributions to the prediction, the greatest first; `null` for a row without.
    #[schema(required = true)]
    explanation: Option<Vec<ContributionView>>,
    /// The output column that is explained.
    #[schema(example = "female_percentile")]
    output: String,
    /// What base value and contributions are measured in.
    unit: UnitView,
    /// What is expected of a customer of whom nothing is known. With the contributions of all
    /// features it adds up to the explained output; the ones that are not stored are what is missing.
    #[schema(example = -0.12)]
    base_value: f64,
    /// How contributions were found.
    #[schema(example = "LINEAR")]
    method: String,
    /// The publication that says so.
    #[schema(example = 42)]
    generation: i64,
    /// The immutable version of the bundle that made it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// When it was predicted.
    predicted_at: chrono::DateTime<Utc>,
    /// Seconds since `predicted_at`.
    #[schema(example = 5040)]
    age_seconds: i64,
    /// Whether it is older than the service allows.
    stale: bool,
}

/// Explain a prediction
///
/// The contributions that were stored with the prediction. A service whose `EXPLANATION_CONFIG` says
/// `STORE: ON_DEMAND`, or that has none, stores none: reading a customer's features takes the
/// warehouse, so there `cameo explain` answers instead.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/predictions/{key}/explanation",
    operation_id = "getExplanation", tag = "explanations",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ("key" = String, Path, description = "Whom to explain, percent-encoded where it needs to be.", example = "17"),
    ),
    responses(
        (status = 200, description = "The explanation", body = PredictionExplanation),
        (status = 400, description = "The key is not of the declared type", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidKey))),
        (status = 404, description = "No such service, or no prediction for this key (`unknown_key`)", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::UnknownKey))),
        (status = 409, description = "The service stores no explanations", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::ExplanationNotStored)))))]
pub(crate) async fn get_explanation(
    State(app): State<App>,
    path: PathParams,
) -> Result<Response, Problem> {
    let current = app.predictions.current(path.text("tenant"), path.text("service")).await?;
    let key = current.key(path.text("key")).map_err(LookupError::from)?;
    if !current.served.schema.is_explained() {
        let service = &current.served.path;
        return Err(Problem::new(
            Code::ExplanationNotStored,
            format!(
                "{service} stores no explanations; `cameo explain {service} --key {key}` computes \
                 this one on demand, and STORE: PREDICTION in EXPLANATION_CONFIG stores them from \
                 the next run on"
            ),
        ));
    }
    let found = app.predictions.one(current, key).await?;
    let served = &found.current.served;
    let explanation = explanations::about(&app.store, &served.path, served.generation).await?;
    let explanation = explanation.ok_or_else(Problem::internal)?;
    let repeated = found.current.repeated(Utc::now());
    let explained = explained(&found, explanation, &repeated.freshness)?;
    Ok((freshness::headers(&found.current, &repeated), Json(explained)).into_response())
}

fn explained(
    found: &Found,
    explanation: Explanation,
    at: &cameo_serving::Freshness,
) -> Result<PredictionExplanation, Problem> {
    let served = &found.current.served;
    let mut columns = served.schema.predictions().iter().zip(found.rows.cells());
    let stored = match columns.find(|(column, _)| column.data_type == DataType::Json) {
        Some((_, Cell::Json(text))) => Some(serde_json::from_str(text).map_err(|error| {
            tracing::error!(%error, "a stored explanation is not a list of contributions");
            Problem::internal()
        })?),
        _ => None,
    };
    Ok(PredictionExplanation {
        tenant: served.path.tenant.to_string(),
        service: served.path.service.to_string(),
        key: KeyView::from(found.key.clone()),
        explanation: stored,
        output: explanation.output,
        unit: explanation.unit.into(),
        base_value: explanation.base_value,
        method: explanation.method,
        generation: served.generation.0,
        release: served.release.to_string(),
        predicted_at: served.predicted_at,
        age_seconds: at.age_seconds,
        stale: at.stale,
    })
}

/// How much a feature matters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureImportanceView {
    /// The feature column.
    #[schema(example = "beauty_views")]
    feature: String,
    /// Mean of the contributions' absolute values, in `unit`.
    #[schema(example = 0.83)]
    mean_absolute_contribution: f64,
    /// Mean of the contributions, in `unit`: the direction, as far as there is one.
    #[schema(example = -0.02)]
    mean_contribution: f64,
    /// The feature's part of all mean absolute contributions, 0 to 1.
    #[schema(example = 0.41)]
    share: f64,
}

/// How much each feature matters to customers that have something in common.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CohortView {
    /// The feature column by which customers are told apart.
    #[schema(example = "coupon_used")]
    column: String,
    /// What these customers have in it; `(missing)` for none, `(other)` for what is too rare to be
    /// listed.
    #[schema(example = "1")]
    value: String,
    /// How many they are.
    #[schema(example = 41_233)]
    rows: u64,
    /// Their features, the one that matters most first.
    features: Vec<FeatureImportanceView>,
}

/// How much each feature matters to the predictions of a generation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportanceView {
    /// Whose service it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// Which generation.
    #[schema(example = 42)]
    generation: i64,
    /// The output column that is explained.
    #[schema(example = "female_percentile")]
    output: String,
    /// What base value and contributions are measured in.
    unit: UnitView,
    /// What is expected of a customer of whom nothing is known.
    #[schema(example = -0.12)]
    base_value: f64,
    /// How contributions were found.
    #[schema(example = "LINEAR")]
    method: String,
    /// The same in words.
    #[schema(example = "linear, in closed form")]
    description: String,
    /// Whether each prediction carries its greatest contributions.
    stored: bool,
    /// How many predictions the means are of.
    #[schema(example = 999_990)]
    rows: u64,
    /// Mean standard error of a contribution; only where the method samples.
    #[schema(required = true)]
    standard_error: Option<f64>,
    /// The features, the one that matters most first.
    features: Vec<FeatureImportanceView>,
    /// The same by cohort, where `EXPLANATION_CONFIG` names columns; kept as long as the generation's
    /// predictions.
    cohorts: Vec<CohortView>,
}

/// Which generation, and how much of it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportanceQuery {
    /// A complete generation; the current one unless given.
    #[param(example = 41)]
    generation: Option<i64>,
    /// Most features that are listed, 1 to 500; 50 unless given.
    #[param(minimum = 1, maximum = 500, example = 50)]
    features: Option<u32>,
}

/// Rank the features of a generation
///
/// Every prediction of a run is taken apart into contributions of its features; this is what they add
/// up to, over all customers and by cohort.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/importance",
    operation_id = "getImportance", tag = "explanations",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
        ImportanceQuery,
    ),
    responses(
        (status = 200, description = "The features, the one that matters most first", body = ImportanceView),
        (status = 404, description = "No such generation, or one that is not explained (`not_explained`)", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotExplained))),
        (status = 409, description = "Nothing was published yet", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::NotPublished)))))]
pub(crate) async fn get_importance(
    State(app): State<App>,
    path: PathParams,
    QueryParams(query): QueryParams<ImportanceQuery>,
) -> Result<Response, Problem> {
    let features = query.features.unwrap_or(FEATURES);
    if !(1..=FEATURES_MAX).contains(&features) {
        let detail = format!("expected `features` from 1 to {FEATURES_MAX}, found {features}");
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let service = super::services::existing(&app, &path).await?;
    let tenant = path.tenant()?;
    let generation = query.generation.map(GenerationId);
    let found = explanations::find(&app.store, &tenant, &service, generation).await?;
    let found = found.ok_or_else(|| match generation {
        Some(_) => Problem::not_found(),
        None => Problem::new(
            Code::NotPublished,
            format!("{tenant}/{service} has not published predictions yet"),
        ),
    })?;
    let importance = found.importance.ok_or_else(|| {
        Problem::new(
            Code::NotExplained,
            format!(
                "generation {} of {tenant}/{service} is not explained: without EXPLANATION_CONFIG \
                 only tree ensembles and linear models are; add the section to its config.yaml",
                found.generation
            ),
        )
    })?;
    let features = usize::try_from(features).unwrap_or(usize::MAX);
    let view = view(&tenant, &service, found.generation, importance, features);
    Ok(([(header::CACHE_CONTROL, CACHE_CONTROL)], Json(view)).into_response())
}

fn view(
    tenant: &cameo_domain::TenantName,
    service: &cameo_domain::ServiceName,
    generation: GenerationId,
    importance: Importance,
    features: usize,
) -> ImportanceView {
    let Importance { explanation, features: all, cohorts } = importance;
    ImportanceView {
        tenant: tenant.to_string(),
        service: service.to_string(),
        generation: generation.0,
        output: explanation.output,
        unit: explanation.unit.into(),
        base_value: explanation.base_value,
        method: explanation.method,
        description: explanation.description,
        stored: explanation.stored,
        rows: explanation.rows,
        standard_error: explanation.standard_error,
        features: ranked(all, features),
        cohorts: cohorts
            .into_iter()
            .map(|Cohort { column, value, rows, features: all }| CohortView {
                column,
                value,
                rows,
                features: ranked(all, features),
            })
            .collect(),
    }
}

pub(super) fn ranked(features: Vec<FeatureImportance>, most: usize) -> Vec<FeatureImportanceView> {
    let total: f64 = features.iter().map(|feature| feature.mean_absolute).sum();
    features
        .into_iter()
        .take(most)
        .map(|feature| FeatureImportanceView {
            share: if total > 0.0 { feature.mean_absolute / total } else { 0.0 },
            feature: feature.feature,
            mean_absolute_contribution: feature.mean_absolute,
            mean_contribution: feature.mean,
        })
        .collect()
}
