//! What is to be told to webhooks: an outbox, written by whatever makes the news.

use cameo_domain::{Epoch, SegmentName, TenantName, WebhookName};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, Row, postgres::PgRow};

use super::not_found;
use crate::{
    Store, StoreError,
    row::{Columns, get, signed},
};

/// A webhook whose deliveries have all failed for so many days is disabled.
const FAILING_DAYS_MAX: i32 = 5;
/// Deliveries that ended longer ago are forgotten.
const KEPT_DAYS: i32 = 30;

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A segment was materialised anew.
    Segment {
        /// Which segment.
        segment: SegmentName,
        /// The number of the new materialisation.
        materialisation: u32,
    },
    /// Somebody tests the webhook.
    Ping,
}

/// A delivery, held until its lease ends.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The same at each attempt.
    pub id: String,
    /// Whose webhook.
    pub tenant: TenantName,
    /// Which one.
    pub webhook: WebhookName,
    /// Where to.
    pub url: String,
    /// The secrets that sign, the newest first.
    pub secrets: Vec<Vec<u8>>,
    /// What is told.
    pub subject: Subject,
    /// The text that is sent, once it was written.
    pub body: Option<String>,
    /// When there was something to tell.
    pub created_at: DateTime<Utc>,
    /// The number of this claim.
    pub epoch: Epoch,
    /// How often it was tried, this time included.
    pub attempt: u32,
}

fn subject(row: &PgRow) -> Result<Subject, sqlx::Error> {
    let number: Option<i32> = row.try_get("materialisation")?;
    Ok(match row.parsed_option("segment")?.zip(number.map(i32::unsigned_abs)) {
        Some((segment, materialisation)) => Subject::Segment { segment, materialisation },
        None => Subject::Ping,
    })
}

impl FromRow<'_, PgRow> for Delivery {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let previous: Option<Vec<u8>> = row.try_get("previous_secret")?;
        let mut secrets = vec![row.try_get("secret")?];
        secrets.extend(previous);
        Ok(Self {
            id: row.try_get("delivery")?,
            tenant: row.parsed("tenant")?,
            webhook: row.parsed("webhook")?,
            url: row.try_get("url")?,
            secrets,
            subject: subject(row)?,
            body: row.try_get("body")?,
            created_at: row.try_get("created_at")?,
            epoch: get(row, "epoch", Epoch)?,
            attempt: get(row, "attempts", i32::unsigned_abs)?,
        })
    }
}

/// Takes the next delivery. A webhook is told of a segment's changes one after the other, oldest first;
/// webhooks and segments overtake each other freely.
pub async fn claim(store: &Store, lease_seconds: u32) -> Result<Option<Delivery>, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let delivery = sqlx::query_as(
                    "update cameo.webhook_deliveries d
                     set epoch = d.epoch + 1, attempts = d.attempts + 1,
                         lease_expires_at = clock_timestamp() + make_interval(secs => $1)
                     from cameo.webhooks w
                     where (w.tenant, w.webhook) = (d.tenant, d.webhook) and d.delivery = (
                         select n.delivery from cameo.webhook_deliveries n
                         where n.state = 'pending' and n.not_before <= clock_timestamp()
                           and (n.lease_expires_at is null
                                or n.lease_expires_at < clock_timestamp())
                           and not exists (
                               select from cameo.webhook_deliveries older
                               where (older.tenant, older.webhook, older.segment)
                                   = (n.tenant, n.webhook, n.segment)
                                 and older.state = 'pending'
                                 and older.materialisation < n.materialisation)
                         order by n.not_before limit 1
                         for update of n skip locked)
                     returning d.*, w.url, w.secret,
                         case when w.previous_secret_until > clock_timestamp()
                             then w.previous_secret end as previous_secret",
                )
                .bind(f64::from(lease_seconds))
                .fetch_optional(connection)
                .await?;
                Ok(delivery)
            })
        })
        .await
}

/// Writes down what is sent, before it is sent.
pub async fn write_body(store: &Store, delivery: &Delivery, body: &str) -> Result<(), StoreError> {
    let written = sqlx::query(
        "update cameo.webhook_deliveries set body = $3
         where delivery = $1 and epoch = $2 and state = 'pending'",
    )
    .bind(&delivery.id)
    .bind(delivery.epoch.0)
    .bind(body)
    .execute(store.control())
    .await?
    .rows_affected();
    held(delivery, written)
}

/// How a delivery ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The receiver took it, with this status.
    Delivered(u16),
    /// Nothing was to tell.
    Unchanged,
}

