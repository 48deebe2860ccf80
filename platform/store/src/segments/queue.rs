//! Which segments are to be materialised, each by one worker at a time.

use std::collections::BTreeMap;

use cameo_domain::{
    Epoch, GenerationId, PredictionSchema, SegmentName, ServiceName, Sha256, TenantName,
};
use cameo_segment::Definition;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use crate::{
    Store, StoreError,
    row::{Columns, get, signed},
};

/// A segment whose members are to be made, held until its lease ends.
#[derive(Debug, Clone)]
pub struct SegmentTask {
    /// Whose.
    pub tenant: TenantName,
    /// Which.
    pub segment: SegmentName,
    /// The version of its definition.
    pub version: u32,
    /// What it is.
    pub definition: Definition,
    /// From what its members are to be made: what each of its services shows.
    pub sources: Vec<SegmentSource>,
    /// The number that the materialisation will have.
    pub number: u32,
    /// The number of this claim.
    pub epoch: Epoch,
    /// How often this was tried, from 1.
    pub attempt: u32,
    /// A file that an attempt before may have stored, to be deleted first.
    pub announced: Option<Sha256>,
}

/// What a service shows.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct SegmentSource {
    /// The service.
    pub service: ServiceName,
    /// Its current generation.
    pub generation: GenerationId,
    /// The generation's columns.
    pub schema: PredictionSchema,
    /// The time that its predictions carry.
    pub predicted_at: DateTime<Utc>,
}

impl SegmentTask {
    /// From service to generation.
    #[must_use]
    pub fn generations(&self) -> BTreeMap<ServiceName, GenerationId> {
        let pairs = self.sources.iter().map(|source| (source.service.clone(), source.generation));
        pairs.collect()
    }

    /// The oldest time of prediction among what its members are made from.
    #[must_use]
    pub fn as_of(&self) -> DateTime<Utc> {
        let times = self.sources.iter().map(|source| source.predicted_at);
        times.min().unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

impl FromRow<'_, PgRow> for SegmentTask {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (definition, sources): (Json<Definition>, Json<Vec<SegmentSource>>) =
            (row.try_get("definition")?, row.try_get("sources")?);
        Ok(Self {
            tenant: row.parsed("tenant")?,
            segment: row.parsed("segment")?,
            version: get(row, "version", i32::unsigned_abs)?,
            definition: definition.0,
            sources: sources.0,
            number: get(row, "number", i32::unsigned_abs)?,
            epoch: get(row, "epoch", Epoch)?,
            attempt: get(row, "attempts", i32::unsigned_abs)?,
            announced: row.parsed_option("announced")?,
        })
    }
}

/// Takes the next segment that is due: all of its services show something, and something else than was
/// looked at last, or it has another version. The tenant that waits longest comes first.
pub async fn claim(store: &Store, lease_seconds: u32) -> Result<Option<SegmentTask>, StoreError> {
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let task = sqlx::query_as(
                    "with shown as (
                         select s.tenant, s.segment, count(*) as services,
                                jsonb_object_agg(v.service, v.current_generation) as generations,
                                jsonb_agg(jsonb_build_object('service', v.service,
                                    'generation', g.generation, 'schema', g.schema,
                                    'predicted_at', g.predicted_at) order by v.service) as sources
                         from cameo.segments s
                         join cameo.services v on v.tenant = s.tenant and v.service = any (s.services)
                         join cameo.generations g on g.generation = v.current_generation
                         where s.definition is not null
                         group by s.tenant, s.segment),
                     due as (
                         select s.tenant, s.segment
                         from cameo.segments s join shown using (tenant, segment)
                         where shown.services = cardinality(s.services)
                           and (s.seen_version is distinct from s.version
                                or s.seen_generations is distinct from shown.generations)
                           and s.not_before <= clock_timestamp()
                           and (s.lease_expires_at is null
                                or s.lease_expires_at < clock_timestamp())
                         order by s.not_before, s.tenant, s.segment
                         limit 1 for update of s skip locked)
                     update cameo.segments s
                     set epoch = s.epoch + 1, attempts = s.attempts + 1, outdated = false,
                         lease_expires_at = clock_timestamp() + make_interval(secs => $1)
                     from due join shown using (tenant, segment)
                     where (s.tenant, s.segment) = (due.tenant, due.segment)
                     returning s.tenant, s.segment, s.version, s.definition, s.epoch, s.attempts,
                         s.announced, shown.sources,
                         1 + (select count(*) from cameo.segment_materialisations m
                              where (m.tenant, m.segment) = (s.tenant, s.segment))::integer
                             as number",
                )
                .bind(f64::from(lease_seconds))
                .fetch_optional(connection)
                .await?;
                Ok(task)
            })
        })
        .await
}

