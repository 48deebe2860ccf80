//! One move of a release: who makes room, what the ledger says, what the service runs since.
//!
//! All moves of a service happen one after the other, under the lock of its row, which publications and
//! rollbacks take as well. The ledger's triggers hold the transition table and keep the stages.

use cameo_domain::{ReleaseId, Schedule, ServicePath, Stage};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{
    By, StoreError,
    row::Columns,
    runs::cancel_beside,
    segments::{self, Conflict},
};

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

/// Moves a release, and before it whichever stands where only one may. The segments that the bundle defines
/// follow what is in production. The service's row is locked.
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
    let production = match (from, to) {
        (_, Stage::Production) => Some(release),
        (Some(Stage::Production), _) => None,
        _ => return Ok(replaced),
    };
    point(connection, path, production, entry.due).await?;
    let conflict = match entry.action {
        Action::Rollback => Conflict::LeaveOut,
        _ => Conflict::Refuse,
    };
    segments::follow(connection, path, production, conflict, entry.by).await?;
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
