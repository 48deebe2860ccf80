//! Webhooks: who is told of changes, and what is still to be told ([`deliveries`]).

pub mod deliveries;

use cameo_domain::{SegmentName, TenantName, WebhookName};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{By, Store, StoreError, row::Columns};

/// Most webhooks of a tenant.
pub const WEBHOOKS_MAX: usize = 50;

/// A webhook as it is kept, without its secrets.
#[derive(Debug, Clone)]
pub struct WebhookRecord {
    /// What it is called.
    pub webhook: WebhookName,
    /// Where events go.
    pub url: String,
    /// Of which segments it is told; empty: of all.
    pub segments: Vec<SegmentName>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when the secret before this one signs as well.
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// Since when every delivery has failed.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was disabled, and why.
    pub disabled: Option<(DateTime<Utc>, String)>,
}

impl FromRow<'_, PgRow> for WebhookRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let segments: Vec<String> = row.try_get("segments")?;
        let disabled_at: Option<DateTime<Utc>> = row.try_get("disabled_at")?;
        let disabled_reason: Option<String> = row.try_get("disabled_reason")?;
        Ok(Self {
            webhook: row.parsed("webhook")?,
            url: row.try_get("url")?,
            segments: segments.iter().filter_map(|segment| segment.parse().ok()).collect(),
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            previous_secret_until: row.try_get("previous_secret_until")?,
            failing_since: row.try_get("failing_since")?,
            disabled: disabled_at.zip(disabled_reason),
        })
    }
}

/// What a webhook is to be.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// What it is called.
    pub webhook: WebhookName,
    /// Where events go.
    pub url: String,
    /// Of which segments it is told; empty: of all.
    pub segments: Vec<SegmentName>,
    /// Its secret, where it is new.
    pub secret: Vec<u8>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Put {
    /// It is new, with the secret that was given.
    Created(WebhookRecord),
    /// It was there: its address and segments are as given, its secret is as it was, and it is enabled.
    Changed(WebhookRecord),
}

/// Makes a webhook, or changes it.
pub async fn put(
    store: &Store,
    tenant: &TenantName,
    new: &NewWebhook,
    by: &By,
) -> Result<Put, StoreError> {
    let (tenant, new, actor) = (tenant.clone(), new.clone(), by.actor.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                // One after the other, so that two of them cannot both be the last that there is room for.
                sqlx::query("select from cameo.tenants where tenant = $1 for no key update")
                    .bind(tenant.as_str())
                    .execute(&mut *connection)
                    .await?;
                let row = sqlx::query(
                    "insert into cameo.webhooks as w
                         (tenant, webhook, url, segments, secret, created_by)
                     values ($1, $2, $3, $4, $5, $6)
                     on conflict (tenant, webhook) do update
                     set url = excluded.url, segments = excluded.segments, failing_since = null,
                         disabled_at = null, disabled_reason = null
                     returning w.*, w.xmax = 0 as created,
                         (select count(*) from cameo.webhooks where tenant = $1) as others",
                )
                .bind(tenant.as_str())
                .bind(new.webhook.as_str())
                .bind(&new.url)
                .bind(new.segments.iter().map(SegmentName::as_str).collect::<Vec<_>>())
                .bind(&new.secret)
                .bind(&actor)
                .fetch_one(connection)
                .await?;
                let record = WebhookRecord::from_row(&row)?;
                if !row.try_get::<bool, _>("created")? {
                    return Ok(Put::Changed(record));
                }
                // The statement counts those that were there before it.
                let others = row.count("others")?.unwrap_or_default();
                let found = usize::try_from(others).unwrap_or(usize::MAX).saturating_add(1);
                if found > WEBHOOKS_MAX {
                    return Err(StoreError::TooMany {
                        what: "webhooks of a tenant",
                        limit: WEBHOOKS_MAX,
                        found,
                    });
                }
                Ok(Put::Created(record))
            })
        })
        .await
}

/// The webhooks of a tenant, by name.
pub async fn list(store: &Store, tenant: &TenantName) -> Result<Vec<WebhookRecord>, StoreError> {
    let records = sqlx::query_as("select * from cameo.webhooks where tenant = $1 order by webhook")
        .bind(tenant.as_str())
        .fetch_all(store.control())
        .await?;
    Ok(records)
}

/// One webhook.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    webhook: &WebhookName,
) -> Result<WebhookRecord, StoreError> {
    let record = sqlx::query_as("select * from cameo.webhooks where tenant = $1 and webhook = $2")
        .bind(tenant.as_str())
        .bind(webhook.as_str())
        .fetch_optional(store.control())
        .await?;
    record.ok_or_else(|| not_found(webhook))
}

/// Ends a webhook, with everything that it was still to be told.
pub async fn delete(
    store: &Store,
    tenant: &TenantName,
    webhook: &WebhookName,
) -> Result<(), StoreError> {
    let (tenant, webhook) = (tenant.clone(), webhook.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let deleted =
                    sqlx::query("delete from cameo.webhooks where tenant = $1 and webhook = $2")
                        .bind(tenant.as_str())
                        .bind(webhook.as_str())
                        .execute(connection)
                        .await?
                        .rows_affected();
                if deleted == 1 { Ok(()) } else { Err(not_found(&webhook)) }
            })
        })
        .await
}

/// Replaces the secret; for `both_seconds` the one before signs as well.
pub async fn rotate(
    store: &Store,
    tenant: &TenantName,
    webhook: &WebhookName,
    secret: Vec<u8>,
    both_seconds: u32,
) -> Result<WebhookRecord, StoreError> {
    let (tenant, webhook) = (tenant.clone(), webhook.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let record = sqlx::query_as(
                    "update cameo.webhooks
                     set previous_secret = secret, secret = $3,
                         previous_secret_until = now() + make_interval(secs => $4)
                     where tenant = $1 and webhook = $2 returning *",
                )
                .bind(tenant.as_str())
                .bind(webhook.as_str())
                .bind(&secret)
                .bind(f64::from(both_seconds))
                .fetch_optional(connection)
                .await?;
                record.ok_or_else(|| not_found(&webhook))
            })
        })
        .await
}

fn not_found(webhook: &WebhookName) -> StoreError {
    StoreError::NotFound(format!("webhook {webhook}"))
}
