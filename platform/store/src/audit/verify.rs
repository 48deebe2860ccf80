//! Checking the whole chain.

use cameo_domain::AuditAnchor;
use futures_util::TryStreamExt;
use serde::Serialize;

use super::chain::{Broken, Head, Link, Walk};
use crate::{Store, StoreError};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries that are as they were written, from the first on.
    pub entries: i64,
    /// The hash of the last of them.
    pub hash: String,
    /// How many anchors the chain was compared with.
    pub anchors: usize,
    /// Where the chain breaks; none where it is whole.
    pub broken: Option<Broken>,
}

/// Walks the chain in one consistent view of the database and compares it with its head and with
/// `anchors`, which must have been read before: an anchor is younger than its entry, so a sound
/// database has the entry of each.
pub async fn verify(store: &Store, anchors: Vec<AuditAnchor>) -> Result<Verified, StoreError> {
    let count = anchors.len();
    let mut walk = Walk::new(anchors);
    let broken = follow(store, &mut walk).await?;
    let hash = walk.hash().to_owned();
    Ok(Verified { entries: walk.entries(), hash, anchors: count, broken })
}

async fn follow(store: &Store, walk: &mut Walk) -> Result<Option<Broken>, StoreError> {
    // A connection of its own: it reads for as long as the trail is, and ends with its snapshot.
    let mut connection = store.dedicated().await?;
    sqlx::query("begin isolation level repeatable read read only").execute(&mut connection).await?;
    let head: Option<Head> = sqlx::query_as("select entries, hash from cameo.audit_head")
        .fetch_optional(&mut connection)
        .await?;
    let noted: Vec<i64> =
        sqlx::query_scalar("select entry from cameo.audit_anchors order by entry")
            .fetch_all(&mut connection)
            .await?;
    let highest = head.as_ref().map_or(0, |head| head.entries);
    let mut links = sqlx::query_as::<_, Link>(
        "select entry, trim_scale(extract(epoch from at) * 1000000)::text as at, actor, origin,
             tenant, service, action, subject, detail::text, previous_hash, hash
         from cameo.audit order by entry",
    )
    .fetch(&mut connection);
    while let Some(link) = links.try_next().await? {
        if let Err(broken) = walk.step(&link, highest) {
            return Ok(Some(broken));
        }
    }
    Ok(walk.finish(head.as_ref(), &noted).err())
}
