//! What tenants and keys may ask of the API.

use cameo_domain::TenantName;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{Store, StoreError, row::Columns};

/// Most keys with a rate of their own that [`granted`] gives.
const KEYS_MAX: i64 = 100_000;

/// What a tenant is granted; what is not said is what the operators' settings grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLimits {
    /// Requests per second of each of its keys.
    pub requests_per_second: Option<u32>,
    /// Requests that each of its keys may make at once.
    pub burst: Option<u32>,
    /// Requests of the tenant in flight.
    pub concurrent_requests: Option<u32>,
}

/// A tenant with its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRequestLimits {
    /// Which.
    pub tenant: TenantName,
    /// What it is granted.
    pub limits: RequestLimits,
}

/// A key that is allowed less than its tenant's others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRate {
    /// Its public part.
    pub prefix: String,
    /// Requests per second.
    pub requests_per_second: u32,
}

/// Everything that is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantedLimits {
    /// All tenants, by name.
    pub tenants: Vec<TenantRequestLimits>,
    /// Keys with a rate of their own that still work, by prefix.
    pub keys: Vec<KeyRate>,
}

impl FromRow<'_, PgRow> for TenantRequestLimits {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let limit = |column| -> Result<Option<u32>, sqlx::Error> {
            let limit: Option<i32> = row.try_get(column)?;
            Ok(limit.map(i32::unsigned_abs))
        };
        let limits = RequestLimits {
            requests_per_second: limit("requests_per_second")?,
            burst: limit("request_burst")?,
            concurrent_requests: limit("concurrent_requests")?,
        };
        Ok(Self { tenant: row.parsed("tenant")?, limits })
    }
}

impl FromRow<'_, PgRow> for KeyRate {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let rate: i32 = row.try_get("requests_per_second")?;
        Ok(Self { prefix: row.try_get("prefix")?, requests_per_second: rate.unsigned_abs() })
    }
}

/// What all tenants and keys are granted, for whoever enforces it.
pub async fn granted(store: &Store) -> Result<GrantedLimits, StoreError> {
    let tenants = sqlx::query_as(
        "select tenant, requests_per_second, request_burst, concurrent_requests
         from cameo.tenants order by tenant",
    )
    .fetch_all(store.control())
    .await?;
    let keys = sqlx::query_as(
        "select prefix, requests_per_second from cameo.api_keys
         where requests_per_second is not null and revoked_at is null
             and (expires_at is null or expires_at > now())
         order by prefix limit $1",
    )
    .bind(KEYS_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(GrantedLimits { tenants, keys })
}

/// Grants a tenant what it says.
pub async fn grant(
    store: &Store,
    tenant: &TenantName,
    limits: RequestLimits,
) -> Result<(), StoreError> {
    let tenant = tenant.clone();
    let column = |limit: Option<u32>| limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX));
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "update cameo.tenants
                     set requests_per_second = $2, request_burst = $3, concurrent_requests = $4
                     where tenant = $1",
                )
                .bind(tenant.as_str())
                .bind(column(limits.requests_per_second))
                .bind(column(limits.burst))
                .bind(column(limits.concurrent_requests))
                .execute(connection)
                .await?;
                match changed.rows_affected() {
                    0 => Err(StoreError::NotFound(format!("tenant {tenant}"))),
                    _ => Ok(()),
                }
            })
        })
        .await
}

/// Allows a key so many requests per second, or with none what its tenant's keys may make.
pub async fn limit_key(
    store: &Store,
    prefix: &str,
    requests_per_second: Option<u32>,
) -> Result<(), StoreError> {
    let prefix = prefix.to_owned();
    let rate = requests_per_second.map(|rate| i32::try_from(rate).unwrap_or(i32::MAX));
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "update cameo.api_keys set requests_per_second = $2 where prefix = $1",
                )
                .bind(&prefix)
                .bind(rate)
                .execute(connection)
                .await?;
                match changed.rows_affected() {
                    0 => Err(StoreError::NotFound(format!("key {prefix}"))),
                    _ => Ok(()),
                }
            })
        })
        .await
}
