//! The customers that a release's predictions are compared with.

use cameo_domain::{ReleaseId, ServicePath};

use crate::{Store, StoreError};

/// The background of a release as it was kept, or none yet.
pub async fn background(
    store: &Store,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<Option<Vec<u8>>, StoreError> {
    let batch = sqlx::query_scalar(
        "select batch from cameo.explanation_backgrounds
         where tenant = $1 and service = $2 and release = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_optional(store.control())
    .await?;
    Ok(batch)
}

/// Keeps `batch` as the background of a release and gives what is kept: the first one stays,
/// whoever comes later.
pub async fn keep_background(
    store: &Store,
    path: &ServicePath,
    release: ReleaseId,
    rows: u32,
    batch: Vec<u8>,
) -> Result<Vec<u8>, StoreError> {
    // A single statement: dropping it half-way leaves no transaction open.
    sqlx::query(
        "insert into cameo.explanation_backgrounds (tenant, service, release, rows, batch)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(i64::from(rows))
    .bind(&batch)
    .execute(store.control())
    .await?;
    Ok(background(store, path, release).await?.unwrap_or(batch))
}
