//! Segments: their definitions with every version, and who was a member when.
//!
//! A version is added, and the head follows it (migration 0012). Those that bundles define follow the release
//! in production, in the transaction that puts it there. The heads are the queue of what is to be
//! materialised as well: a segment is due when the generations that its services show, or its version,
//! are others than those that were looked at last.

mod bundled;
mod left_over;
mod members;
mod queue;
mod standing;

pub(crate) use bundled::{Conflict, follow};
pub(crate) use left_over::outdate;
pub use left_over::{LeftOver, claim_left_over, disown, left_over_deleted, let_go};
pub use members::{
    KEPT, Materialisation, MaterialisationFile, expired, latest, list as materialisations, pin,
    removed,
};
pub use queue::{
    Made, SegmentSource, SegmentTask, announce, claim, complete, heartbeat, refuse, retry,
};
pub use standing::{Standing, standing};

use std::collections::BTreeSet;

use cameo_domain::{SegmentName, ServiceName, TenantName};
use cameo_segment::Definition;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use crate::{By, Store, StoreError, connect::say, row::Columns};

/// Most segments of a tenant.
pub const SEGMENTS_MAX: usize = 1_000;

/// A segment as it is defined now.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentRecord {
    /// Its name.
    pub segment: SegmentName,
    /// How often it was defined, from 1.
    pub version: u32,
    /// The service whose bundle defines it; none where the API does.
    pub service: Option<ServiceName>,
    /// What it is.
    pub definition: Definition,
    /// The services that it names.
    pub services: Vec<ServiceName>,
    /// Why its members could not be made from what is shown now; none where they could, or will be.
    pub reason: Option<String>,
    /// Who defined this version.
    pub changed_by: String,
    /// When.
    pub changed_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for SegmentRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let definition: Json<Definition> = row.try_get("definition")?;
        let version: i32 = row.try_get("version")?;
        Ok(Self {
            segment: row.parsed("segment")?,
            version: version.unsigned_abs(),
            service: row.parsed_option("service")?,
            definition: definition.0,
            services: names(row, "services")?,
            reason: row.try_get("reason")?,
            changed_by: row.try_get("actor")?,
            changed_at: row.try_get("at")?,
        })
    }
}

impl SegmentRecord {
    /// Where it is defined, in words.
    #[must_use]
    pub fn place(&self) -> String {
        place(self.service.as_ref())
    }
}

/// The place that defines a segment: the bundle of a service, or without one the API.
#[must_use]
pub fn place(service: Option<&ServiceName>) -> String {
    match service {
        Some(service) => format!("SEGMENT_CONFIG of the bundle of `{service}`"),
        None => "the API".to_owned(),
    }
}

/// A column of service names.
fn names(row: &PgRow, column: &str) -> Result<Vec<ServiceName>, sqlx::Error> {
    let names: Vec<String> = row.try_get(column)?;
    let parsed = names.into_iter().map(ServiceName::try_from).collect::<Result<_, _>>();
    parsed.map_err(|error| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    })
}

macro_rules! segments_sql {
    () => {
        "select s.segment, s.version, s.service, s.definition, s.services, s.reason, v.actor, v.at
         from cameo.segments s join cameo.segment_versions v using (tenant, segment, version)
         where s.tenant = $1 and s.definition is not null"
    };
}

/// The tenant's segments, by name.
pub async fn list(store: &Store, tenant: &TenantName) -> Result<Vec<SegmentRecord>, StoreError> {
    let records = sqlx::query_as(concat!(segments_sql!(), " order by s.segment"))
        .bind(tenant.as_str())
        .fetch_all(store.control())
        .await?;
    Ok(records)
}

/// One segment.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<Option<SegmentRecord>, StoreError> {
    let record = sqlx::query_as(concat!(segments_sql!(), " and s.segment = $2"))
        .bind(tenant.as_str())
        .bind(segment.as_str())
        .fetch_optional(store.control())
        .await?;
    Ok(record)
}

/// A segment as somebody wants it.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// Its name.
    pub segment: SegmentName,
    /// What it is.
    pub definition: Definition,
    /// The services that it names.
    pub services: BTreeSet<ServiceName>,
}

/// What defining a segment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defined {
    /// It is new.
    Created,
    /// It has another version.
    Changed,
    /// It was defined so already.
    Unchanged,
}

