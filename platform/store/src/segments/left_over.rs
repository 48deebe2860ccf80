//! Files of members that nobody may read, and who made them.
//!
//! A customer who is erased may be in a file that a worker is making at that moment. Its claim is made out of date
//! with the request, so the file is never recorded; the row of the segment names it as unwanted until it is
//! deleted. As with snapshots only who holds the segment deletes, so that no file is deleted that somebody makes again.

use cameo_domain::{Epoch, SegmentName, Sha256, TenantName};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};

use super::SegmentTask;
use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// Refuses whoever makes members of the tenant's segments now, and names what they may have stored. Of all
/// segments: one whose definition has changed meanwhile does not say any more what it was made from.
pub(crate) async fn outdate(
    connection: &mut PgConnection,
    tenant: &TenantName,
) -> Result<(), StoreError> {
    // Without a look at the lease: a claim that has not committed yet is waited for.
    sqlx::query(
        "update cameo.segments
         set epoch = epoch + case when outdated then 0 else 1 end, outdated = true,
             unwanted = unwanted || array_remove(array[announced], null), announced = null
         where tenant = $1",
    )
    .bind(tenant.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives back a segment whose claim was made out of date, so that the next one need not wait for its lease.
/// Nothing where somebody else holds it.
pub async fn let_go(store: &Store, task: &SegmentTask) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.segments set lease_expires_at = null
         where tenant = $1 and segment = $2 and epoch = $3 + 1 and outdated",
    )
    .bind(task.tenant.as_str())
    .bind(task.segment.as_str())
    .bind(task.epoch.0)
    .execute(store.control())
    .await?;
    Ok(())
}

/// Names a file that was stored and could not be recorded, so that it is deleted. Nothing where another worker
/// has made the same, or is about to.
pub async fn disown(store: &Store, task: &SegmentTask, sha256: &Sha256) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.segments s set unwanted = array_append(unwanted, $3)
         where tenant = $1 and segment = $2 and announced is distinct from $3
           and not $3 = any (unwanted)
           and not exists (select from cameo.segment_materialisations m
                           where (m.tenant, m.segment) = (s.tenant, s.segment)
                             and m.sha256 = $3 and m.removed_at is null)",
    )
    .bind(task.tenant.as_str())
    .bind(task.segment.as_str())
    .bind(sha256.to_string())
    .execute(store.control())
    .await?;
    Ok(())
}

/// Files of a segment that are to be deleted, held until the lease ends.
#[derive(Debug, Clone)]
pub struct LeftOver {
    /// Whose.
    pub tenant: TenantName,
    /// Of which segment.
    pub segment: SegmentName,
    /// The number of this claim.
    pub epoch: Epoch,
    /// Their addresses in the artifact store.
    pub files: Vec<Sha256>,
}

impl FromRow<'_, PgRow> for LeftOver {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let files: Vec<String> = row.try_get("files")?;
        let parsed = files.iter().map(|sha256| sha256.parse());
        Ok(Self {
            tenant: row.parsed("tenant")?,
            segment: row.parsed("segment")?,
            epoch: get(row, "epoch", Epoch)?,
            files: parsed.collect::<Result<_, _>>().map_err(|error| sqlx::Error::ColumnDecode {
                index: "files".to_owned(),
                source: Box::new(error),
            })?,
        })
    }
}

/// Takes the next segment with files that are to be deleted: those that are unwanted, and what a worker that
/// died may have stored of a segment that was removed since.
pub async fn claim_left_over(
    store: &Store,
    lease_seconds: u32,
) -> Result<Option<LeftOver>, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let claimed = sqlx::query_as(
                    "update cameo.segments s
                     set epoch = s.epoch + 1, outdated = false,
                         lease_expires_at = clock_timestamp() + make_interval(secs => $1)
                     where (s.tenant, s.segment) = (
                         select n.tenant, n.segment from cameo.segments n
                         where (n.unwanted <> '{}'
                                or n.definition is null and n.announced is not null)
                           and (n.lease_expires_at is null
                                or n.lease_expires_at < clock_timestamp())
                         order by n.tenant, n.segment limit 1 for update of n skip locked)
                     returning s.tenant, s.segment, s.epoch, s.unwanted
                         || case when s.definition is null
                             then array_remove(array[s.announced], null) else '{}' end as files",
                )
                .bind(f64::from(lease_seconds))
                .fetch_optional(connection)
                .await?;
                Ok(claimed)
            })
        })
        .await
}

/// Records that the files are deleted, and gives the segment back. They are also where another customer was erased
/// meanwhile.
pub async fn left_over_deleted(store: &Store, left_over: &LeftOver) -> Result<(), StoreError> {
    let deleted: Vec<String> = left_over.files.iter().map(Sha256::to_string).collect();
    sqlx::query(
        "update cameo.segments
         set unwanted = array(select file from unnest(unwanted) file where file <> all ($4)),
             announced = case when announced = any ($4) then null else announced end,
             lease_expires_at = null
         where tenant = $1 and segment = $2 and (epoch = $3 or epoch = $3 + 1 and outdated)",
    )
    .bind(left_over.tenant.as_str())
    .bind(left_over.segment.as_str())
    .bind(left_over.epoch.0)
    .bind(deleted)
    .execute(store.control())
    .await?;
    Ok(())
}
