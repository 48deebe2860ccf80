//! What exports of segments need to know: which file a materialisation is, and how far a consumer has
//! come.

use cameo_domain::{ConsumerName, SegmentName, TenantName};
use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{
    By, Store, StoreError,
    row::{Columns, get},
    segments::{self, Materialisation},
};

/// Most consumers of a segment.
pub const CONSUMERS_MAX: usize = 100;
/// What a consumer acknowledged stays for so long, so that its next changes can be told.
const CONSUMER_KEPT: Days = Days::new(30);

/// A materialisation of a segment by its number.
pub async fn materialisation(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    number: u32,
) -> Result<Option<Materialisation>, StoreError> {
    let found = sqlx::query_as(
        "select * from cameo.segment_materialisations
         where tenant = $1 and segment = $2 and number = $3",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(i32::try_from(number).unwrap_or(i32::MAX))
    .fetch_optional(store.control())
    .await?;
    Ok(found)
}

/// The latest materialisation of a segment that can be read.
pub async fn latest(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<Option<Materialisation>, StoreError> {
    let found = sqlx::query_as(
        "select * from cameo.segment_materialisations
         where tenant = $1 and segment = $2 and dropped_at is null order by number desc limit 1",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .fetch_optional(store.control())
    .await?;
    Ok(found)
}

/// The secret that seals cursors, the same for every process.
pub async fn cursor_secret(store: &Store) -> Result<Vec<u8>, StoreError> {
    let secret = sqlx::query_scalar("select secret from cameo.cursor_secret")
        .fetch_one(store.control())
        .await?;
    Ok(secret)
}

/// How far a consumer has come.
#[derive(Debug, Clone, Serialize)]
pub struct ConsumerRecord {
    /// Who.
    pub consumer: ConsumerName,
    /// Up to which materialisation it has taken the changes.
    pub materialisation: u32,
    /// Who said so.
    pub acknowledged_by: String,
    /// When.
    pub acknowledged_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for ConsumerRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            consumer: row.parsed("consumer")?,
            materialisation: get(row, "materialisation", i32::unsigned_abs)?,
            acknowledged_by: row.try_get("acknowledged_by")?,
            acknowledged_at: row.try_get("acknowledged_at")?,
        })
    }
}

/// The consumers of a segment, by name.
pub async fn consumers(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<Vec<ConsumerRecord>, StoreError> {
    let records = sqlx::query_as(
        "select * from cameo.segment_consumers where tenant = $1 and segment = $2 order by consumer",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// How far one consumer has come; none where it never said.
pub async fn consumer(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    consumer: &ConsumerName,
) -> Result<Option<ConsumerRecord>, StoreError> {
    let record = sqlx::query_as(
        "select * from cameo.segment_consumers
         where tenant = $1 and segment = $2 and consumer = $3",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(consumer.as_str())
    .fetch_optional(store.control())
    .await?;
    Ok(record)
}

/// Notes that a consumer has taken everything up to a materialisation, which must exist. Whoever says an
/// older one again goes back.
pub async fn acknowledge(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    consumer: &ConsumerName,
    materialisation: u32,
    by: &By,
) -> Result<ConsumerRecord, StoreError> {
    let known = consumers(store, tenant, segment).await?;
    if known.len() >= CONSUMERS_MAX && known.iter().all(|record| record.consumer != *consumer) {
        return Err(StoreError::TooMany {
            what: "consumers of a segment",
            limit: CONSUMERS_MAX,
            found: known.len() + 1,
        });
    }
    let record = sqlx::query_as(
        "insert into cameo.segment_consumers
             (tenant, segment, consumer, materialisation, acknowledged_by)
         select $1, $2, $3, $4, $5
         where exists (select from cameo.segment_materialisations
                       where tenant = $1 and segment = $2 and number = $4)
         on conflict (tenant, segment, consumer) do update
         set materialisation = excluded.materialisation, acknowledged_at = now(),
             acknowledged_by = excluded.acknowledged_by
         returning *",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(consumer.as_str())
    .bind(i32::try_from(materialisation).unwrap_or(i32::MAX))
    .bind(&by.actor)
    .fetch_optional(store.control())
    .await?;
    let record = record.ok_or_else(|| {
        StoreError::NotFound(format!("materialisation {materialisation} of segment {segment}"))
    })?;
    let until = Utc::now().checked_add_days(CONSUMER_KEPT).unwrap_or(DateTime::<Utc>::MAX_UTC);
    segments::pin(store, tenant, segment, materialisation, until).await?;
    Ok(record)
}
