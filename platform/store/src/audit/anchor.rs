//! Anchors: heads of the chain that are kept where the database's owner cannot rewrite them.

use cameo_domain::AuditAnchor;
use sqlx::Row;

use crate::{Store, StoreError, row::Columns};

/// An anchor is due after this many entries …
pub const ANCHOR_ENTRIES: i64 = 1_000;
/// … or, where there is any new entry, after this many seconds.
pub const ANCHOR_SECONDS: u32 = 600;

/// The head of the chain, where it is time to anchor it: [`ANCHOR_ENTRIES`] or [`ANCHOR_SECONDS`]
/// after the last anchor.
pub async fn due_anchor(store: &Store) -> Result<Option<AuditAnchor>, StoreError> {
    let row = sqlx::query(
        "select a.entry, a.at, a.hash
         from cameo.audit_head h
         join cameo.audit a on a.entry = h.entries
         left join lateral (
             select entry, written_at from cameo.audit_anchors order by entry desc limit 1) l on true
         where h.entries > coalesce(l.entry, 0)
           and (l.entry is null or h.entries - l.entry >= $1
                or l.written_at <= clock_timestamp() - make_interval(secs => $2))",
    )
    .bind(ANCHOR_ENTRIES)
    .bind(f64::from(ANCHOR_SECONDS))
    .fetch_optional(store.control())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(AuditAnchor {
        entry: row.try_get("entry")?,
        at: row.try_get("at")?,
        hash: row.parsed("hash")?,
    }))
}

/// Notes that the anchor was written, so that the next one is due later and a lost one is missed.
pub async fn note_anchor(store: &Store, anchor: &AuditAnchor) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.audit_anchors (entry, hash) values ($1, $2) on conflict do nothing",
    )
    .bind(anchor.entry)
    .bind(anchor.hash.to_string())
    .execute(store.control())
    .await?;
    Ok(())
}
