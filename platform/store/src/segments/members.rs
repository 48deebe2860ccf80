//! Who was a member when: the files, and how long they are kept.

use std::collections::BTreeMap;

use cameo_domain::{GenerationId, SegmentName, ServiceName, Sha256, TenantName};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// So many of a segment's latest materialisations are kept.
pub const KEPT: u32 = 8;
/// Most materialisations that are listed.
const LISTED_MAX: i64 = 200;

/// Who was a member at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Materialisation {
    /// Its number within the segment, from 1.
    pub number: u32,
    /// By which version of the definition.
    pub version: u32,
    /// The oldest time of prediction among the generations.
    pub as_of: DateTime<Utc>,
    /// From what it was made.
    pub generations: BTreeMap<ServiceName, GenerationId>,
    /// How many members there were.
    pub members: u64,
    /// Of how many customers.
    pub profiles: u64,
    /// The digest of its file.
    pub sha256: Sha256,
    /// The size of its file.
    pub bytes: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its file was given up; none while it can be read.
    pub dropped_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Materialisation {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let generations: Json<BTreeMap<ServiceName, GenerationId>> = row.try_get("generations")?;
        Ok(Self {
            number: get(row, "number", i32::unsigned_abs)?,
            version: get(row, "version", i32::unsigned_abs)?,
            as_of: row.try_get("as_of")?,
            generations: generations.0,
            members: row.count("members")?.unwrap_or_default(),
            profiles: row.count("profiles")?.unwrap_or_default(),
            sha256: row.parsed("sha256")?,
            bytes: row.count("bytes")?.unwrap_or_default(),
            created_at: row.try_get("created_at")?,
            dropped_at: row.try_get("dropped_at")?,
        })
    }
}

/// The segment's materialisations, newest first.
pub async fn list(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<Vec<Materialisation>, StoreError> {
    let records = sqlx::query_as(
        "select * from cameo.segment_materialisations where tenant = $1 and segment = $2
         order by number desc limit $3",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(records)
}

/// The newest materialisation of each of the tenant's segments.
pub async fn latest(
    store: &Store,
    tenant: &TenantName,
) -> Result<BTreeMap<SegmentName, Materialisation>, StoreError> {
    let rows = sqlx::query(
        "select distinct on (segment) * from cameo.segment_materialisations where tenant = $1
         order by segment, number desc",
    )
    .bind(tenant.as_str())
    .fetch_all(store.control())
    .await?;
    let pairs =
        rows.iter().map(|row| Ok((row.parsed("segment")?, Materialisation::from_row(row)?)));
    Ok(pairs.collect::<Result<_, sqlx::Error>>()?)
}

/// Keeps a materialisation readable until `until`, and answers whether it still is: somebody reads it page
/// by page.
pub async fn pin(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    number: u32,
    until: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let pinned = sqlx::query(
        "update cameo.segment_materialisations set pinned_until = greatest(pinned_until, $4)
         where tenant = $1 and segment = $2 and number = $3 and dropped_at is null",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(i32::try_from(number).unwrap_or(i32::MAX))
    .bind(until)
    .execute(store.control())
    .await?
    .rows_affected();
    Ok(pinned == 1)
}

/// A file that no longer has to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterialisationFile {
    /// Whose.
    pub tenant: TenantName,
    /// Of which segment.
    pub segment: SegmentName,
    /// Which materialisation.
    pub number: u32,
    /// Its address in the artifact store.
    pub sha256: Sha256,
}

impl FromRow<'_, PgRow> for MaterialisationFile {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: row.parsed("tenant")?,
            segment: row.parsed("segment")?,
            number: get(row, "number", i32::unsigned_abs)?,
            sha256: row.parsed("sha256")?,
        })
    }
}

/// Gives up what is older than the last [`KEPT`] of its segment, or of a segment that was removed, and not
/// pinned. Answers all files that are to be deleted, those included whose deletion was cut short: a label
/// names its materialisation, so no other record has the same file.
pub async fn expired(store: &Store) -> Result<Vec<MaterialisationFile>, StoreError> {
    sqlx::query(
        "update cameo.segment_materialisations m set dropped_at = clock_timestamp()
         from cameo.segments s
         where (s.tenant, s.segment) = (m.tenant, m.segment) and m.dropped_at is null
           and coalesce(m.pinned_until, '-infinity') < clock_timestamp()
           and (s.definition is null or m.number <= (
               select max(l.number) from cameo.segment_materialisations l
               where (l.tenant, l.segment) = (m.tenant, m.segment)) - $1)",
    )
    .bind(i32::try_from(KEPT).unwrap_or(i32::MAX))
    .execute(store.control())
    .await?;
    let files = sqlx::query_as(
        "select tenant, segment, number, sha256 from cameo.segment_materialisations
         where dropped_at is not null and removed_at is null order by created_at limit $1",
    )
    .bind(LISTED_MAX)
    .fetch_all(store.control())
    .await?;
    Ok(files)
}

/// Records that a file was deleted.
pub async fn removed(store: &Store, file: &MaterialisationFile) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.segment_materialisations set removed_at = clock_timestamp()
         where tenant = $1 and segment = $2 and number = $3 and dropped_at is not null",
    )
    .bind(file.tenant.as_str())
    .bind(file.segment.as_str())
    .bind(i32::try_from(file.number).unwrap_or(i32::MAX))
    .execute(store.control())
    .await?;
    Ok(())
}
