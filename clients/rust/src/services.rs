//! What a tenant hosts.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    client::{Client, ServiceClient, TenantClient},
    error::Error,
    http::Ask,
};

/// A model that a tenant hosts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Service {
    /// Whose it is.
    pub tenant: String,
    /// Its name.
    pub service: String,
    /// The release that the next run executes, where its stage is production; else the latest one.
    pub release: String,
    /// Where that release stands.
    pub stage: Stage,
    /// The version that the team gave it.
    pub version: String,
    /// The columns of its predictions; the first is the key.
    pub columns: Vec<Column>,
    /// Most rows per key of a service that ranks.
    pub top_n: Option<u32>,
    /// The five-field pattern of its schedule.
    pub schedule: String,
    /// The zone of its schedule.
    pub timezone: String,
    /// The first due instant that is not decided yet.
    pub next_due_at: Option<DateTime<Utc>>,
    /// From what age on its predictions are stale.
    pub stale_after_seconds: u64,
    /// The generation that readers see; none before the first publication.
    pub generation: Option<i64>,
    /// When that generation was predicted.
    pub predicted_at: Option<DateTime<Utc>>,
    /// Seconds since then.
    pub age_seconds: Option<i64>,
    /// Whether that is more than the service allows.
    pub stale: Option<bool>,
}

/// A column of predictions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its declared type.
    #[serde(rename = "type")]
    pub data_type: DataType,
}

/// A type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum DataType {
    /// 64-bit signed integer.
    Int,
    /// IEEE 754 double.
    Float64,
    /// Text.
    String,
    /// Truth value.
    Bool,
    /// Calendar day.
    Date,
    /// Instant in UTC.
    Timestamp,
    /// A JSON document.
    Json,
    /// A type that a newer server declares.
    #[serde(other)]
    Other,
}

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Registered, not run.
    Candidate,
    /// Runs beside production and is compared with it.
    Shadow,
    /// As shadow, the last step before production.
    Canary,
    /// Runs and is served.
    Production,
    /// Out of use.
    Archived,
    /// A stage that a newer server knows.
    #[serde(other)]
    Other,
}

impl Stage {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Production => "production",
            Self::Archived => "archived",
            Self::Other => "other",
        }
    }
}

impl Client {
    /// The tenants that the key may see, by name.
    pub async fn tenants(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Tenant {
            tenant: String,
        }
        #[derive(Deserialize)]
        struct List {
            tenants: Vec<Tenant>,
        }
        let list: List = self.http.json(Ask::get(vec!["v1", "tenants"])).await?;
        Ok(list.tenants.into_iter().map(|tenant| tenant.tenant).collect())
    }
}

impl TenantClient {
    /// The tenant's services, by name.
    pub async fn services(&self) -> Result<Vec<Service>, Error> {
        #[derive(Deserialize)]
        struct List {
            services: Vec<Service>,
        }
        let list: List = self.http.json(Ask::get(self.path(&["services"]))).await?;
        Ok(list.services)
    }
}

impl ServiceClient {
    /// What is in production, when it runs next, and how old what it serves is.
    pub async fn get(&self) -> Result<Service, Error> {
        self.http.json(Ask::get(self.path(&[]))).await
    }
}