/// Ends a delivery. One that was delivered ends the time for which its webhook failed.
pub async fn end(store: &Store, delivery: &Delivery, ending: Ending) -> Result<(), StoreError> {
    let delivery = delivery.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let (state, status) = match ending {
                    Ending::Delivered(status) => ("delivered", Some(i32::from(status))),
                    Ending::Unchanged => ("unchanged", None),
                };
                let ended = sqlx::query(
                    "update cameo.webhook_deliveries
                     set state = $3, status = $4, reason = null, lease_expires_at = null,
                         ended_at = clock_timestamp()
                     where delivery = $1 and epoch = $2 and state = 'pending'",
                )
                .bind(&delivery.id)
                .bind(delivery.epoch.0)
                .bind(state)
                .bind(status)
                .execute(&mut *connection)
                .await?
                .rows_affected();
                held(&delivery, ended)?;
                if status.is_some() {
                    sqlx::query(
                        "update cameo.webhooks set failing_since = null
                         where tenant = $1 and webhook = $2 and failing_since is not null",
                    )
                    .bind(delivery.tenant.as_str())
                    .bind(delivery.webhook.as_str())
                    .execute(connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
}

/// Why a delivery failed this time.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What the receiver answered, where it did.
    pub status: Option<u16>,
    /// Why that is no success.
    pub reason: String,
    /// After how many seconds it is tried again; none: never, and the webhook is disabled.
    pub again_seconds: Option<u32>,
}

/// Gives a delivery back. A webhook that refuses for good, or that has failed for days, is disabled, and
/// what it was still to be told is abandoned. Whether it was.
pub async fn fail(
    store: &Store,
    delivery: &Delivery,
    failure: &Failure,
) -> Result<bool, StoreError> {
    let (delivery, failure) = (delivery.clone(), failure.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let failed = sqlx::query(
                    "update cameo.webhook_deliveries
                     set status = $3, reason = $4, lease_expires_at = null,
                         not_before = clock_timestamp() + make_interval(secs => $5)
                     where delivery = $1 and epoch = $2 and state = 'pending'",
                )
                .bind(&delivery.id)
                .bind(delivery.epoch.0)
                .bind(failure.status.map(i32::from))
                .bind(&failure.reason)
                .bind(f64::from(failure.again_seconds.unwrap_or_default()))
                .execute(&mut *connection)
                .await?
                .rows_affected();
                held(&delivery, failed)?;
                let disabled: bool = sqlx::query_scalar(
                    "update cameo.webhooks
                     set failing_since = coalesce(failing_since, clock_timestamp()),
                         disabled_at = case when $4 or failing_since
                             < clock_timestamp() - make_interval(days => $5)
                             then clock_timestamp() end,
                         disabled_reason = case when $4 or failing_since
                             < clock_timestamp() - make_interval(days => $5) then $3 end
                     where tenant = $1 and webhook = $2 returning disabled_at is not null",
                )
                .bind(delivery.tenant.as_str())
                .bind(delivery.webhook.as_str())
                .bind(&failure.reason)
                .bind(failure.again_seconds.is_none())
                .bind(FAILING_DAYS_MAX)
                .fetch_one(&mut *connection)
                .await?;
                if disabled {
                    sqlx::query(
                        "update cameo.webhook_deliveries
                         set state = 'abandoned', ended_at = clock_timestamp()
                         where tenant = $1 and webhook = $2 and state = 'pending'",
                    )
                    .bind(delivery.tenant.as_str())
                    .bind(delivery.webhook.as_str())
                    .execute(connection)
                    .await?;
                }
                Ok(disabled)
            })
        })
        .await
}

fn held(delivery: &Delivery, rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        return Ok(());
    }
    Err(StoreError::NotFound(format!("claim {} of delivery {}", delivery.epoch, delivery.id)))
}

/// Asks for a test message; gives its id.
pub async fn ping(
    store: &Store,
    tenant: &TenantName,
    webhook: &WebhookName,
) -> Result<String, StoreError> {
    let delivery = sqlx::query_scalar(
        "insert into cameo.webhook_deliveries (tenant, webhook, event)
         select tenant, webhook, 'cameo.webhook.ping' from cameo.webhooks
         where tenant = $1 and webhook = $2 returning delivery",
    )
    .bind(tenant.as_str())
    .bind(webhook.as_str())
    .fetch_optional(store.control())
    .await?;
    delivery.ok_or_else(|| not_found(webhook))
}

/// A delivery as it is shown.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    /// The same at each attempt.
    pub id: String,
    /// What is told.
    pub subject: Subject,
    /// `pending`, `delivered`, `unchanged` or `abandoned`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What the receiver answered last.
    pub status: Option<u16>,
    /// Why that was no success.
    pub reason: Option<String>,
    /// When there was something to tell.
    pub created_at: DateTime<Utc>,
    /// When it is tried next, where it waits.
    pub next_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for DeliveryRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        let status: Option<i32> = row.try_get("status")?;
        let not_before = row.try_get("not_before")?;
        Ok(Self {
            id: row.try_get("delivery")?,
            subject: subject(row)?,
            attempts: get(row, "attempts", i32::unsigned_abs)?,
            status: status.and_then(|status| u16::try_from(status).ok()),
            reason: row.try_get("reason")?,
            created_at: row.try_get("created_at")?,
            next_at: (state == "pending").then_some(not_before),
            ended_at: row.try_get("ended_at")?,
            state,
        })
    }
}

/// The latest deliveries of a webhook, newest first.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    webhook: &WebhookName,
    limit: u32,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let records = sqlx::query_as(
        "select * from cameo.webhook_deliveries where tenant = $1 and webhook = $2
         order by created_at desc, delivery limit $3",
    )
    .bind(tenant.as_str())
    .bind(webhook.as_str())
    .bind(signed(u64::from(limit)))
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// Forgets what ended long ago.
pub async fn retain(store: &Store) -> Result<(), StoreError> {
    sqlx::query(
        "delete from cameo.webhook_deliveries where ended_at < now() - make_interval(days => $1)",
    )
    .bind(KEPT_DAYS)
    .execute(store.control())
    .await?;
    Ok(())
}
