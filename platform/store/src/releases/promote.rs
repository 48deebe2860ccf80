//! Moving releases from stage to stage.
//!
//! All moves of a service happen one after the other, under the lock of its row, which publications and
//! rollbacks take as well. The ledger's triggers hold the transition table; what is here decides who
//! has to make room, and whether somebody has to approve.

use cameo_domain::{Reason, ReleaseId, Schedule, ServicePath, Stage};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row, postgres::PgRow, types::Json};

use crate::{By, Store, StoreError, connect::say, row::Columns, runs::cancel_beside};

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

/// What the ledger says of a move.
pub(crate) struct Entry<'a> {
    pub(crate) action: Action,
    pub(crate) reason: Option<&'a str>,
    pub(crate) by: &'a By,
    /// The instant of the move, for all that it entails.
    pub(crate) at: DateTime<Utc>,
    pub(crate) due: Due,
}

/// When a release whose schedule is new to its service is due first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Due {
    /// At this instant.
    At(DateTime<Utc>),
    /// At the first instant of its schedule after this one.
    After(DateTime<Utc>),
}

/// Why a release moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Apply,
    Promote,
    Approve { request: i64 },
    Replace,
    Rollback,
    Archive,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Promote => "promote",
            Self::Approve { .. } => "approve",
            Self::Replace => "replace",
            Self::Rollback => "rollback",
            Self::Archive => "archive",
        }
    }

    fn request(self) -> Option<i64> {
        match self {
            Self::Approve { request } => Some(request),
            _ => None,
        }
    }
}

/// Moves a release, and before it whichever stands where only one may. The service's row is locked.
/// Gives the release that had to make room.
pub(crate) async fn shift(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    from: Option<Stage>,
    to: Stage,
    entry: &Entry<'_>,
) -> Result<Option<ReleaseId>, StoreError> {
    let mut replaced = None;
    if to.runs_beside() || to == Stage::Production {
        replaced = occupant(connection, path, to).await?;
        if let Some(replaced) = replaced {
            // Whoever is rolled back is marked so: applying its bundle again must not undo that.
            let action = match entry.action {
                Action::Rollback => Action::Rollback,
                _ => Action::Replace,
            };
            let entry = Entry { action, ..*entry };
            record(connection, path, replaced, Some(to), Stage::Archived, &entry).await?;
        }
    }
    record(connection, path, release, from, to, entry).await?;
    if to == Stage::Production {
        point(connection, path, Some(release), entry.due).await?;
    } else if from == Some(Stage::Production) {
        point(connection, path, None, entry.due).await?;
    }
    Ok(replaced)
}

async fn record(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    from: Option<Stage>,
    to: Stage,
    entry: &Entry<'_>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.promotions (tenant, service, release, from_stage, to_stage, action, actor,
             origin, reason, request, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(from.map(Stage::as_str))
    .bind(to.as_str())
    .bind(entry.action.name())
    .bind(&entry.by.actor)
    .bind(&entry.by.origin)
    .bind(entry.reason)
    .bind(entry.action.request())
    .bind(entry.at)
    .execute(&mut *connection)
    .await?;
    if from.is_some_and(Stage::runs_beside) && !to.runs_beside() {
        cancel_beside(connection, path, release).await?;
    }
    Ok(())
}

