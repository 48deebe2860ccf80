//! Who is told of changes.

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cameo_domain::{SegmentName, WebhookName};
use cameo_store::webhooks::{
    self, NewWebhook, Put, WebhookRecord,
    deliveries::{self, DeliveryRecord, Subject},
};
use cameo_webhook::{Address, Secret, event};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    acting::Acting,
    app::App,
    extract::{JsonBytes, OptionalJsonBytes, PathParams, whole_number},
    openapi::example,
    problem::{Code, Problem, ProblemBody},
};

/// The template under which the router knows the actions on a webhook; see
/// [`generations::ACTION_PATH`](super::generations::ACTION_PATH).
pub(crate) const ACTION_PATH: &str = "/v1/tenants/{tenant}/webhooks/{webhook}";
const ROTATE: &str = "rotate";
const PING: &str = "ping";
/// How long both secrets sign after a rotation, unless said otherwise: a day to change the receiver.
const BOTH_SECRETS_HOURS: u32 = 24;
/// Longest such time.
const BOTH_SECRETS_HOURS_MAX: u32 = 24 * 30;
/// Deliveries that are listed.
const DELIVERIES: u32 = 100;
/// Most segments that a webhook names.
const SEGMENTS_MAX: usize = 100;

/// What a webhook is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookRequest {
    /// Where events go: HTTPS, at a public address.
    #[schema(example = "https://campaigns.example/hooks/cameo")]
    url: String,
    /// Only changes of these segments; of all, also those to come, unless given.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 100, example = json!(["loyal"]))]
    segments: Vec<SegmentName>,
}

/// A place that is told of changes.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Webhook {
    /// What it is called.
    #[schema(example = "campaigns")]
    webhook: String,
    /// Where events go.
    #[schema(example = "https://campaigns.example/hooks/cameo")]
    url: String,
    /// Of which segments it is told; empty: of all.
    #[schema(example = json!(["loyal"]))]
    segments: Vec<String>,
    /// What signs its events. Shown when the webhook is made and when its secret is replaced, and never
    /// again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
    /// Until when the secret before this one signs as well.
    #[schema(required = true)]
    previous_secret_until: Option<DateTime<Utc>>,
    /// Who made it.
    #[schema(example = "key:1a2b3c4d")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// Since when every delivery has failed; the deliveries say why.
    #[schema(required = true)]
    failing_since: Option<DateTime<Utc>>,
    /// When it was disabled, after days of failures or because the receiver asked for it. `PUT` enables it.
    #[schema(required = true)]
    disabled_at: Option<DateTime<Utc>>,
    /// Why.
    #[schema(required = true, example = json!(null))]
    disabled_reason: Option<String>,
}

/// The webhooks of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// By name.
    webhooks: Vec<Webhook>,
}

/// One message to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// The header `webhook-id`: the same at each attempt.
    #[schema(example = "msg_0191f3c0a4f27d3e9a5b6c7d8e9f0a1b")]
    id: String,
    /// The type of the event.
    #[schema(example = "cameo.segment.changed")]
    event: &'static str,
    /// Which segment changed.
    #[schema(required = true, example = "loyal")]
    segment: Option<String>,
    /// Its new materialisation.
    #[schema(required = true, example = 4)]
    materialisation: Option<u32>,
    /// `pending`, `delivered`, `unchanged` (there was nothing to tell) or `abandoned`.
    #[schema(example = "delivered")]
    state: String,
    /// How often it was tried.
    #[schema(example = 1)]
    attempts: u32,
    /// What the receiver answered last.
    #[schema(required = true, example = 204)]
    status: Option<u16>,
    /// Why the last attempt was no success.
    #[schema(required = true, example = json!(null))]
    reason: Option<String>,
    /// When there was something to tell.
    created_at: DateTime<Utc>,
    /// When it is tried next.
    #[schema(required = true)]
    next_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required = true)]
    ended_at: Option<DateTime<Utc>>,
}

/// The latest messages to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// The latest 100, newest first.
    deliveries: Vec<DeliveryView>,
}

/// List a tenant's webhooks
///
/// By name: where each is, what it is told of, and whether it answers. Their secrets are not shown.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/webhooks", operation_id = "listWebhooks", tag = "webhooks",
    params(("tenant" = String, Path, description = "The team.", example = "crm")),
    responses((status = 200, description = "The webhooks", body = WebhookList)))]
