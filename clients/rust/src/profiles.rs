//! Everything that a tenant's services say about a customer.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{client::TenantClient, error::Error, http::Ask, key::Key, predictions::Predictions};

/// Most customers of one request.
const PART_KEYS_MAX: usize = 100;

/// Which services a profile is made from.
#[derive(Debug, Clone, Default)]
pub struct ProfileQuery {
    services: Vec<String>,
    missing: bool,
}

impl ProfileQuery {
    /// Only these services.
    #[must_use]
    pub fn services<S: Into<String>>(mut self, services: impl IntoIterator<Item = S>) -> Self {
        self.services = services.into_iter().map(Into::into).collect();
        self
    }

    /// Lists the services that say nothing about the customer.
    #[must_use]
    pub fn missing(mut self) -> Self {
        self.missing = true;
        self
    }
}

/// A customer's profile.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Profile {
    /// Whom it is about, as asked.
    pub key: Key,
    /// What each service says that has predictions for the customer, by the services' names.
    pub services: Vec<Attributes>,
    /// Services that could not answer; the others are complete without them.
    pub failed: Vec<Failed>,
    /// Services that say nothing about the customer, where the query asked for them.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

impl Profile {
    /// What one service says.
    #[must_use]
    pub fn service(&self, service: &str) -> Option<&Attributes> {
        self.services.iter().find(|attributes| attributes.service == service)
    }
}

/// What one service says about a customer, and from when it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Attributes {
    /// Which service.
    pub service: String,
    /// The key as the service declares it.
    pub key: Key,
    /// The prediction columns.
    pub predictions: Predictions,
    /// The publication that says so.
    pub generation: i64,
    /// The immutable version of the bundle that made it.
    pub release: String,
    /// The version that the team gave it.
    pub version: String,
    /// When it was predicted.
    pub predicted_at: DateTime<Utc>,
    /// The newest modification of the data that was read, where the warehouse tells.
    pub watermark: Option<DateTime<Utc>>,
    /// Seconds since `predicted_at`.
    pub age_seconds: i64,
    /// Whether it is older than the service allows.
    pub stale: bool,
    /// The predictions that are sensitive, and null in this answer: the key has not the scope `sensitive`.
    #[serde(default)]
    pub withheld: Vec<String>,
}

/// A service that could not answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Failed {
    /// Which service.
    pub service: String,
    /// The code of its problem.
    pub code: String,
    /// What is the matter.
    pub detail: String,
}

/// A service that says nothing about the customer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Missing {
    /// Which service.
    pub service: String,
    /// Why.
    pub reason: MissingReason,
}

/// Why a service says nothing about a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissingReason {
    /// It has no prediction for the key.
    UnknownKey,
    /// Its keys are of another type.
    KeyType,
    /// It has not published predictions yet.
    NotPublished,
    /// A reason that a newer server gives.
    #[serde(other)]
    Other,
}

impl TenantClient {
    /// Everything that the tenant's services say about a customer.
    ///
    /// # Errors
    /// [`Code::UnknownKey`](crate::Code::UnknownKey) where no service knows the customer.
    pub async fn profile(
        &self,
        key: impl Into<Key>,
        query: &ProfileQuery,
    ) -> Result<Profile, Error> {
        let key = key.into().to_string();
        if matches!(key.as_str(), "." | "..") {
            let mut profiles = self.profiles([key], query).await?;
            return Ok(profiles.remove(0));
        }
        let ask = Ask::get(vec!["v1", "profiles", &key]);
        self.http.json(self.chosen(ask, query)).await
    }

    /// The profiles of any number of customers, in the order asked. They are asked in parts of 100; a customer whom
    /// no service knows has a profile without services.
    ///
    /// # Errors
    /// A key that no service could have.
    pub async fn profiles<K: Into<Key>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        query: &ProfileQuery,
    ) -> Result<Vec<Profile>, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            keys: &'a [Key],
        }
        #[derive(Deserialize)]
        struct Found {
            profiles: Vec<Profile>,
        }
        let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
        let mut profiles = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PART_KEYS_MAX) {
            let ask = Ask::change(Method::POST, vec!["v1", "profiles:batchGet"]).harmless();
            let ask = self.chosen(ask, query).json(&Body { keys })?;
            let found: Found = self.http.json(ask).await?;
            profiles.extend(found.profiles);
        }
        Ok(profiles)
    }

    fn chosen<'a>(&'a self, ask: Ask<'a>, query: &ProfileQuery) -> Ask<'a> {
        let services = (!query.services.is_empty()).then(|| query.services.join(","));
        ask.query("tenant", Some(&self.tenant))
            .query("services", services)
            .query("missing", query.missing.then_some(true))
    }
}
