//! How long runs wait for a worker.

use cameo_domain::TenantName;
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{Store, StoreError, row::Columns};

/// Since when a run `r` waits: a scheduled one since it was due, any other since it was asked for, and one
/// that is tried again since it may be. `$attempt`: the number of its first attempt, 0 while it waits for it.
macro_rules! waiting_since_sql {
    ($attempt:literal) => {
        concat!(
            "case when r.trigger = 'schedule' and r.attempt = ",
            $attempt,
            " then least(r.due_at, r.not_before) else r.not_before end"
        )
    };
}
pub(super) use waiting_since_sql;

/// What waits of a tenant's runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waiting {
    /// Whose.
    pub tenant: TenantName,
    /// Runs that may be claimed, but for quota, and are not.
    pub runs: u64,
    /// How long the one that waited longest has.
    pub oldest_seconds: f64,
}

impl FromRow<'_, PgRow> for Waiting {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: row.parsed("tenant")?,
            runs: row.count("runs")?.unwrap_or_default(),
            oldest_seconds: row.try_get("oldest_seconds")?,
        })
    }
}

/// What waits, by tenant. Who has nothing waiting is left out.
pub async fn waiting(store: &Store) -> Result<Vec<Waiting>, StoreError> {
    let waiting = sqlx::query_as(concat!(
        "select r.tenant, count(*) as runs,
                extract(epoch from clock_timestamp() - min(",
        waiting_since_sql!("0"),
        "))::float8 as oldest_seconds
         from cameo.runs r where r.state = 'queued' and r.not_before <= now()
         group by r.tenant order by r.tenant"
    ))
    .fetch_all(store.control())
    .await?;
    Ok(waiting)
}
