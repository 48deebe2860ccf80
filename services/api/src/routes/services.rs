//! What a tenant hosts.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use cameo_access::Caller;
use cameo_checkpoint::Check;
use cameo_domain::{DataType, ServiceName};
use cameo_store::services::{self, ServiceRecord};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{app::App, authorise::visible, extract::PathParams, problem::Problem};

/// A model that a tenant hosts.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "a member is named as in every other answer")]
pub(crate) struct Service {
    /// Whose it is.
    #[schema(example = "marketing")]
    tenant: String,
    /// Its name.
    #[schema(example = "gender")]
    service: String,
    /// The release that the next run executes, where its stage is `production`; else the latest one.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    release: String,
    /// Where that release stands.
    #[schema(example = "production")]
    stage: String,
    /// The version that the team gave it.
    #[schema(example = "0.0.1")]
    version: String,
    /// The columns of its predictions; the first is the key.
    columns: Vec<ColumnView>,
    /// Most rows per key of a service that ranks; `null` where each key has one row.
    #[schema(required = true, example = json!(null))]
    top_n: Option<u32>,
    /// The five-field pattern of its schedule.
    #[schema(example = "00 18 * * *")]
    schedule: String,
    /// The zone of its schedule.
    #[schema(example = "Asia/Tokyo")]
    timezone: String,
    /// The first due instant that is not decided yet; `null` where no release is in production.
    #[schema(required = true)]
    next_due_at: Option<DateTime<Utc>>,
    /// How many generations it can go back to, the current one included.
    #[schema(example = 3)]
    generations_kept: u32,
    /// From what age on its predictions are stale.
    #[schema(example = 172_800)]
    stale_after_seconds: u64,
    /// The generation that readers see; `null` before the first publication.
    #[schema(required = true, example = 42)]
    generation: Option<i64>,
    /// When that generation was predicted.
    #[schema(required = true)]
    predicted_at: Option<DateTime<Utc>>,
    /// Seconds since then.
    #[schema(required = true, example = 5040)]
    age_seconds: Option<i64>,
    /// Whether that is more than the service allows.
    #[schema(required = true)]
    stale: Option<bool>,
}

/// A column of predictions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnView {
    /// Its name.
    #[schema(example = "user_id")]
    name: String,
    /// Its declared type.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "INT")]
    data_type: DataType,
    /// Whether it is shown only to callers with the scope `sensitive`; left out where it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sensitive: bool,
}

/// The services of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceList {
    /// By name.
    services: Vec<Service>,
}

/// List a tenant's services
///
/// By name, with the columns of their predictions, their schedules, and how old what they serve is.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services", operation_id = "listServices", tag = "services",
    params(("tenant" = String, Path, description = "The team.", example = "marketing")),
    responses((status = 200, description = "The services", body = ServiceList)))]
pub(crate) async fn list_services(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    path: PathParams,
) -> Result<Json<ServiceList>, Problem> {
    let tenant = path.tenant()?;
    let own = visible(&caller, &tenant, Check::ServicesListed);
    let records = services::list(&app.store, Some(&tenant)).await?.into_iter();
    let records = records.filter(|record| own.contain(record.path.service.as_str()));
    let now = Utc::now();
    let services = records.map(|record| view(&app, record, now)).collect();
    Ok(Json(ServiceList { services }))
}

/// Get a service
///
/// What is in production, when it runs next, the columns of its predictions, and how old what it serves is.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/services/{service}", operation_id = "getService", tag = "services",
    params(
        ("tenant" = String, Path, description = "The team.", example = "marketing"),
        ("service" = String, Path, description = "The team's service.", example = "gender"),
    ),
    responses((status = 200, description = "The service", body = Service)))]
pub(crate) async fn get_service(
    State(app): State<App>,
    path: PathParams,
) -> Result<Json<Service>, Problem> {
    let record = services::find(&app.store, &path.tenant()?, &path.service()?).await?;
    let record = record.ok_or_else(Problem::not_found)?;
    Ok(Json(view(&app, record, Utc::now())))
}

/// The service that the path names, if it exists.
pub(crate) async fn existing(app: &App, path: &PathParams) -> Result<ServiceName, Problem> {
    let service = path.service()?;
    let record = services::find(&app.store, &path.tenant()?, &service).await?;
    record.map(|_| service).ok_or_else(Problem::not_found)
}

fn view(app: &App, record: ServiceRecord, now: DateTime<Utc>) -> Service {
    let path = &record.path;
    let current = app.predictions.known(path.tenant.as_str(), path.service.as_str());
    let freshness = current.as_ref().map(|current| current.freshness(now));
    let column = |column: &cameo_domain::Column| ColumnView {
        name: column.name.to_string(),
        data_type: column.data_type,
        sensitive: record.schema.is_sensitive(column.name.as_str()),
    };
    // What answers give, not what tables hold.
    let columns = record.schema.opened().columns().map(column).collect();
    Service {
        tenant: path.tenant.to_string(),
        service: path.service.to_string(),
        release: record.release.to_string(),
        stage: record.stage.to_string(),
        version: record.version,
        columns,
        top_n: record.schema.top_n(),
        schedule: record.cron,
        timezone: record.timezone,
        next_due_at: record.next_due_at,
        generations_kept: record.generations_kept,
        stale_after_seconds: record.stale_after_seconds,
        generation: current.as_ref().map(|current| current.served.generation.0),
        predicted_at: current.as_ref().map(|current| current.served.predicted_at),
        age_seconds: freshness.as_ref().map(|at| at.age_seconds),
        stale: freshness.as_ref().map(|at| at.stale),
    }
}
