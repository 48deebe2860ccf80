//! Rows that were read but not scored.

use cameo_domain::{Epoch, RunId, TenantName};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{Store, StoreError, runs::hold};

/// Most rows that one attempt keeps, as a sample; the run holds the full count.
pub const QUARANTINE_ROWS_MAX: usize = 1_000;

/// A row that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
pub struct QuarantinedRow {
    /// Its key, where it has one.
    pub key: Option<String>,
    /// The column at fault, where it is one.
    #[sqlx(rename = "column_name")]
    pub column: Option<String>,
    /// Why it was set aside.
    pub reason: String,
}

/// Adds rows to the sample of this attempt; beyond [`QUARANTINE_ROWS_MAX`] in all they are refused.
pub async fn insert(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    rows: &[QuarantinedRow],
) -> Result<(), StoreError> {
    let (what, limit) = ("quarantined rows of an attempt", QUARANTINE_ROWS_MAX);
    if rows.len() > limit {
        return Err(StoreError::TooMany { what, limit, found: rows.len() });
    }
    // Postgres cannot store zero bytes, and a row may be here because of one.
    let clean = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', "\u{fffd}"));
    let keys: Vec<_> = rows.iter().map(|row| clean(&row.key)).collect();
    let columns: Vec<_> = rows.iter().map(|row| clean(&row.column)).collect();
    let reasons: Vec<_> = rows.iter().map(|row| row.reason.replace('\0', "\u{fffd}")).collect();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, run, epoch).await?;
                let present: i64 = sqlx::query_scalar(
                    "select count(*) from cameo.quarantine where run = $1 and epoch = $2",
                )
                .bind(run.0)
                .bind(epoch.0)
                .fetch_one(&mut *connection)
                .await?;
                let found = usize::try_from(present).unwrap_or(usize::MAX) + keys.len();
                if found > limit {
                    return Err(StoreError::TooMany { what, limit, found });
                }
                sqlx::query(
                    "insert into cameo.quarantine (run, epoch, ordinal, key, column_name, reason)
                     select $1, $2, $3 + row.ordinality, row.key, row.column_name, row.reason
                     from unnest($4::text[], $5::text[], $6::text[])
                         with ordinality as row (key, column_name, reason)",
                )
                .bind(run.0)
                .bind(epoch.0)
                .bind(present)
                .bind(keys)
                .bind(columns)
                .bind(reasons)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// The sample of the run's latest attempt.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    run: RunId,
) -> Result<Vec<QuarantinedRow>, StoreError> {
    let rows = sqlx::query_as(
        "select q.key, q.column_name, q.reason
         from cameo.quarantine q join cameo.runs r on (r.run, r.epoch) = (q.run, q.epoch)
         where r.tenant = $1 and r.run = $2 order by q.ordinal",
    )
    .bind(tenant.as_str())
    .bind(run.0)
    .fetch_all(store.control())
    .await?;
    Ok(rows)
}
