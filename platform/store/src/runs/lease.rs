//! What the holder of a run may do, and what happens when its lease ends.

use cameo_domain::{Epoch, Reason, RunId, RunState};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::Progress;
use crate::{
    Store, StoreError,
    row::{get, signed},
};

/// Most leases that one call of [`expire_leases`] ends.
const EXPIRED_MAX: i64 = 1_000;

/// Renews the lease and replaces the progress.
pub async fn heartbeat(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    lease_seconds: u32,
    progress: &Progress,
) -> Result<(), StoreError> {
    // A single statement: dropping it half-way leaves no transaction open.
    let renewed = sqlx::query(
        "update cameo.runs
         set lease_expires_at = clock_timestamp() + make_interval(secs => $3), progress = $4,
             memory_peak_bytes = $5
         where run = $1 and epoch = $2 and state = 'running'",
    )
    .bind(run.0)
    .bind(epoch.0)
    .bind(f64::from(lease_seconds))
    .bind(Json(progress))
    .bind(progress.memory_peak_bytes.map(signed))
    .execute(store.control())
    .await?
    .rows_affected();
    if renewed == 1 { Ok(()) } else { Err(StoreError::StaleEpoch { run, epoch }) }
}

/// Puts the run back into the queue until `not_before`, or fails it when no attempt is left.
/// Gives the state that it has now.
pub async fn requeue(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    reason: Reason,
    not_before: DateTime<Utc>,
) -> Result<RunState, StoreError> {
    end_attempt(store, run, epoch, reason, Ending::Requeue { not_before }).await
}

/// Puts the run back into the queue without using up an attempt: the worker shuts down.
pub async fn hand_back(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    reason: Reason,
) -> Result<RunState, StoreError> {
    end_attempt(store, run, epoch, reason, Ending::HandBack).await
}

/// Ends the run for a reason that lies in the bundle or the data.
pub async fn halt(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    reason: Reason,
) -> Result<RunState, StoreError> {
    end_attempt(store, run, epoch, reason, Ending::Halt).await
}

/// Ends the run for a transient reason although attempts may be left.
pub async fn fail(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    reason: Reason,
) -> Result<RunState, StoreError> {
    end_attempt(store, run, epoch, reason, Ending::Fail).await
}

#[derive(Clone, Copy)]
enum Ending {
    Requeue { not_before: DateTime<Utc> },
    HandBack,
    Halt,
    Fail,
}

async fn end_attempt(
    store: &Store,
    run: RunId,
    epoch: Epoch,
    reason: Reason,
    ending: Ending,
) -> Result<RunState, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let (attempt, attempts_max) = hold(connection, run, epoch).await?;
                let state = match ending {
                    Ending::Requeue { .. } if attempt >= attempts_max => RunState::Failed,
                    Ending::Requeue { .. } | Ending::HandBack => RunState::Queued,
                    Ending::Halt => RunState::Halted,
                    Ending::Fail => RunState::Failed,
                };
                let not_before = match ending {
                    Ending::Requeue { not_before } => Some(not_before),
                    _ => None,
                };
                let given_back = i32::from(matches!(ending, Ending::HandBack));
                sqlx::query(
                    "update cameo.runs
                     set state = $2, reason = $3, lease_expires_at = null,
                         attempt = attempt - $5, not_before = coalesce($4, not_before),
                         finished_at = case when $2 = 'queued' then null else now() end
                     where run = $1",
                )
                .bind(run.0)
                .bind(state.as_str())
                .bind(Json(reason))
                .bind(not_before)
                .bind(given_back)
                .execute(&mut *connection)
                .await?;
                abandon(connection, run).await?;
                Ok(state)
            })
        })
        .await
}

/// Locks the run if this claim still holds it; gives its attempt and the most it may have.
///
/// The lease's end alone does not end a claim: only another claim does, or [`expire_leases`].
pub(crate) async fn hold(
    connection: &mut PgConnection,
    run: RunId,
    epoch: Epoch,
) -> Result<(i32, i32), StoreError> {
    let held = sqlx::query_as(
        "select attempt, attempts_max from cameo.runs
         where run = $1 and epoch = $2 and state = 'running' for no key update",
    )
    .bind(run.0)
    .bind(epoch.0)
    .fetch_optional(connection)
    .await?;
    held.ok_or(StoreError::StaleEpoch { run, epoch })
}

/// Marks what the run was loading as abandoned; [`crate::generations::retain`] drops it.
async fn abandon(connection: &mut PgConnection, run: RunId) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.generations set state = 'abandoned' where run = $1 and state = 'loading'",
    )
    .bind(run.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends the claims whose lease ran out by the database's clock: queued again, or failed when no
/// attempt is left. Gives the runs.
pub async fn expire_leases(store: &Store) -> Result<Vec<RunId>, StoreError> {
    store
        .transaction(|connection| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "with expired as (
                         select run from cameo.runs
                         where state = 'running' and lease_expires_at < clock_timestamp()
                         order by lease_expires_at limit $1 for no key update skip locked)
                     update cameo.runs r
                     set state = case when attempt < attempts_max then 'queued' else 'failed' end,
                         finished_at = case when attempt < attempts_max then null else now() end,
                         lease_expires_at = null, not_before = now(),
                         reason = jsonb_build_object('code', 'lease_expired', 'message', format(
                             'expected a heartbeat of worker %s by %s, found none; attempt %s of %s',
                             worker, lease_expires_at, attempt, attempts_max))
                     from expired where r.run = expired.run
                     returning r.run",
                )
                .bind(EXPIRED_MAX)
                .fetch_all(&mut *connection)
                .await?;
                let mut runs = Vec::with_capacity(rows.len());
                for row in &rows {
                    let run = get(row, "run", RunId)?;
                    abandon(connection, run).await?;
                    runs.push(run);
                }
                if !runs.is_empty() {
                    sqlx::query("select pg_notify('cameo_runs', '')").execute(connection).await?;
                }
                Ok(runs)
            })
        })
        .await
}
