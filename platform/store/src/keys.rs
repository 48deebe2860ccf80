//! API keys. What is kept is the hash; the key itself is never here.

use cameo_domain::{Scopes, Sha256, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{Store, StoreError, row::Columns};

/// Most keys that [`list`] gives.
const LISTED_MAX: i64 = 1_000;
/// How often a key's last use is written down at most: not with every request.
const TOUCH_SECONDS: i32 = 60;

/// A key to keep.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The public part, by which the row is found.
    pub prefix: String,
    /// Of the whole key.
    pub hash: Sha256,
    /// Whose; none: an admin key.
    pub tenant: Option<TenantName>,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Who made it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key as it is kept.
#[derive(Debug, Clone, Serialize)]
pub struct KeyRecord {
    /// Its number.
    pub id: i64,
    /// The public part.
    pub prefix: String,
    /// Of the whole key; to be compared in constant time.
    #[serde(skip)]
    pub hash: Sha256,
    /// Whose; none: an admin key.
    pub tenant: Option<TenantName>,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When somebody ended it.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl KeyRecord {
    /// Whether the key opens anything at `now`.
    #[must_use]
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

impl FromRow<'_, PgRow> for KeyRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            prefix: row.try_get("prefix")?,
            hash: row.parsed("hash")?,
            tenant: row.parsed_option("tenant")?,
            name: row.try_get("name")?,
            scopes: scopes(row)?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }
}

fn scopes(row: &PgRow) -> Result<Scopes, sqlx::Error> {
    let words: Vec<String> = row.try_get("scopes")?;
    Scopes::from_words(&words).map_err(|source| sqlx::Error::ColumnDecode {
        index: "scopes".to_owned(),
        source: Box::new(source),
    })
}

/// Keeps a new key.
pub async fn insert(store: &Store, new: &NewKey) -> Result<KeyRecord, StoreError> {
    let new = new.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let record = sqlx::query_as(
                    "insert into cameo.api_keys (prefix, hash, tenant, name, created_by, expires_at,
                         scopes)
                     values ($1, $2, $3, $4, $5, $6, $7) returning *",
                )
                .bind(&new.prefix)
                .bind(new.hash.to_string())
                .bind(new.tenant.as_ref().map(TenantName::as_str))
                .bind(&new.name)
                .bind(&new.created_by)
                .bind(new.expires_at)
                .bind(new.scopes.words())
                .fetch_one(connection)
                .await?;
                Ok(record)
            })
        })
        .await
}

/// The key with this public part, active or not. The caller compares the hash.
pub async fn find_by_prefix(store: &Store, prefix: &str) -> Result<Option<KeyRecord>, StoreError> {
    let record = sqlx::query_as("select * from cameo.api_keys where prefix = $1")
        .bind(prefix)
        .fetch_optional(store.control())
        .await?;
    Ok(record)
}

/// The keys of a tenant, or all, newest first.
pub async fn list(
    store: &Store,
    tenant: Option<&TenantName>,
) -> Result<Vec<KeyRecord>, StoreError> {
    let records = sqlx::query_as(
        "select * from cameo.api_keys where $1::text is null or tenant = $1
         order by id desc limit $2",
    )
    .bind(tenant.map(TenantName::as_str))
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// Ends a key for good. With a tenant, only a key of that tenant.
pub async fn revoke(
    store: &Store,
    tenant: Option<&TenantName>,
    prefix: &str,
) -> Result<KeyRecord, StoreError> {
    let (tenant, prefix) = (tenant.cloned(), prefix.to_owned());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let record = sqlx::query_as(
                    "update cameo.api_keys set revoked_at = coalesce(revoked_at, now())
                     where prefix = $1 and ($2::text is null or tenant = $2) returning *",
                )
                .bind(&prefix)
                .bind(tenant.as_ref().map(TenantName::as_str))
                .fetch_optional(connection)
                .await?;
                record.ok_or_else(|| StoreError::NotFound(format!("key {prefix}")))
            })
        })
        .await
}

/// Notes that the key was used.
pub async fn touch(store: &Store, prefix: &str) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.api_keys set last_used_at = now()
         where prefix = $1 and (last_used_at is null
             or last_used_at < now() - make_interval(secs => $2))",
    )
    .bind(prefix)
    .bind(f64::from(TOUCH_SECONDS))
    .execute(store.control())
    .await?;
    Ok(())
}
