//! API keys. What is kept is the hash; the key itself is never here.

use cameo_checkpoint::{Check, passes};
use cameo_domain::{Scopes, ServiceName, Services, Sha256, TenantName};
use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    row::{Columns, names},
};

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
    /// For which services of the tenant.
    pub services: Services,
    /// Who made it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// How a key is replaced.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The key that ends.
    pub prefix: String,
    /// The public part of the key that takes over.
    pub successor: String,
    /// Of the whole successor.
    pub hash: Sha256,
    /// How long both work.
    pub overlap: Duration,
    /// Who rotates.
    pub by: String,
    /// Now.
    pub now: DateTime<Utc>,
}

/// A key that was replaced.
#[derive(Debug, Clone, Serialize)]
pub struct Rotated {
    /// The one that ends, with its end.
    pub old: KeyRecord,
    /// The one that takes over.
    pub new: KeyRecord,
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
    /// For which services of the tenant; none stands for all.
    pub services: Services,
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
    /// The prefix of the key that takes over, where it was rotated.
    pub successor: Option<String>,
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
            services: services(row)?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
            last_used_at: row.try_get("last_used_at")?,
            successor: row.try_get("successor")?,
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

fn services(row: &PgRow) -> Result<Services, sqlx::Error> {
    let names: Option<Vec<String>> = row.try_get("services")?;
    let parsed = names.map(|names| names.into_iter().map(ServiceName::try_from).collect());
    let parsed: Option<Vec<ServiceName>> = parsed.transpose().map_err(|source| {
        sqlx::Error::ColumnDecode { index: "services".to_owned(), source: Box::new(source) }
    })?;
    Ok(parsed.into())
}

/// Keeps a new key.
pub async fn insert(store: &Store, new: &NewKey) -> Result<KeyRecord, StoreError> {
    let new = new.clone();
    store.transaction(move |connection| Box::pin(async move { add(connection, &new).await })).await
}

async fn add(connection: &mut PgConnection, new: &NewKey) -> Result<KeyRecord, StoreError> {
    let record = sqlx::query_as(
        "insert into cameo.api_keys (prefix, hash, tenant, name, created_by, expires_at, scopes,
             services)
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning *",
    )
    .bind(&new.prefix)
    .bind(new.hash.to_string())
    .bind(new.tenant.as_ref().map(TenantName::as_str))
    .bind(&new.name)
    .bind(&new.created_by)
    .bind(new.expires_at)
    .bind(new.scopes.words())
    .bind(names(&new.services))
    .fetch_one(connection)
    .await?;
    Ok(record)
}

/// The key with this public part, active or not. The caller compares the hash.
pub async fn find_by_prefix(store: &Store, prefix: &str) -> Result<Option<KeyRecord>, StoreError> {
    let record = sqlx::query_as("select * from cameo.api_keys where prefix = $1")
        .bind(prefix)
        .fetch_optional(store.control())
        .await?;
    Ok(record)
}

/// A key of the tenant.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    prefix: &str,
) -> Result<KeyRecord, StoreError> {
    let found = find_by_prefix(store, prefix).await?;
    own(found, Some(tenant), prefix)
}

/// A key that was found, where it is the tenant's.
fn own(
    found: Option<KeyRecord>,
    tenant: Option<&TenantName>,
    prefix: &str,
) -> Result<KeyRecord, StoreError> {
    let is_own = |key: &KeyRecord| {
        let is_own = tenant.is_none() || key.tenant.as_ref() == tenant;
        passes(Check::TenantOfKey, is_own)
    };
    found.filter(is_own).ok_or_else(|| StoreError::NotFound(format!("key {prefix}")))
}

/// Finds a key and keeps others from changing it until the transaction ends.
async fn lock(
    connection: &mut PgConnection,
    tenant: Option<&TenantName>,
    prefix: &str,
) -> Result<KeyRecord, StoreError> {
    let found = sqlx::query_as("select * from cameo.api_keys where prefix = $1 for update")
        .bind(prefix)
        .fetch_optional(connection)
        .await?;
    own(found, tenant, prefix)
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
                lock(connection, tenant.as_ref(), &prefix).await?;
                let record = sqlx::query_as(
                    "update cameo.api_keys set revoked_at = coalesce(revoked_at, now())
                     where prefix = $1 returning *",
                )
                .bind(&prefix)
                .fetch_one(connection)
                .await?;
                Ok(record)
            })
        })
        .await
}

/// Makes a key that may do what another one may, and lets that one end after the overlap. One that
/// ends by itself is followed by one that lives as long. With a tenant, only a key of that tenant.
///
/// # Errors
/// [`StoreError::KeyEnded`] where the key opens nothing any more or was rotated already.
pub async fn rotate(
    store: &Store,
    tenant: Option<&TenantName>,
    rotation: &Rotation,
) -> Result<Rotated, StoreError> {
    let (tenant, rotation) = (tenant.cloned(), rotation.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let old = lock(connection, tenant.as_ref(), &rotation.prefix).await?;
                may_be_rotated(&old, rotation.now)?;
                let lifetime = old.expires_at.map(|end| end - old.created_at);
                let new = NewKey {
                    prefix: rotation.successor.clone(),
                    hash: rotation.hash,
                    tenant: old.tenant,
                    name: old.name,
                    scopes: old.scopes,
                    services: old.services,
                    created_by: rotation.by,
                    expires_at: lifetime.map(|lifetime| rotation.now + lifetime),
                };
                let new = add(&mut *connection, &new).await?;
                // What limits the old key limits the new one.
                sqlx::query(
                    "update cameo.api_keys successor
                     set requests_per_second = predecessor.requests_per_second
                     from cameo.api_keys predecessor
                     where successor.prefix = $2 and predecessor.prefix = $1
                         and predecessor.requests_per_second is not null",
                )
                .bind(&rotation.prefix)
                .bind(&rotation.successor)
                .execute(&mut *connection)
                .await?;
                let old = sqlx::query_as(
                    "update cameo.api_keys
                     set successor = $2, expires_at = least(expires_at, $3) where prefix = $1
                     returning *",
                )
                .bind(&rotation.prefix)
                .bind(&rotation.successor)
                .bind(rotation.now + rotation.overlap)
                .fetch_one(connection)
                .await?;
                Ok(Rotated { old, new })
            })
        })
        .await
}

fn may_be_rotated(key: &KeyRecord, now: DateTime<Utc>) -> Result<(), StoreError> {
    let prefix = &key.prefix;
    let why = match &key.successor {
        Some(successor) => format!("key {prefix} was rotated already, {successor} takes over"),
        None if key.revoked_at.is_some() => format!("key {prefix} was revoked; make another"),
        None if !key.is_active(now) => format!("key {prefix} has expired; make another"),
        None => return Ok(()),
    };
    Err(StoreError::KeyEnded(why))
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