/// Renews the lease of a segment that takes long.
pub async fn heartbeat(
    store: &Store,
    task: &SegmentTask,
    lease_seconds: u32,
) -> Result<(), StoreError> {
    let renewed = sqlx::query(
        "update cameo.segments
         set lease_expires_at = clock_timestamp() + make_interval(secs => $4)
         where tenant = $1 and segment = $2 and epoch = $3 and lease_expires_at is not null",
    )
    .bind(task.tenant.as_str())
    .bind(task.segment.as_str())
    .bind(task.epoch.0)
    .bind(f64::from(lease_seconds))
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, renewed)
}

/// Names a file that is about to be stored, so that it is deleted should nobody record it.
pub async fn announce(
    store: &Store,
    task: &SegmentTask,
    sha256: &Sha256,
) -> Result<(), StoreError> {
    let announced = sqlx::query(
        "update cameo.segments set announced = $4
         where tenant = $1 and segment = $2 and epoch = $3 and lease_expires_at is not null",
    )
    .bind(task.tenant.as_str())
    .bind(task.segment.as_str())
    .bind(task.epoch.0)
    .bind(sha256.to_string())
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, announced)
}

/// A file of members that is in the artifact store.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// How many members it has.
    pub members: u64,
    /// Of how many customers.
    pub profiles: u64,
    /// Its address in the artifact store.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: u64,
}

/// Records the members. Whoever lost the segment is refused, so that a number is given once.
pub async fn complete(store: &Store, task: &SegmentTask, made: Made) -> Result<(), StoreError> {
    let task = task.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let seen = end(connection, &task, None).await?;
                held(&task, seen)?;
                let number = i32::try_from(task.number).unwrap_or(i32::MAX);
                sqlx::query(
                    "insert into cameo.segment_materialisations (tenant, segment, number, version,
                         as_of, generations, members, profiles, sha256, bytes, previous)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($3 - 1, 0))",
                )
                .bind(task.tenant.as_str())
                .bind(task.segment.as_str())
                .bind(number)
                .bind(i32::try_from(task.version).unwrap_or(i32::MAX))
                .bind(task.as_of())
                .bind(Json(task.generations()))
                .bind(signed(made.members))
                .bind(signed(made.profiles))
                .bind(made.sha256.to_string())
                .bind(signed(made.bytes))
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// Records why no members can be made from what is shown now: a column is gone. The last ones stay.
pub async fn refuse(store: &Store, task: &SegmentTask, reason: &str) -> Result<(), StoreError> {
    let (task, reason) = (task.clone(), reason.to_owned());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let seen = end(connection, &task, Some(&reason)).await?;
                held(&task, seen)
            })
        })
        .await
}

async fn end(
    connection: &mut sqlx::PgConnection,
    task: &SegmentTask,
    reason: Option<&str>,
) -> Result<u64, StoreError> {
    let ended = sqlx::query(
        "update cameo.segments
         set seen_version = $4, seen_generations = $5, reason = $6, attempts = 0, announced = null,
             unwanted = array_remove(unwanted, announced), lease_expires_at = null,
             not_before = clock_timestamp()
         where tenant = $1 and segment = $2 and epoch = $3 and lease_expires_at is not null",
    )
    .bind(task.tenant.as_str())
    .bind(task.segment.as_str())
    .bind(task.epoch.0)
    .bind(i32::try_from(task.version).unwrap_or(i32::MAX))
    .bind(Json(task.generations()))
    .bind(reason)
    .execute(connection)
    .await?
    .rows_affected();
    Ok(ended)
}

/// Gives the segment back, to be tried again from `not_before`. Without a reason the one before stands: that
/// of the last attempt that looked at anything.
pub async fn retry(
    store: &Store,
    task: &SegmentTask,
    reason: Option<&str>,
    not_before: DateTime<Utc>,
) -> Result<(), StoreError> {
    let returned = sqlx::query(
        "update cameo.segments
         set lease_expires_at = null, reason = coalesce($4, reason), not_before = $5
         where tenant = $1 and segment = $2 and epoch = $3 and lease_expires_at is not null",
    )
    .bind(task.tenant.as_str())
    .bind(task.segment.as_str())
    .bind(task.epoch.0)
    .bind(reason)
    .bind(not_before)
    .execute(store.control())
    .await?
    .rows_affected();
    held(task, returned)
}

fn held(task: &SegmentTask, rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::StaleSegment { tenant: task.tenant.clone(), segment: task.segment.clone() })
    }
}