/// Makes a release the one that is run, from its next instant on. An unchanged schedule keeps its
/// place: instants that are due but not yet decided must not be lost with a promotion.
async fn point(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: Option<ReleaseId>,
    due: Due,
) -> Result<(), StoreError> {
    let Some(release) = release else {
        sqlx::query("update cameo.services set release = null where tenant = $1 and service = $2")
            .bind(path.tenant.as_str())
            .bind(path.service.as_str())
            .execute(connection)
            .await?;
        return Ok(());
    };
    let row = sqlx::query(
        "select n.cron, n.timezone,
                o.release is not null and (o.cron, o.timezone) = (n.cron, n.timezone) as kept
         from cameo.services s
         join cameo.releases n on (n.tenant, n.service, n.release) = (s.tenant, s.service, $3)
         left join cameo.releases o
             on (o.tenant, o.service, o.release) = (s.tenant, s.service, s.release)
         where s.tenant = $1 and s.service = $2",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_one(&mut *connection)
    .await?;
    let kept: bool = row.try_get("kept")?;
    let next_due_at = if kept { None } else { Some(first_due(&row, due)?) };
    sqlx::query(
        "update cameo.services set release = $3, next_due_at = coalesce($4, next_due_at)
         where tenant = $1 and service = $2",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(next_due_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// The first instant of the schedule of a release that enters production.
fn first_due(row: &PgRow, due: Due) -> Result<DateTime<Utc>, StoreError> {
    let after = match due {
        Due::At(instant) => return Ok(instant),
        Due::After(now) => now,
    };
    let (cron, timezone): (&str, &str) = (row.try_get("cron")?, row.try_get("timezone")?);
    let next = Schedule::parse(cron, timezone).and_then(|schedule| schedule.next_after(after));
    next.map_err(|error| StoreError::Promotion(format!("its schedule cannot be used: {error}")))
}

/// Locks the service's row. Gives the instant of what is done under the lock: later than all that was
/// done under it before, by the database's clock.
pub(crate) async fn lock_service(
    connection: &mut PgConnection,
    path: &ServicePath,
) -> Result<DateTime<Utc>, StoreError> {
    sqlx::query("select from cameo.services where tenant = $1 and service = $2 for no key update")
        .bind(path.tenant.as_str())
        .bind(path.service.as_str())
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| StoreError::NotFound(format!("service {path}")))?;
    let now = sqlx::query_scalar(
        "select greatest(clock_timestamp(), (
             select max(at) + interval '1 microsecond' from cameo.promotions
             where tenant = $1 and service = $2))",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .fetch_one(connection)
    .await?;
    Ok(now)
}

/// Where a release stands; none where it is not registered.
pub(crate) async fn stage_of(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<Option<Stage>, StoreError> {
    let row = sqlx::query(
        "select stage from cameo.release_stages
         where tenant = $1 and service = $2 and release = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.parsed("stage")).transpose()?)
}

async fn occupant(
    connection: &mut PgConnection,
    path: &ServicePath,
    stage: Stage,
) -> Result<Option<ReleaseId>, StoreError> {
    let row = sqlx::query(
        "select release from cameo.release_stages
         where tenant = $1 and service = $2 and stage = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(stage.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.parsed("release")).transpose()?)
}

/// Production is left by the release that replaces it, or with its service.
fn check_step(from: Stage, to: Stage) -> Result<(), StoreError> {
    if from == Stage::Production {
        return Err(StoreError::Promotion(
            "it is in production; promote another release, which takes its place, or archive the \
             service"
                .to_owned(),
        ));
    }
    if from.may_become(to) {
        return Ok(());
    }
    let next: Vec<&str> = from.next().iter().map(|stage| stage.as_str()).collect();
    Err(StoreError::Promotion(format!(
        "a release goes from {from} to {}, not to {to}",
        next.join(", ")
    )))
}

/// Whether production of the service is protected: by the release that is there or by the new one, so
/// that a release which lifts the protection needs an approval itself.
pub(crate) async fn is_protected(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<bool, StoreError> {
    let protected = sqlx::query_scalar(
        "select coalesce(bool_or(r.protected), false)
         from cameo.services s
         join cameo.releases r on (r.tenant, r.service) = (s.tenant, s.service)
             and r.release in (s.release, $3)
         where s.tenant = $1 and s.service = $2",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_one(connection)
    .await?;
    Ok(protected)
}

/// A release enters canary or production only after as many passed comparisons in a row as it asks for
/// itself. It need not where nothing is in production to compare it with, or where it stood there before.
async fn check_comparisons(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    to: Stage,
) -> Result<(), StoreError> {
    if !matches!(to, Stage::Canary | Stage::Production) {
        return Ok(());
    }
    let row = sqlx::query(
        "select r.shadow_runs_min, cameo.comparisons_passed(r.tenant, r.service, r.release) as passed,
                s.release is null or exists (
                    select from cameo.promotions p
                    where (p.tenant, p.service, p.release) = (r.tenant, r.service, r.release)
                      and p.to_stage = 'production') as exempt
         from cameo.releases r join cameo.services s using (tenant, service)
         where r.tenant = $1 and r.service = $2 and r.release = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_one(connection)
    .await?;
    let (wanted, passed): (i32, i64) = (row.try_get("shadow_runs_min")?, row.try_get("passed")?);
    if passed >= i64::from(wanted) || row.try_get("exempt")? {
        return Ok(());
    }
    Err(StoreError::Promotion(format!(
        "its last {passed} comparisons with production have passed, SHADOW_RUNS_MIN asks for {wanted}; \
         promote it to shadow and let the schedule run it"
    )))
}

/// Asks for the approval of a release.
pub(crate) async fn request(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    reason: Option<&str>,
    by: &By,
) -> Result<i64, StoreError> {
    let request = sqlx::query_scalar(
        "insert into cameo.promotion_requests (tenant, service, release, actor, origin, reason)
         values ($1, $2, $3, $4, $5, $6) returning request",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(&by.actor)
    .bind(&by.origin)
    .bind(reason)
    .fetch_one(connection)
    .await?;
    Ok(request)
}

/// The newest request for a release since it last changed its stage that `by` may approve.
async fn open_request(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
    by: &By,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select q.request, q.actor <> $4 as of_another from cameo.promotion_requests q
         join cameo.release_stages s using (tenant, service, release)
         where q.tenant = $1 and q.service = $2 and q.release = $3 and q.at >= s.since
         order by of_another desc, q.request desc limit 1",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(&by.actor)
    .fetch_optional(connection)
    .await?;
    let short = release.0.short();
    let row = row.ok_or_else(|| {
        StoreError::Promotion(format!("nobody has asked to promote {short}; `cameo promote` asks"))
    })?;
    if row.try_get("of_another")? {
        return Ok(row.try_get("request")?);
    }
    Err(StoreError::Promotion(format!(
        "{} asked to promote {short}; somebody else has to approve it",
        by.actor
    )))
}
