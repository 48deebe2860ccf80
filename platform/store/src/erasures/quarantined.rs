//! Rows that were set aside.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{
    Turn,
    search::{Asked, found_again},
    turns::{hold, keys_of},
};
use crate::{Store, StoreError, connect::spawned};

/// Longest wait for whoever uses a table that is rewritten in place; the next turn tries again.
const VACUUM_LOCK_TIMEOUT: &str = "set lock_timeout = '5s'";

/// The rows `q` in quarantine of the keys that are asked for.
macro_rules! quarantined_sql {
    () => {
        "cameo.runs r, cameo.releases l, cameo.erasures e,
             unnest($2::bigint[], $3::text[], $4::text[]) asked (erasure, key, key_type)
         where r.run = q.run and r.tenant = $1 and q.key = asked.key
           and (l.tenant, l.service, l.release) = (r.tenant, r.service, r.release)
           and l.schema -> 0 ->> 'type' = asked.key_type
           and e.erasure = asked.erasure
           and (e.services is null or r.service = any (e.services))"
    };
}

/// Removes the rows of the turn's customers from quarantine, and writes the table anew where there were
/// any: a row that is merely deleted stays in its page until something else takes the room.
pub async fn erase_quarantine(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let own = turn.clone();
    let dirty: bool = store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &own).await?;
                remove(connection, &own).await?;
                let dirty = sqlx::query_scalar(
                    "select exists (select from cameo.erasure_steps where erasure = any ($1)
                                    and place = 'quarantine' and state = 'removed')",
                )
                .bind(own.ids())
                .fetch_one(connection)
                .await?;
                Ok(dirty)
            })
        })
        .await?;
    if dirty {
        cameo_crashpoint::hit("quarantine_erased");
        write_anew(store, "cameo.quarantine").await?;
        sqlx::query(
            "update cameo.erasure_steps set state = 'done', finished_at = clock_timestamp()
             where erasure = any ($1) and place = 'quarantine' and state = 'removed'",
        )
        .bind(turn.ids())
        .execute(store.control())
        .await?;
    }
    Ok(())
}

async fn remove(connection: &mut PgConnection, turn: &Turn) -> Result<(), StoreError> {
    let asked = Asked::of(&keys_of(connection, turn).await?);
    sqlx::query(concat!(
        "with gone as (delete from cameo.quarantine q using ",
        quarantined_sql!(),
        " returning asked.erasure)
         update cameo.erasure_steps s
         set rows_removed = s.rows_removed + told.rows, state = 'removed', finished_at = null
         from (select erasure, count(*) as rows from gone group by erasure) told
         where s.erasure = told.erasure and s.place = 'quarantine'"
    ))
    .bind(turn.tenant.as_str())
    .bind(asked.erasures)
    .bind(asked.keys)
    .bind(asked.key_types)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "update cameo.erasure_steps set state = 'done', finished_at = clock_timestamp()
         where erasure = any ($1) and place = 'quarantine' and state = 'pending'",
    )
    .bind(turn.ids())
    .execute(connection)
    .await?;
    Ok(())
}

/// Looks once more for the erasures in `done`.
pub(super) async fn search(
    connection: &mut PgConnection,
    turn: &Turn,
    done: &[i64],
) -> Result<(), StoreError> {
    let asked = Asked::of(&keys_of(connection, turn).await?);
    let found: Vec<i64> = sqlx::query_scalar(concat!(
        "select asked.erasure from cameo.quarantine q, ",
        quarantined_sql!()
    ))
    .bind(turn.tenant.as_str())
    .bind(asked.erasures)
    .bind(asked.keys)
    .bind(asked.key_types)
    .fetch_all(&mut *connection)
    .await?;
    for erasure in done {
        let rows = found.iter().filter(|of| *of == erasure).count();
        found_again(connection, *erasure, "quarantine", 0, rows as u64).await?;
    }
    Ok(())
}

/// Writes a small table into a new file without what was deleted from it. Its users wait meanwhile.
pub(super) async fn write_anew(store: &Store, table: &'static str) -> Result<(), StoreError> {
    let mut connection = store.dedicated().await?;
    spawned(async move {
        connection.execute(VACUUM_LOCK_TIMEOUT).await?;
        connection.execute(AssertSqlSafe(format!("vacuum full {table}"))).await?;
        connection.close().await?;
        Ok(())
    })
    .await
}
