//! Moving releases from stage to stage.
//!
//! What people wish: [`super::guards`] says whether it may be, [`super::moves`] does it.

use cameo_domain::{Reason, ReleaseId, ServicePath, Stage};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};

use super::{
    guards::{check_comparisons, check_step, is_protected, open_request, request},
    moves::{Action, Due, Entry, lock_service, shift, stage_of},
};
use crate::{By, Store, StoreError, connect::say, row::Columns};

/// What a wish to move a release led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Moved {
    /// It stands there now.
    Moved {
        /// Where it stood.
        from: Stage,
        /// The release that had to make room.
        replaced: Option<ReleaseId>,
    },
    /// It stood there already.
    Unchanged,
    /// The service is protected: somebody else has to approve.
    AwaitsApproval {
        /// The request, for `approve`.
        request: i64,
    },
}

/// The wish to move a release.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// Whose.
    pub path: ServicePath,
    /// Which release.
    pub release: ReleaseId,
    /// Where to.
    pub to: Stage,
    /// Why, for the ledger.
    pub reason: Option<String>,
    /// Who wishes it.
    pub by: By,
    /// What time it is: a schedule that is new to the service begins after it.
    pub now: DateTime<Utc>,
}

/// Moves a release to another stage, or asks for the approval that this needs.
pub async fn promote(store: &Store, promotion: &Promotion) -> Result<Moved, StoreError> {
    let wish = promotion.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &wish.by.actor, Some(&wish.by.origin)).await?;
                attempt(connection, &wish).await
            })
        })
        .await
}

async fn attempt(connection: &mut PgConnection, wish: &Promotion) -> Result<Moved, StoreError> {
    let at = lock_service(connection, &wish.path).await?;
    let from = stage_of(connection, &wish.path, wish.release).await?.ok_or_else(|| {
        StoreError::NotFound(format!("release {} of {}", wish.release, wish.path))
    })?;
    if from == wish.to {
        return Ok(Moved::Unchanged);
    }
    check_step(from, wish.to)?;
    check_comparisons(connection, &wish.path, wish.release, wish.to).await?;
    if wish.to == Stage::Production && is_protected(connection, &wish.path, wish.release).await? {
        let (path, reason) = (&wish.path, wish.reason.as_deref());
        let request = request(connection, path, wish.release, reason, &wish.by).await?;
        return Ok(Moved::AwaitsApproval { request });
    }
    let entry = Entry {
        action: Action::Promote,
        reason: wish.reason.as_deref(),
        by: &wish.by,
        at,
        due: Due::After(wish.now),
    };
    let replaced = shift(connection, &wish.path, wish.release, Some(from), wish.to, &entry).await?;
    Ok(Moved::Moved { from, replaced })
}

/// Approves the newest open request of a release, which then is in production. Whoever asked cannot
/// approve.
pub async fn approve(
    store: &Store,
    path: &ServicePath,
    release: ReleaseId,
    reason: Option<&str>,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Moved, StoreError> {
    let (path, by, reason) = (path.clone(), by.clone(), reason.map(str::to_owned));
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &by.actor, Some(&by.origin)).await?;
                let at = lock_service(connection, &path).await?;
                let from = stage_of(connection, &path, release)
                    .await?
                    .ok_or_else(|| StoreError::NotFound(format!("release {release} of {path}")))?;
                if from == Stage::Production {
                    return Ok(Moved::Unchanged);
                }
                check_step(from, Stage::Production)?;
                check_comparisons(connection, &path, release, Stage::Production).await?;
                let request = open_request(connection, &path, release, &by).await?;
                let action = Action::Approve { request };
                let due = Due::After(now);
                let entry = Entry { action, reason: reason.as_deref(), by: &by, at, due };
                let to = Stage::Production;
                let replaced = shift(connection, &path, release, Some(from), to, &entry).await?;
                Ok(Moved::Moved { from, replaced })
            })
        })
        .await
}

/// Takes a service out of use: every release of it is archived, what waits in the queue is cancelled,
/// nothing is due any more. What is published stays served, until [`crate::generations::withdraw`]. Gives
/// the releases that were moved.
pub async fn archive(
    store: &Store,
    path: &ServicePath,
    reason: Option<&str>,
    by: &By,
) -> Result<Vec<ReleaseId>, StoreError> {
    let (path, by, reason) = (path.clone(), by.clone(), reason.map(str::to_owned));
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &by.actor, Some(&by.origin)).await?;
                let at = lock_service(connection, &path).await?;
                let active = sqlx::query(
                    "select release, stage from cameo.release_stages
                     where tenant = $1 and service = $2 and stage <> 'archived'
                     order by since, release",
                )
                .bind(path.tenant.as_str())
                .bind(path.service.as_str())
                .fetch_all(&mut *connection)
                .await?;
                let mut archived = Vec::new();
                for row in &active {
                    let (release, from) = (row.parsed("release")?, row.parsed("stage")?);
                    let (action, due) = (Action::Archive, Due::After(at));
                    let entry = Entry { action, reason: reason.as_deref(), by: &by, at, due };
                    let to = Stage::Archived;
                    shift(connection, &path, release, Some(from), to, &entry).await?;
                    archived.push(release);
                }
                if !archived.is_empty() {
                    cancel_queued(connection, &path, &by).await?;
                }
                Ok(archived)
            })
        })
        .await
}

/// Withdraws the runs that no worker has taken.
async fn cancel_queued(
    connection: &mut PgConnection,
    path: &ServicePath,
    by: &By,
) -> Result<(), StoreError> {
    let reason = Reason::new("cancelled", format!("{} archived the service", by.actor));
    sqlx::query(
        "update cameo.runs set state = 'cancelled', finished_at = now(), reason = $3
         where tenant = $1 and service = $2 and state = 'queued'",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(Json(reason))
    .execute(connection)
    .await?;
    Ok(())
}
