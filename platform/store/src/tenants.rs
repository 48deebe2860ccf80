//! Tenants and their schemas.

use cameo_domain::TenantName;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    row::{Columns, quoted, tenant_schema},
};

/// What a tenant is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantSettings {
    /// How many of its runs may run at once, at least 1.
    pub max_concurrent_runs: u32,
}

/// A tenant as the control plane knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantRecord {
    /// Its name.
    pub tenant: TenantName,
    /// How many of its runs may run at once.
    pub max_concurrent_runs: u32,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for TenantRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let quota: i32 = row.try_get("max_concurrent_runs")?;
        Ok(Self {
            tenant: row.parsed("tenant")?,
            max_concurrent_runs: quota.unsigned_abs(),
            created_at: row.try_get("created_at")?,
        })
    }
}

/// Creates the tenant, its schema and the role of its SQL users, or brings its settings up to date. Where
/// the role may not be made the tenant does without: `cameo doctor` tells what is left to do.
pub async fn ensure(
    store: &Store,
    tenant: &TenantName,
    settings: &TenantSettings,
) -> Result<(), StoreError> {
    let tenant = tenant.clone();
    let quota = i32::try_from(settings.max_concurrent_runs).unwrap_or(i32::MAX);
    store
        .transaction(move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "insert into cameo.tenants (tenant, max_concurrent_runs) values ($1, $2)
                     on conflict (tenant) do update
                     set max_concurrent_runs = excluded.max_concurrent_runs",
                )
                .bind(tenant.as_str())
                .bind(quota)
                .execute(&mut *connection)
                .await?;
                // The tenant's row is locked until commit, so two processes do not race here.
                let schema = quoted(&tenant_schema(&tenant));
                sqlx::query(AssertSqlSafe(format!("create schema if not exists {schema}")))
                    .execute(&mut *connection)
                    .await?;
                if let Some(left) = confine(connection, &tenant).await? {
                    tracing::warn!(
                        %tenant,
                        "SQL users of the tenant have no role yet: the platform's own has no right \
                         to make it; let an administrator of Postgres run: {left};"
                    );
                }
                Ok(())
            })
        })
        .await
}

/// Gives the tenant the role of its SQL users. Answers the statement that an administrator has to run
/// first, where the platform may not.
pub(crate) async fn confine(
    connection: &mut PgConnection,
    tenant: &TenantName,
) -> Result<Option<String>, StoreError> {
    let left = sqlx::query_scalar("select cameo.confine_tenant($1)")
        .bind(tenant.as_str())
        .fetch_one(connection)
        .await?;
    Ok(left)
}

/// All tenants, by name.
pub async fn list(store: &Store) -> Result<Vec<TenantRecord>, StoreError> {
    let records = sqlx::query_as(
        "select tenant, max_concurrent_runs, created_at from cameo.tenants order by tenant",
    )
    .fetch_all(store.control())
    .await?;
    Ok(records)
}
