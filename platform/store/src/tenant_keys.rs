//! The tenants' keys for sensitive predictions, as the database keeps them: wrapped.

use cameo_domain::TenantName;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{Store, StoreError, row::Columns};

/// A data key, wrapped by a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which of the tenant's keys, from 1.
    pub version: u32,
    /// The key as only its master key can read it.
    pub wrapped: String,
    /// The name of that master key.
    pub master: String,
}

impl FromRow<'_, PgRow> for WrappedKey {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let version: i32 = row.try_get("version")?;
        Ok(Self {
            version: version.unsigned_abs(),
            wrapped: row.try_get("wrapped")?,
            master: row.try_get("master")?,
        })
    }
}

/// Versions count rotations and stay far below 2^31.
fn signed(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

/// The latest key of a tenant, which seals.
pub async fn latest(store: &Store, tenant: &TenantName) -> Result<Option<WrappedKey>, StoreError> {
    let found = sqlx::query_as(
        "select version, wrapped, master from cameo.tenant_keys where tenant = $1
         order by version desc limit 1",
    )
    .bind(tenant.as_str())
    .fetch_optional(store.control())
    .await?;
    Ok(found)
}

/// One version of a tenant's key.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    version: u32,
) -> Result<Option<WrappedKey>, StoreError> {
    let found = sqlx::query_as(
        "select version, wrapped, master from cameo.tenant_keys where tenant = $1 and version = $2",
    )
    .bind(tenant.as_str())
    .bind(signed(version))
    .fetch_optional(store.control())
    .await?;
    Ok(found)
}

/// Keeps a new version. Answers the one that counts: another process may have kept one first.
pub async fn add(
    store: &Store,
    tenant: &TenantName,
    new: &WrappedKey,
) -> Result<WrappedKey, StoreError> {
    let (tenant, new) = (tenant.clone(), new.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "insert into cameo.tenant_keys (tenant, version, wrapped, master)
                     select tenant, $2, $3, $4 from cameo.tenants where tenant = $1
                     on conflict do nothing",
                )
                .bind(tenant.as_str())
                .bind(signed(new.version))
                .bind(&new.wrapped)
                .bind(&new.master)
                .execute(&mut *connection)
                .await?;
                let kept = sqlx::query_as(
                    "select version, wrapped, master from cameo.tenant_keys
                     where tenant = $1 and version = $2",
                )
                .bind(tenant.as_str())
                .bind(signed(new.version))
                .fetch_optional(connection)
                .await?;
                kept.ok_or_else(|| StoreError::NotFound(format!("tenant {tenant}")))
            })
        })
        .await
}

/// The keys of all tenants that a master key has wrapped, in the order of their making.
pub async fn wrapped_by(
    store: &Store,
    master: &str,
) -> Result<Vec<(TenantName, WrappedKey)>, StoreError> {
    let rows = sqlx::query(
        "select tenant, version, wrapped, master from cameo.tenant_keys where master = $1
         order by created_at, tenant, version",
    )
    .bind(master)
    .fetch_all(store.control())
    .await?;
    let keys = rows.iter().map(|row| Ok((row.parsed("tenant")?, WrappedKey::from_row(row)?)));
    Ok(keys.collect::<Result<_, sqlx::Error>>()?)
}

/// Replaces the wrapping of a key; the key inside stays the same.
pub async fn rewrap(
    store: &Store,
    tenant: &TenantName,
    anew: &WrappedKey,
) -> Result<(), StoreError> {
    let (tenant, anew) = (tenant.clone(), anew.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "update cameo.tenant_keys set wrapped = $3, master = $4
                     where tenant = $1 and version = $2",
                )
                .bind(tenant.as_str())
                .bind(signed(anew.version))
                .bind(&anew.wrapped)
                .bind(&anew.master)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}