/// Defines a segment through the API. The services must exist.
///
/// # Errors
/// [`StoreError::SegmentDefinedElsewhere`] where a bundle defines it, [`StoreError::TooMany`] beyond
/// [`SEGMENTS_MAX`].
pub async fn define(
    store: &Store,
    tenant: &TenantName,
    new: &NewSegment,
    by: &By,
) -> Result<Defined, StoreError> {
    let (tenant, new, by) = (tenant.clone(), new.clone(), by.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &by.actor, Some(&by.origin)).await?;
                lock(connection, &tenant).await?;
                define_one(connection, &tenant, None, &new, &by).await
            })
        })
        .await
}

/// Removes a segment that was defined through the API. Its last members stay readable until they would have
/// been dropped. Answers whether there was one.
pub async fn remove(
    store: &Store,
    tenant: &TenantName,
    segment: &SegmentName,
    by: &By,
) -> Result<bool, StoreError> {
    let (tenant, segment, by) = (tenant.clone(), segment.clone(), by.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                say(connection, &by.actor, Some(&by.origin)).await?;
                lock(connection, &tenant).await?;
                let Some(head) = head(connection, &tenant, &segment).await? else {
                    return Ok(false);
                };
                refuse_other(&segment, &head, None)?;
                if head.definition.is_none() {
                    return Ok(false);
                }
                add_version(connection, &tenant, &segment, head.version + 1, None, None, &by)
                    .await?;
                Ok(true)
            })
        })
        .await
}

/// Definitions of a tenant change one after the other.
async fn lock(connection: &mut PgConnection, tenant: &TenantName) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('cameo.segments'), hashtext($1))")
        .bind(tenant.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

struct Head {
    version: i32,
    service: Option<ServiceName>,
    definition: Option<Definition>,
}

async fn head(
    connection: &mut PgConnection,
    tenant: &TenantName,
    segment: &SegmentName,
) -> Result<Option<Head>, StoreError> {
    let row = sqlx::query(
        "select version, service, definition from cameo.segments where tenant = $1 and segment = $2",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .fetch_optional(connection)
    .await?;
    let head = row.map(|row| {
        Ok::<_, sqlx::Error>(Head {
            version: row.try_get("version")?,
            service: row.parsed_option("service")?,
            definition: row.json("definition")?,
        })
    });
    Ok(head.transpose()?)
}

/// One place defines a segment as long as it is defined.
fn refuse_other(
    segment: &SegmentName,
    head: &Head,
    service: Option<&ServiceName>,
) -> Result<(), StoreError> {
    if head.definition.is_none() || head.service.as_ref() == service {
        return Ok(());
    }
    let place = place(head.service.as_ref());
    Err(StoreError::SegmentDefinedElsewhere { segment: segment.clone(), place })
}

async fn define_one(
    connection: &mut PgConnection,
    tenant: &TenantName,
    service: Option<&ServiceName>,
    new: &NewSegment,
    by: &By,
) -> Result<Defined, StoreError> {
    let head = head(connection, tenant, &new.segment).await?;
    if let Some(head) = &head {
        refuse_other(&new.segment, head, service)?;
        if head.definition.as_ref() == Some(&new.definition) {
            return Ok(Defined::Unchanged);
        }
    }
    let is_new = head.as_ref().is_none_or(|head| head.definition.is_none());
    if is_new {
        let defined: i64 = sqlx::query_scalar(
            "select count(*) from cameo.segments where tenant = $1 and definition is not null",
        )
        .bind(tenant.as_str())
        .fetch_one(&mut *connection)
        .await?;
        let found = usize::try_from(defined).unwrap_or(usize::MAX).saturating_add(1);
        if found > SEGMENTS_MAX {
            return Err(StoreError::TooMany { what: "segments", limit: SEGMENTS_MAX, found });
        }
    }
    let version = head.map_or(1, |head| head.version + 1);
    add_version(connection, tenant, &new.segment, version, service, Some(new), by).await?;
    Ok(if is_new { Defined::Created } else { Defined::Changed })
}

async fn add_version(
    connection: &mut PgConnection,
    tenant: &TenantName,
    segment: &SegmentName,
    version: i32,
    service: Option<&ServiceName>,
    new: Option<&NewSegment>,
    by: &By,
) -> Result<(), StoreError> {
    let services: Vec<&str> =
        new.iter().flat_map(|new| new.services.iter().map(ServiceName::as_str)).collect();
    sqlx::query(
        "insert into cameo.segment_versions (tenant, segment, version, service, definition, services,
             actor, origin)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(tenant.as_str())
    .bind(segment.as_str())
    .bind(version)
    .bind(service.map(ServiceName::as_str))
    .bind(new.map(|new| Json(&new.definition)))
    .bind(services)
    .bind(&by.actor)
    .bind(&by.origin)
    .execute(connection)
    .await?;
    Ok(())
}
