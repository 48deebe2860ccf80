//! Whom runs leave out.

use std::collections::HashSet;

use cameo_domain::{DataType, ErasureId, Key, ServiceName, ServicePath, Sha256, TenantName};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use super::{
    KeyType,
    fingerprint::{self, Fingerprint, array},
};
use crate::{
    By, Store, StoreError,
    connect::say,
    row::{Columns, get},
};

/// Most suppressions of a tenant: a run holds them all in memory, some 64 MB at the most.
pub const SUPPRESSIONS_MAX: usize = 1_000_000;
/// Most suppressions that [`suppressions`] gives.
const LISTED_MAX: i64 = 1_000;

/// The suppressed keys of a service, as a run needs them: held in memory, asked for each row.
#[derive(Debug, Clone, Default)]
pub struct Suppressed {
    known: Option<(Fingerprint, HashSet<[u8; 32]>)>,
}

impl Suppressed {
    /// Nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Whether nobody is suppressed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_none()
    }

    /// Whether an integer key is suppressed.
    #[must_use]
    pub fn has_int(&self, key: i64) -> bool {
        self.known.as_ref().is_some_and(|(hash, known)| known.contains(&hash.of_int(key)))
    }

    /// Whether a text is suppressed.
    #[must_use]
    pub fn has_text(&self, key: &str) -> bool {
        self.known.as_ref().is_some_and(|(hash, known)| known.contains(&hash.of_text(key)))
    }

    /// Whether a key is suppressed.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        match key {
            Key::Int(key) => self.has_int(*key),
            Key::String(key) => self.has_text(key),
        }
    }
}

/// The suppressed keys of a service whose keys are of `key_type`.
pub async fn suppressed(
    store: &Store,
    path: &ServicePath,
    key_type: DataType,
) -> Result<Suppressed, StoreError> {
    let mut connection = store.control().acquire().await?;
    let fingerprint = fingerprint::of_tenant(&mut connection, &path.tenant).await?;
    let Some(fingerprint) = fingerprint else { return Ok(Suppressed::nobody()) };
    let mut rows = sqlx::query_scalar::<_, Vec<u8>>(
        "select fingerprint from cameo.suppressions
         where tenant = $1 and key_type = $2 and (service is null or service = $3)
           and lifted_at is null",
    )
    .bind(path.tenant.as_str())
    .bind(key_type.as_str())
    .bind(path.service.as_str())
    .fetch(&mut *connection);
    let mut known = HashSet::new();
    while let Some(bytes) = rows.try_next().await? {
        known.insert(array(&bytes));
    }
    let known = Some(known).filter(|known| !known.is_empty());
    Ok(Suppressed { known: known.map(|known| (fingerprint, known)) })
}

/// A suppression, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuppressionRecord {
    /// Its number.
    pub suppression: i64,
    /// `INT` or `STRING`.
    pub key_type: String,
    /// HMAC of the key.
    pub fingerprint: Sha256,
    /// In which service; none: in all.
    pub service: Option<ServiceName>,
    /// The erasure that left it.
    pub erasure: ErasureId,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Until when; none while runs leave the customer out.
    pub lifted_at: Option<DateTime<Utc>>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// Why.
    pub lift_reason: Option<String>,
}

impl FromRow<'_, PgRow> for SuppressionRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
        Ok(Self {
            suppression: row.try_get("suppression")?,
            key_type: row.try_get("key_type")?,
            fingerprint: Sha256::from(array(&fingerprint)),
            service: row.parsed_option("service")?,
            erasure: get(row, "erasure", ErasureId)?,
            created_at: row.try_get("created_at")?,
            lifted_at: row.try_get("lifted_at")?,
            lifted_by: row.try_get("lifted_by")?,
            lift_reason: row.try_get("lift_reason")?,
        })
    }
}

/// The tenant's latest suppressions, newest first.
pub async fn suppressions(
    store: &Store,
    tenant: &TenantName,
) -> Result<Vec<SuppressionRecord>, StoreError> {
    let records = sqlx::query_as(
        "select * from cameo.suppressions where tenant = $1 order by suppression desc limit $2",
    )
    .bind(tenant.as_str())
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// Lifts every suppression of a key, in all services: a customer has come back. The next run has them
/// again; what was erased stays erased.
pub async fn lift(
    store: &Store,
    tenant: &TenantName,
    key: &str,
    key_type: KeyType,
    reason: &str,
    by: &By,
) -> Result<Vec<SuppressionRecord>, StoreError> {
    let keys = key_type.keys(key)?;
    let (tenant, reason, by) = (tenant.clone(), reason.to_owned(), by.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &by.actor, Some(&by.origin)).await?;
                let none = || StoreError::NotFound("a suppression of this key".to_owned());
                let fingerprint =
                    fingerprint::of_tenant(connection, &tenant).await?.ok_or_else(none)?;
                let wanted: Vec<Vec<u8>> =
                    keys.iter().map(|key| fingerprint.of(key).to_vec()).collect();
                let lifted: Vec<SuppressionRecord> = sqlx::query_as(
                    "update cameo.suppressions
                     set lifted_at = clock_timestamp(), lifted_by = $3, lift_reason = $4
                     where tenant = $1 and fingerprint = any ($2) and lifted_at is null
                     returning *",
                )
                .bind(tenant.as_str())
                .bind(wanted)
                .bind(&by.actor)
                .bind(&reason)
                .fetch_all(connection)
                .await?;
                if lifted.is_empty() { Err(none()) } else { Ok(lifted) }
            })
        })
        .await
}
