//! API keys, and what one's own may do.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, TenantClient},
    error::Error,
    http::Ask,
};

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ApiKey {
    /// The public part, which names it.
    pub prefix: String,
    /// What it is for.
    pub name: String,
    /// What it may do; `all` stands for everything but `sensitive`.
    pub scopes: Vec<String>,
    /// For which services it is; none for all of the tenant.
    pub services: Option<Vec<String>>,
    /// Whether it opens anything now.
    pub active: bool,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When somebody ended it.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The key that takes over, where it was rotated.
    pub successor: Option<String>,
}

/// A key that was made. Its secret is shown this once.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct NewKey {
    /// The whole key.
    pub secret: String,
    /// What is kept of it.
    pub key: ApiKey,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What a key shall be: no more than the caller's own may do.
#[derive(Debug, Clone, Serialize)]
pub struct KeyRequest {
    name: String,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_days: Option<u32>,
}

impl KeyRequest {
    /// A key for something that may do this.
    #[must_use]
    pub fn new<S: Into<String>>(name: &str, scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        Self { name: name.to_owned(), scopes, services: None, expires_days: None }
    }

    /// For these services alone.
    #[must_use]
    pub fn services<S: Into<String>>(mut self, services: impl IntoIterator<Item = S>) -> Self {
        self.services = Some(services.into_iter().map(Into::into).collect());
        self
    }

    /// Ends by itself after so many days.
    #[must_use]
    pub fn expires_days(mut self, days: u32) -> Self {
        self.expires_days = Some(days);
        self
    }
}

/// Who calls, and what the caller may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Me {
    /// The caller in ledgers and audit trails.
    pub actor: String,
    /// What holds for every tenant that is not listed; none for everybody but the platform's operators.
    pub everywhere: Option<Vec<String>>,
    /// What holds for each tenant.
    pub tenants: Vec<Membership>,
}

/// What a caller may do with a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Membership {
    /// Which.
    pub tenant: String,
    /// The scopes, one by one.
    pub scopes: Vec<String>,
    /// With which of its services; none for all.
    pub services: Option<Vec<String>>,
}

impl Client {
    /// Who the key speaks for, and what it may do.
    pub async fn me(&self) -> Result<Me, Error> {
        self.http.json(Ask::get(vec!["v1", "me"])).await
    }
}

impl TenantClient {
    /// The tenant's keys, the newest first.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        #[derive(Deserialize)]
        struct List {
            keys: Vec<ApiKey>,
        }
        let list: List = self.http.json(Ask::get(self.path(&["keys"]))).await?;
        Ok(list.keys)
    }

    /// Makes a key.
    pub async fn create_key(&self, key: &KeyRequest) -> Result<NewKey, Error> {
        self.http.json(Ask::change(Method::POST, self.path(&["keys"])).json(key)?).await
    }

    /// Makes a key that may do the same as this one, which ends after the overlap; a day unless given.
    pub async fn rotate_key(
        &self,
        prefix: &str,
        overlap_seconds: Option<u32>,
    ) -> Result<NewKey, Error> {
        #[derive(Serialize)]
        struct Body {
            #[serde(skip_serializing_if = "Option::is_none")]
            overlap_seconds: Option<u32>,
        }
        let action = format!("{prefix}:rotate");
        let ask = Ask::change(Method::POST, self.path(&["keys", &action]));
        self.http.json(ask.json(&Body { overlap_seconds })?).await
    }

    /// Ends a key for good.
    pub async fn revoke_key(&self, prefix: &str) -> Result<ApiKey, Error> {
        self.http.json(Ask::change(Method::DELETE, self.path(&["keys", prefix])).harmless()).await
    }
}
