//! Working through the erasures of a tenant: one worker at a time, under a lease.

use cameo_domain::{DataType, ErasureId, Key, Reason, TenantName};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::{ErasedKey, quarantined::write_anew};
use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// Most erasures that one turn works on: a table or file is written anew once for all of them.
pub const ERASURES_AT_ONCE: i64 = 1_000;
/// How long a tenant's next turn waits for runs and mirrors that are under way.
const PAUSE_SECONDS: f64 = 1.0;

/// A tenant whose erasures this worker holds until its lease ends.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Whose.
    pub tenant: TenantName,
    /// The number of this claim.
    pub epoch: i32,
    /// How many turns came before that failed, and this one.
    pub attempt: u32,
    /// Which ones, oldest first; at most [`ERASURES_AT_ONCE`].
    pub erasures: Vec<ErasureId>,
}

impl FromRow<'_, PgRow> for Turn {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: row.parsed("tenant")?,
            epoch: row.try_get("epoch")?,
            attempt: get(row, "attempts", i32::unsigned_abs)?,
            erasures: Vec::new(),
        })
    }
}

impl Turn {
    pub(super) fn ids(&self) -> Vec<i64> {
        self.erasures.iter().map(|erasure| erasure.0).collect()
    }
}

/// Takes the turn of the tenant that waits longest.
pub async fn claim(store: &Store, lease_seconds: u32) -> Result<Option<Turn>, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let turn: Option<Turn> = sqlx::query_as(
                    "update cameo.erasure_turns t
                     set epoch = t.epoch + 1, attempts = t.attempts + 1,
                         lease_expires_at = clock_timestamp() + make_interval(secs => $1)
                     where t.tenant = (
                         select n.tenant from cameo.erasure_turns n
                         where n.not_before <= clock_timestamp()
                           and (n.lease_expires_at is null
                                or n.lease_expires_at < clock_timestamp())
                           and (n.keys_to_forget or exists (
                               select from cameo.erasures e
                               where e.tenant = n.tenant and e.state = 'erasing'))
                         order by n.not_before, n.tenant limit 1 for update of n skip locked)
                     returning t.*",
                )
                .bind(f64::from(lease_seconds))
                .fetch_optional(&mut *connection)
                .await?;
                let Some(mut turn) = turn else { return Ok(None) };
                let erasures: Vec<i64> = sqlx::query_scalar(
                    "select erasure from cameo.erasures
                     where tenant = $1 and state = 'erasing' order by erasure limit $2",
                )
                .bind(turn.tenant.as_str())
                .bind(ERASURES_AT_ONCE)
                .fetch_all(connection)
                .await?;
                turn.erasures = erasures.into_iter().map(ErasureId).collect();
                Ok(Some(turn))
            })
        })
        .await
}

/// Renews the lease of a turn that takes long.
pub async fn heartbeat(store: &Store, turn: &Turn, lease_seconds: u32) -> Result<(), StoreError> {
    let renewed = sqlx::query(
        "update cameo.erasure_turns
         set lease_expires_at = clock_timestamp() + make_interval(secs => $3)
         where tenant = $1 and epoch = $2",
    )
    .bind(turn.tenant.as_str())
    .bind(turn.epoch)
    .bind(f64::from(lease_seconds))
    .execute(store.control())
    .await?
    .rows_affected();
    if renewed == 1 { Ok(()) } else { Err(StoreError::StaleTurn(turn.tenant.clone())) }
}

/// Ends a turn. What is left, because runs or mirrors are still under way, waits for the next one.
pub async fn end(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_turns
         set lease_expires_at = null, attempts = 0, reason = null,
             not_before = clock_timestamp() + make_interval(secs => $3)
         where tenant = $1 and epoch = $2",
    )
    .bind(turn.tenant.as_str())
    .bind(turn.epoch)
    .bind(PAUSE_SECONDS)
    .execute(store.control())
    .await?;
    Ok(())
}

