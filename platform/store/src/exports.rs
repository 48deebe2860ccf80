//! What exports of segments need to know: which file a materialisation is, how far a consumer has come,
//! and what has to be kept for those that are still reading.

use cameo_domain::{ConsumerName, SegmentName, Sha256, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{By, Store, StoreError, row::Columns};

/// How long the file of a materialisation stays at least after an export of it began.
const PINNED_HOURS: i32 = 24;
/// Most consumers of a segment.
pub const CONSUMERS_MAX: usize = 100;

/// Who was a member at one time, as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Materialisation {
    /// Its number within the segment, from 1.
    pub number: u32,
    /// As of when.
    pub as_of: DateTime<Utc>,
    /// The services from whose generations it was made.
    pub services: Vec<String>,
    /// How many members.
    pub members: u64,
    /// The file; none where it is no longer kept.
    pub sha256: Option<Sha256>,
    /// The number of the one before.
    pub previous: Option<u32>,
}

impl FromRow<'_, PgRow> for Materialisation {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: number(row, "number")?.unwrap_or_default(),
            as_of: row.try_get("as_of")?,
            services: row.try_get("services")?,
            members: row.count("members")?.unwrap_or_default(),
            sha256: row.parsed_option("sha256")?,
            previous: number(row, "previous")?,
        })
    }
}

/// A materialisation's number.
pub(crate) fn number(row: &PgRow, column: &str) -> Result<Option<u32>, sqlx::Error> {
    let number: Option<i64> = row.try_get(column)?;
    let wrong = |source| sqlx::Error::ColumnDecode { index: column.to_owned(), source };
    number.map(|number| u32::try_from(number).map_err(|error| wrong(Box::new(error)))).transpose()
}

macro_rules! materialisation_sql {
    ($rest:literal) => {
        concat!(
            "select number::bigint as number, as_of, members::bigint as members, sha256,
                    previous::bigint as previous,
                    array(select jsonb_object_keys(generations)) as services
             from cameo.segment_materialisations where tenant = $1 and segment = $2 ",
            $rest
        )
    };
}

/// A materialisation of a segment by its number.
pub async fn materialisation(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    number: u32,
) -> Result<Option<Materialisation>, StoreError> {
    let found = sqlx::query_as(materialisation_sql!("and number = $3"))
        .bind(tenant.as_str())
        .bind(segment.as_str())
        .bind(i64::from(number))
        .fetch_optional(store.control())
        .await?;
    Ok(found)
}

/// The latest materialisation of a segment that has a file.
pub async fn latest(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<Option<Materialisation>, StoreError> {
    let found =
        sqlx::query_as(materialisation_sql!("and sha256 is not null order by number desc limit 1"))
            .bind(tenant.as_str())
            .bind(segment.as_str())
            .fetch_optional(store.control())
            .await?;
    Ok(found)
}

/// Keeps the files of materialisations for those who read them.
pub async fn pin(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    numbers: &[u32],
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.segment_pins (tenant, segment, materialisation, pinned_until)
         select $1, $2, number, now() + make_interval(hours => $4) from unnest($3::bigint[]) number
         on conflict (tenant, segment, materialisation)
         do update set pinned_until = excluded.pinned_until
         -- A listing of many pages need not write with each of them.
         where segment_pins.pinned_until < excluded.pinned_until - interval '5 minutes'",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(numbers.iter().map(|number| i64::from(*number)).collect::<Vec<_>>())
    .bind(PINNED_HOURS)
    .execute(store.control())
    .await?;
    Ok(())
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
            materialisation: number(row, "materialisation")?.unwrap_or_default(),
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
    .bind(i64::from(materialisation))
    .bind(&by.actor)
    .fetch_optional(store.control())
    .await?;
    record.ok_or_else(|| {
        StoreError::NotFound(format!("materialisation {materialisation} of segment {segment}"))
    })
}

/// Forgets pins that are over.
pub async fn retain_pins(store: &Store) -> Result<(), StoreError> {
    sqlx::query("delete from cameo.segment_pins where pinned_until < now()")
        .execute(store.control())
        .await?;
    Ok(())
}
