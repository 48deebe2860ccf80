//! What a team says of its model, and how the model does now.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use cameo_domain::{Card, ServicePath, Stage};
use cameo_serving::card::{self, CardPage, Figures};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::explanations::{FeatureImportanceView, ranked};
use crate::{app::App, extract::PathParams, problem::Problem};

const MARKDOWN: HeaderValue = HeaderValue::from_static("text/markdown; charset=utf-8");

/// The card of a service with its live figures.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceCard {
    /// Whose service it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Which service.
    #[schema(example = "gender")]
    service: String,
    /// What the team says; `null` where `CARD.md` has no front matter.
    #[schema(required = true)]
    card: Option<CardView>,
    /// The release of the card: the one in production, or else the one that is nearest to it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// Where it stands: `candidate`, `shadow`, `canary`, `production` or `archived`.
    #[schema(value_type = String, example = "production")]
    stage: Stage,
    /// The commit that its bundle came from.
    #[schema(required = true)]
    git_commit: Option<String>,
    /// The five-field pattern of its schedule.
    #[schema(example = "00 18 * * *")]
    schedule: String,
    /// The zone of its schedule.
    #[schema(example = "Asia/Tokyo")]
    timezone: String,
    /// The first due instant that is not decided yet; `null` where no release is in production.
    #[schema(required = true)]
    next_due_at: Option<DateTime<Utc>>,
    /// Figures of what readers are served; `null` before the first publication.
    #[schema(required = true)]
    current: Option<FiguresView>,
}

/// What a team says of its model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CardView {
    /// Who answers for it.
    #[schema(example = "campaign-science@example.com")]
    owner: String,
    /// What it is for.
    #[schema(example = "which coupon design to show")]
    purpose: String,
    /// What it must not be used for, and where it is weak.
    #[schema(example = "never a price")]
    limits: String,
    /// What it was trained on.
    #[schema(example = "demo.customers, first half of 2026")]
    training_data: String,
    /// How good it was when it was trained, by name.
    #[schema(example = json!({"roc_auc": 0.82}))]
    metrics: BTreeMap<String, f64>,
    /// What is known of how it treats groups of people.
    #[schema(required = true)]
    fairness: Option<String>,
    /// The Markdown of the card.
    text: String,
}

/// Figures of the generation that is served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiguresView {
    /// Its number.
    #[schema(example = 42)]
    generation: i64,
    /// What made it.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// How many predictions it has.
    #[schema(example = 999_990)]
    rows: u64,
    /// When they were made.
    predicted_at: DateTime<Utc>,
    /// Seconds since then.
    #[schema(example = 5040)]
    age_seconds: i64,
    /// Whether that is more than the service allows.
    stale: bool,
    /// The newest modification of the data that was read, where the warehouse tells.
    #[schema(required = true)]
    watermark: Option<DateTime<Utc>>,
    /// How long the run took that made them.
    #[schema(required = true, example = 12.5)]
    run_seconds: Option<f64>,
    /// Which share of the customers was read and could not be scored.
    #[schema(required = true, example = 0.00001)]
    quarantined_share: Option<f64>,
    /// The five most important features, the greatest first; empty where the release is not explained.
    importance: Vec<FeatureImportanceView>,
}

/// Get a service's card
///
/// What the team says of its model in `CARD.md`, followed by live figures: release, generation, age,
/// schedule, quarantine and importance. With `Accept: text/markdown` as a page to read.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}/card", operation_id = "getCard", tag = "services",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    responses((status = 200, description = "The card", content(
        (ServiceCard = "application/json"),
        (String = "text/markdown", example = "# Gender\n\n## Now\n"),
    ))))]
pub(crate) async fn get_card(
    State(app): State<App>,
    path: PathParams,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let service = ServicePath::new(path.tenant()?, path.service()?);
    let page = card::find(&app.store, &service, Utc::now()).await?;
    let page = page.ok_or_else(Problem::not_found)?;
    let mut response = if wants_markdown(&headers) {
        ([(header::CONTENT_TYPE, MARKDOWN)], page.to_markdown()).into_response()
    } else {
        Json(ServiceCard::from(page)).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn wants_markdown(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|kind| kind.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("text/markdown"))
}

impl From<CardPage> for ServiceCard {
    fn from(page: CardPage) -> Self {
        Self {
            tenant: page.service.tenant.into(),
            service: page.service.service.into(),
            card: page.card.map(CardView::from),
            release: page.release.to_string(),
            version: page.version,
            stage: page.stage,
            git_commit: page.git_commit,
            schedule: page.schedule,
            timezone: page.timezone,
            next_due_at: page.next_due_at,
            current: page.current.map(FiguresView::from),
        }
    }
}

impl From<Card> for CardView {
    fn from(card: Card) -> Self {
        let Card { owner, purpose, limits, training_data, metrics, fairness, text } = card;
        Self { owner, purpose, limits, training_data, metrics, fairness, text }
    }
}

impl From<Figures> for FiguresView {
    fn from(figures: Figures) -> Self {
        Self {
            generation: figures.generation.0,
            release: figures.release.to_string(),
            rows: figures.rows,
            predicted_at: figures.predicted_at,
            age_seconds: figures.age_seconds,
            stale: figures.stale,
            watermark: figures.watermark,
            run_seconds: figures.run_seconds,
            quarantined_share: figures.quarantined_share,
            importance: ranked(figures.importance, card::FEATURES_SHOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_given_to_those_who_name_it() {
        let wants = |accept: &'static str| {
            let accept = HeaderValue::from_static(accept);
            wants_markdown(&HeaderMap::from_iter([(header::ACCEPT, accept)]))
        };
        assert!(wants("text/markdown"));
        assert!(wants("text/html, Text/Markdown;q=0.9"));
        assert!(!wants("*/*"));
        assert!(!wants("application/json"));
    }
}
