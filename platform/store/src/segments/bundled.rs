//! Segments that bundles define: those of the release in production, and no others.

use cameo_domain::{PredictionSchema, ReleaseId, SegmentName, ServicePath};
use cameo_segment::Declared;
use sqlx::{PgConnection, Row, types::Json};

use super::{NewSegment, add_version, define_one, lock};
use crate::{By, StoreError, row::Columns};

/// What to do about a segment that is defined elsewhere, or is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The release does not enter production.
    Refuse,
    /// It enters production without the segment: a rollback is never refused for a segment.
    LeaveOut,
}

/// Brings the segments of a service to those that a release declares, none where nothing is in production:
/// new ones come, others change, and those that it does not declare are removed. The service's row is
/// locked.
///
/// # Errors
/// [`StoreError::SegmentDefinedElsewhere`] where another bundle, or the API, defines one of them, and
/// [`StoreError::TooMany`] beyond [`super::SEGMENTS_MAX`], unless `conflict` leaves it out.
pub(crate) async fn follow(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: Option<ReleaseId>,
    conflict: Conflict,
    by: &By,
) -> Result<(), StoreError> {
    let wanted = match release {
        Some(release) => declared(connection, path, release).await?,
        None => Vec::new(),
    };
    if wanted.is_empty() && own(connection, path).await?.is_empty() {
        return Ok(());
    }
    lock(connection, &path.tenant).await?;
    for new in &wanted {
        let (tenant, service) = (&path.tenant, Some(&path.service));
        match define_one(connection, tenant, service, new, by).await {
            Ok(_) => {}
            Err(
                error @ (StoreError::SegmentDefinedElsewhere { .. } | StoreError::TooMany { .. }),
            ) if conflict == Conflict::LeaveOut => {
                tracing::warn!(service = %path, %error, "a segment is left out of a rollback");
            }
            Err(error) => return Err(error),
        }
    }
    for (segment, version) in own(connection, path).await? {
        if wanted.iter().all(|new| new.segment != segment) {
            let (tenant, service) = (&path.tenant, Some(&path.service));
            add_version(connection, tenant, &segment, version + 1, service, None, by).await?;
        }
    }
    Ok(())
}

/// The segments that a release declares, read against what it predicts itself.
async fn declared(
    connection: &mut PgConnection,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<Vec<NewSegment>, StoreError> {
    let row = sqlx::query(
        "select coalesce(manifest -> 'segments', '[]') as segments, schema from cameo.releases
         where tenant = $1 and service = $2 and release = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_one(connection)
    .await?;
    let segments: Json<Vec<Declared>> = row.try_get("segments")?;
    let schema: Json<PredictionSchema> = row.try_get("schema")?;
    let read = segments.0.into_iter().map(|declared| {
        let read = declared.read(&path.service, &schema.0).map_err(|error| {
            StoreError::Promotion(format!(
                "its segment `{}` does not fit it: {error}",
                declared.name
            ))
        })?;
        let services = read.definition.services(&read.condition);
        Ok(NewSegment { segment: declared.name, definition: read.definition, services })
    });
    read.collect()
}

/// The segments that the service's bundle defines now, with their versions.
async fn own(
    connection: &mut PgConnection,
    path: &ServicePath,
) -> Result<Vec<(SegmentName, i32)>, StoreError> {
    let rows = sqlx::query(
        "select segment, version from cameo.segments
         where tenant = $1 and service = $2 and definition is not null order by segment",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .fetch_all(connection)
    .await?;
    let own = rows.iter().map(|row| Ok((row.parsed("segment")?, row.try_get("version")?)));
    Ok(own.collect::<Result<_, sqlx::Error>>()?)
}