pub(crate) async fn list_webhooks(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<WebhookList>, Problem> {
    let webhooks = webhooks::list(&app.store, &path.tenant()?).await?;
    Ok(Json(WebhookList { webhooks: webhooks.into_iter().map(Webhook::from).collect() }))
}

/// Get a webhook
///
/// Where it is, what it is told of, and whether it answers. Its secret is not shown.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/webhooks/{webhook}", operation_id = "getWebhook", tag = "webhooks",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("webhook" = String, Path, description = "The team's webhook.", example = "campaigns"),
    ),
    responses((status = 200, description = "The webhook", body = Webhook)))]
pub(crate) async fn get_webhook(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<Webhook>, Problem> {
    let webhook = name(path.text("webhook"))?;
    Ok(Json(webhooks::find(&app.store, &path.tenant()?, &webhook).await?.into()))
}

/// Make or change a webhook
///
/// A new one is answered with its secret, once. One that was disabled is enabled. Events are CloudEvents of
/// the type `cameo.segment.changed`, signed after Standard Webhooks.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/webhooks/{webhook}", operation_id = "putWebhook", tag = "webhooks",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("webhook" = String, Path, description = "A name of up to 40 lower-case letters, digits and underscores.", example = "campaigns"),
    ),
    request_body(content = WebhookRequest, example = json!({"url": "https://campaigns.example/hooks/cameo"})),
    responses(
        (status = 200, description = "It was changed", body = Webhook),
        (status = 201, description = "It is new", body = Webhook),
        (status = 422, description = "The address cannot be used, or the body has not the expected shape", body = ProblemBody,
            content_type = "application/problem+json", example = json!(example(Code::InvalidBody)))))]
pub(crate) async fn put_webhook(
    State(app): State<App>,
    acting: Acting,
    path: PathParams,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidBody, detail);
    let webhook: WebhookName =
        path.text("webhook").parse().map_err(|error: cameo_domain::NameError| {
            Problem::new(Code::InvalidRequest, error.to_string())
        })?;
    let WebhookRequest { url, segments } = body.read()?;
    let address = Address::parse(&url, app.config.webhook_reach);
    let address = address.map_err(|error| invalid(error.to_string()))?;
    if segments.len() > SEGMENTS_MAX {
        let found = segments.len();
        return Err(invalid(format!("expected at most {SEGMENTS_MAX} segments, found {found}")));
    }
    let secret = new_secret()?;
    let new = NewWebhook {
        webhook,
        url: address.to_string(),
        segments,
        secret: secret.as_bytes().to_vec(),
    };
    let Acting { store, by } = acting;
    Ok(match webhooks::put(&store, &path.tenant()?, &new, &by).await? {
        Put::Created(record) => {
            let webhook = Webhook { secret: Some(secret.reveal()), ..record.into() };
            (StatusCode::CREATED, Json(webhook)).into_response()
        }
        Put::Changed(record) => Json(Webhook::from(record)).into_response(),
    })
}

/// Delete a webhook
///
/// With everything that it was still to be told.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/webhooks/{webhook}", operation_id = "deleteWebhook", tag = "webhooks",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("webhook" = String, Path, description = "The team's webhook.", example = "campaigns"),
    ),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete_webhook(
    acting: Acting,
    path: PathParams,
) -> Result<StatusCode, Problem> {
    let webhook = name(path.text("webhook"))?;
    webhooks::delete(&acting.store, &path.tenant()?, &webhook).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List what a webhook was told
///
/// The latest deliveries first: which event, how often it was tried, and what came of the last attempt.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/webhooks/{webhook}/deliveries",
    operation_id = "listDeliveries", tag = "webhooks",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("webhook" = String, Path, description = "The team's webhook.", example = "campaigns"),
    ),
    responses((status = 200, description = "The deliveries", body = DeliveryList)))]
pub(crate) async fn list_deliveries(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<DeliveryList>, Problem> {
    let (tenant, webhook) = (path.tenant()?, name(path.text("webhook"))?);
    webhooks::find(&app.store, &tenant, &webhook).await?;
    let deliveries = deliveries::list(&app.store, &tenant, &webhook, DELIVERIES).await?;
    let deliveries = deliveries.into_iter().map(DeliveryView::from).collect();
    Ok(Json(DeliveryList { deliveries }))
}

/// How a secret is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// For how many hours the secret before the new one signs as well, up to 720; 24 unless given.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(minimum = 0, maximum = 720, example = 24)]
    both_hours: Option<u32>,
}

