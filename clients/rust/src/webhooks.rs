//! Who is told of changes, and what each was told.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{client::TenantClient, error::Error, http::Ask};

/// A place that is told of changes by signed events.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Webhook {
    /// What it is called.
    pub webhook: String,
    /// Where events go.
    pub url: String,
    /// Of which segments it is told; empty: of all.
    pub segments: Vec<String>,
    /// What signs its events, after Standard Webhooks: told when the webhook is made and when its secret is replaced,
    /// and never again.
    pub secret: Option<String>,
    /// Until when the secret before this one signs as well.
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when every delivery has failed.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was disabled, after days of failures or because the receiver asked for it.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why.
    pub disabled_reason: Option<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("webhook", &self.webhook)
            .field("url", &self.url)
            .field("segments", &self.segments)
            .field("failing_since", &self.failing_since)
            .field("disabled_reason", &self.disabled_reason)
            .finish_non_exhaustive()
    }
}

/// One message to a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// The header `webhook-id`: the same at each attempt.
    pub id: String,
    /// The type of the event: `cameo.segment.changed` or `cameo.webhook.ping`.
    pub event: String,
    /// Which segment changed.
    pub segment: Option<String>,
    /// Its new materialisation.
    pub materialisation: Option<u32>,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// What the receiver answered last.
    pub status: Option<u16>,
    /// Why the last attempt was no success.
    pub reason: Option<String>,
    /// When there was something to tell.
    pub created_at: DateTime<Utc>,
    /// When it is tried next.
    pub next_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// Is still to be taken by the receiver.
    Pending,
    /// Was taken.
    Delivered,
    /// There was nothing to tell.
    Unchanged,
    /// The webhook was disabled before.
    Abandoned,
    /// A state that a newer server knows.
    #[serde(other)]
    Other,
}

impl TenantClient {
    /// The tenant's webhooks, by name.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        #[derive(Deserialize)]
        struct List {
            webhooks: Vec<Webhook>,
        }
        let list: List = self.http.json(Ask::get(self.path(&["webhooks"]))).await?;
        Ok(list.webhooks)
    }

    /// One webhook.
    pub async fn webhook(&self, webhook: &str) -> Result<Webhook, Error> {
        self.http.json(Ask::get(self.path(&["webhooks", webhook]))).await
    }

    /// Makes a webhook, or changes it; of all segments where none is named. A new one comes with its secret. One that
    /// was disabled is enabled.
    pub async fn put_webhook(
        &self,
        webhook: &str,
        url: &str,
        segments: &[&str],
    ) -> Result<Webhook, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            url: &'a str,
            segments: &'a [&'a str],
        }
        // Not sent again where it may have arrived: the secret is in the first answer alone.
        let ask = Ask::change(Method::PUT, self.path(&["webhooks", webhook]));
        self.http.json(ask.json(&Body { url, segments })?).await
    }

    /// Ends a webhook, with everything that it was still to be told.
    pub async fn delete_webhook(&self, webhook: &str) -> Result<(), Error> {
        let ask = Ask::change(Method::DELETE, self.path(&["webhooks", webhook]));
        self.http.respond(&ask).await.map(drop)
    }

    /// Replaces the secret; for so many hours, a day unless given, the one before signs as well.
    pub async fn rotate_webhook(
        &self,
        webhook: &str,
        both_hours: Option<u32>,
    ) -> Result<Webhook, Error> {
        #[derive(Serialize)]
        struct Body {
            #[serde(skip_serializing_if = "Option::is_none")]
            both_hours: Option<u32>,
        }
        let action = format!("{webhook}:rotate");
        let ask = Ask::change(Method::POST, self.path(&["webhooks", &action]));
        self.http.json(ask.json(&Body { both_hours })?).await
    }

    /// Sends a test message, and gives the id of its delivery.
    pub async fn ping_webhook(&self, webhook: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Ping {
            delivery: String,
        }
        let action = format!("{webhook}:ping");
        let ask = Ask::change(Method::POST, self.path(&["webhooks", &action]));
        let ping: Ping = self.http.json(ask).await?;
        Ok(ping.delivery)
    }

    /// The latest messages to a webhook, newest first.
    pub async fn deliveries(&self, webhook: &str) -> Result<Vec<Delivery>, Error> {
        #[derive(Deserialize)]
        struct List {
            deliveries: Vec<Delivery>,
        }
        let ask = Ask::get(self.path(&["webhooks", webhook, "deliveries"]));
        let list: List = self.http.json(ask).await?;
        Ok(list.deliveries)
    }
}