/// Ends a turn that failed, with the reason; the next one begins at `not_before`.
pub async fn put_off(
    store: &Store,
    turn: &Turn,
    reason: Reason,
    not_before: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_turns
         set lease_expires_at = null, reason = $3, not_before = $4
         where tenant = $1 and epoch = $2",
    )
    .bind(turn.tenant.as_str())
    .bind(turn.epoch)
    .bind(Json(reason))
    .bind(not_before)
    .execute(store.control())
    .await?;
    Ok(())
}

/// Locks the turn if this claim still holds it.
pub(crate) async fn hold(connection: &mut PgConnection, turn: &Turn) -> Result<(), StoreError> {
    let held = sqlx::query(
        "select from cameo.erasure_turns where tenant = $1 and epoch = $2 for no key update",
    )
    .bind(turn.tenant.as_str())
    .bind(turn.epoch)
    .fetch_optional(connection)
    .await?;
    held.map(|_| ()).ok_or_else(|| StoreError::StaleTurn(turn.tenant.clone()))
}

/// The condition that an erasure `e` concerns a generation `g`.
macro_rules! concerned_sql {
    () => {
        "g.tenant = e.tenant and (e.services is null or g.service = any (e.services))
         and case g.schema -> 0 ->> 'type' when 'INT' then e.fingerprint_int
             else e.fingerprint_string end is not null"
    };
}