/// Replace a webhook's secret
///
/// The new secret is answered, once. For some hours both sign, so that a receiver never meets an event that
/// it cannot check. The body may be left out.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/webhooks/{webhook}:rotate",
    operation_id = "rotateWebhook", tag = "webhooks",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("webhook" = String, Path, description = "The team's webhook.", example = "campaigns"),
    ),
    request_body(content = Option<RotateRequest>, example = json!({"both_hours": 24})),
    responses((status = 200, description = "The webhook with its new secret", body = Webhook)))]
pub(crate) async fn rotate_webhook(
    State(app): State<App>,
    acting: Acting,
    path: PathParams,
    request: Request,
) -> Result<Json<Webhook>, Problem> {
    let (webhook, _) = action(&path);
    let body = OptionalJsonBytes::from_request(request, &app).await?.0;
    let request: RotateRequest = body.map(|body| body.read()).transpose()?.unwrap_or_default();
    let hours = request.both_hours.unwrap_or(BOTH_SECRETS_HOURS);
    if hours > BOTH_SECRETS_HOURS_MAX {
        let detail =
            format!("expected `both_hours` of at most {BOTH_SECRETS_HOURS_MAX}, found {hours}");
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    let secret = new_secret()?;
    let (kept, both_seconds) = (secret.as_bytes().to_vec(), hours * 3_600);
    let record =
        webhooks::rotate(&acting.store, &path.tenant()?, &name(webhook)?, kept, both_seconds)
            .await?;
    Ok(Json(Webhook { secret: Some(secret.reveal()), ..record.into() }))
}

/// A test that is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ping {
    /// The id of its delivery.
    #[schema(example = "msg_0191f3c0a4f27d3e9a5b6c7d8e9f0a1b")]
    delivery: String,
}

/// Test a webhook
///
/// Sends an event of the type `cameo.webhook.ping` like any other; the deliveries say how it went.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/webhooks/{webhook}:ping",
    operation_id = "pingWebhook", tag = "webhooks",
    params(
        ("tenant" = String, Path, description = "The team.", example = "crm"),
        ("webhook" = String, Path, description = "The team's webhook.", example = "campaigns"),
    ),
    responses((status = 202, description = "It will be sent", body = Ping)))]
pub(crate) async fn ping_webhook(
    acting: Acting,
    path: PathParams,
) -> Result<(StatusCode, Json<Ping>), Problem> {
    let (webhook, _) = action(&path);
    let delivery = deliveries::ping(&acting.store, &path.tenant()?, &name(webhook)?).await?;
    Ok((StatusCode::ACCEPTED, Json(Ping { delivery })))
}

/// Tells the actions on a webhook apart.
pub(crate) async fn act_on_webhook(
    app: State<App>,
    acting: Acting,
    path: PathParams,
    request: Request,
) -> Response {
    match action(&path) {
        (_, Some(ROTATE)) => rotate_webhook(app, acting, path, request).await.into_response(),
        (_, Some(PING)) => ping_webhook(acting, path).await.into_response(),
        _ => Problem::not_found().into_response(),
    }
}

/// The name of a webhook and what shall be done with it.
fn action(path: &PathParams) -> (&str, Option<&str>) {
    let segment = path.text("webhook");
    segment.rsplit_once(':').map_or((segment, None), |(name, action)| (name, Some(action)))
}

fn name(text: &str) -> Result<WebhookName, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

fn new_secret() -> Result<Secret, Problem> {
    Secret::generate().map_err(|error| {
        tracing::error!(%error, "no secret can be made");
        Problem::internal()
    })
}

impl From<WebhookRecord> for Webhook {
    fn from(record: WebhookRecord) -> Self {
        let (disabled_at, disabled_reason) = record.disabled.unzip();
        Self {
            webhook: record.webhook.to_string(),
            url: record.url,
            segments: record.segments.iter().map(ToString::to_string).collect(),
            secret: None,
            previous_secret_until: record.previous_secret_until,
            created_by: record.created_by,
            created_at: record.created_at,
            failing_since: record.failing_since,
            disabled_at,
            disabled_reason,
        }
    }
}

impl From<DeliveryRecord> for DeliveryView {
    fn from(record: DeliveryRecord) -> Self {
        let (event, segment, materialisation) = match record.subject {
            Subject::Segment { segment, materialisation } => {
                (event::SEGMENT_CHANGED, Some(segment.to_string()), Some(materialisation))
            }
            Subject::Ping => (event::PING, None, None),
        };
        Self {
            id: record.id,
            event,
            segment,
            materialisation,
            state: record.state,
            attempts: record.attempts,
            status: record.status,
            reason: record.reason,
            created_at: record.created_at,
            next_at: record.next_at,
            ended_at: record.ended_at,
        }
    }
}