/// Looks which places there are. The first look notes the runs under way: they may have read the
/// suppressions before. While one of them goes on, an erasure stays open, because what it leaves behind is
/// a place too.
pub async fn discover(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                for sql in [
                    "insert into cameo.erasure_steps (erasure, place, subject, epoch, service)
                     select e.erasure, 'run', r.run, r.epoch, r.service
                     from cameo.erasures e join cameo.runs r on r.tenant = e.tenant
                         and (e.services is null or r.service = any (e.services))
                     where e.erasure = any ($1) and e.passes = 0 and r.state = 'running'",
                    // What such a run leaves is looked for below, after its end was seen.
                    "update cameo.erasure_steps s set state = 'done', finished_at = clock_timestamp()
                     where s.erasure = any ($1) and s.place = 'run' and s.state = 'pending'
                       and not exists (select from cameo.runs r where r.run = s.subject
                                       and r.state = 'running' and r.epoch = s.epoch)",
                    concat!(
                        "insert into cameo.erasure_steps (erasure, place, subject, service)
                         select e.erasure, 'table', g.generation, g.service
                         from cameo.erasures e join cameo.generations g on ",
                        concerned_sql!(),
                        " where e.erasure = any ($1) and g.dropped_at is null and g.state <> 'loading'
                         on conflict do nothing"
                    ),
                    // Copies outlive the tables.
                    concat!(
                        "insert into cameo.erasure_steps (erasure, place, subject, service)
                         select e.erasure, 'mirror', g.generation, g.service
                         from cameo.erasures e join cameo.generations g on ",
                        concerned_sql!(),
                        " join cameo.outbox o using (generation)
                         where e.erasure = any ($1) on conflict do nothing"
                    ),
                    concat!(
                        "insert into cameo.erasure_steps (erasure, place, subject, service)
                         select e.erasure, 'snapshot', g.generation, g.service
                         from cameo.erasures e join cameo.generations g on ",
                        concerned_sql!(),
                        " join cameo.snapshots f using (generation)
                         where e.erasure = any ($1) and (f.state <> 'gone' or f.unwanted <> '{}')
                         on conflict do nothing"
                    ),
                    // Of some services alone, later members may be members by right.
                    "insert into cameo.erasure_steps (erasure, place, subject)
                     select e.erasure, 'segment', m.materialisation
                     from cameo.erasures e join cameo.segment_materialisations m using (tenant)
                     where e.erasure = any ($1) and e.services is null and m.removed_at is null
                     on conflict do nothing",
                    "insert into cameo.erasure_steps (erasure, place, subject)
                     select erasure, 'quarantine', 0 from unnest($1::bigint[]) asked (erasure)
                     on conflict do nothing",
                    // A run that was waited for may have left rows there since.
                    "update cameo.erasure_steps s set state = 'pending', finished_at = null
                     where s.erasure = any ($1) and s.place = 'quarantine' and s.state = 'done'
                       and exists (select from cameo.erasure_steps r where r.erasure = s.erasure
                                   and r.place = 'run' and r.finished_at > s.finished_at)",
                    "update cameo.erasures set passes = passes + 1 where erasure = any ($1)",
                ] {
                    sqlx::query(sql).bind(turn.ids()).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
}

/// The keys of the turn's erasures, in every type that they are meant in.
pub(super) async fn keys_of(
    connection: &mut PgConnection,
    turn: &Turn,
) -> Result<Vec<ErasedKey>, StoreError> {
    let rows = sqlx::query(
        "select e.erasure, k.key, e.fingerprint_int is not null as is_int,
                e.fingerprint_string is not null as is_text
         from cameo.erasures e join cameo.erasure_keys k using (erasure)
         where e.erasure = any ($1) order by e.erasure",
    )
    .bind(turn.ids())
    .fetch_all(connection)
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in &rows {
        let erasure = get(row, "erasure", ErasureId)?;
        let text: String = row.try_get("key")?;
        for (kind, meant) in [(DataType::Int, "is_int"), (DataType::String, "is_text")] {
            if row.try_get::<bool, _>(meant)? {
                let key = Key::parse(&text, kind)?;
                keys.push(ErasedKey { erasure, key });
            }
        }
    }
    Ok(keys)
}

/// Closes the erasures of the turn of which every place is done and was found empty again, and of whose files none
/// is left to be deleted, and forgets their keys; [`forget_keys`] then removes what is left of them. Gives those that it closed.
pub async fn close(store: &Store, turn: &Turn) -> Result<Vec<ErasureId>, StoreError> {
    let own = turn.clone();
    let closed: Vec<i64> = store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &own).await?;
                let ready: Vec<i64> = sqlx::query_scalar(
                    "select e.erasure from cameo.erasures e
                     where e.erasure = any ($1) and e.state <> 'done' and e.passes > 0 and not exists (
                         select from cameo.erasure_steps s where s.erasure = e.erasure
                           and (s.state <> 'done'
                                or s.place <> 'run' and s.rows_found_again is distinct from 0))
                       and not cameo.erased_files_left(e)",
                )
                .bind(own.ids())
                .fetch_all(&mut *connection)
                .await?;
                sqlx::query("delete from cameo.erasure_keys where erasure = any ($1)")
                    .bind(&ready)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query(
                    "update cameo.erasures set state = 'done', finished_at = clock_timestamp()
                     where erasure = any ($1)",
                )
                .bind(&ready)
                .execute(&mut *connection)
                .await?;
                if !ready.is_empty() {
                    sqlx::query(
                        "update cameo.erasure_turns set keys_to_forget = true where tenant = $1",
                    )
                    .bind(own.tenant.as_str())
                    .execute(connection)
                    .await?;
                }
                cameo_crashpoint::hit("erasure_closing");
                Ok(ready)
            })
        })
        .await?;
    Ok(closed.into_iter().map(ErasureId).collect())
}

/// Writes the table of keys anew where some were deleted from it, so that nothing of them lies in it.
pub async fn forget_keys(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let wanted: Option<bool> =
        sqlx::query_scalar("select keys_to_forget from cameo.erasure_turns where tenant = $1")
            .bind(turn.tenant.as_str())
            .fetch_optional(store.control())
            .await?;
    if wanted != Some(true) {
        return Ok(());
    }
    write_anew(store, "cameo.erasure_keys").await?;
    sqlx::query(
        "update cameo.erasure_turns set keys_to_forget = false where tenant = $1 and epoch = $2",
    )
    .bind(turn.tenant.as_str())
    .bind(turn.epoch)
    .execute(store.control())
    .await?;
    Ok(())
}
