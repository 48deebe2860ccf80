//! The customers that a release's predictions are compared with.

use cameo_domain::{ReleaseId, ServicePath};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::{Store, StoreError};

/// One feature of the customers of a background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackgroundColumn {
    /// The feature column.
    pub name: String,
    /// Its value for each customer, as text; `None` is null.
    pub values: Vec<Option<String>>,
}

/// The background of a release as it was kept, or none yet.
pub async fn background(
    store: &Store,
    path: &ServicePath,
    release: ReleaseId,
) -> Result<Option<Vec<BackgroundColumn>>, StoreError> {
    let columns: Option<Json<_>> = sqlx::query_scalar(
        "select columns from cameo.explanation_backgrounds
         where tenant = $1 and service = $2 and release = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .fetch_optional(store.control())
    .await?;
    Ok(columns.map(|columns| columns.0))
}

/// Keeps `columns` as the background of a release and gives what is kept: the first one stays,
/// whoever comes later.
pub async fn keep_background(
    store: &Store,
    path: &ServicePath,
    release: ReleaseId,
    mut columns: Vec<BackgroundColumn>,
) -> Result<Vec<BackgroundColumn>, StoreError> {
    for text in columns.iter_mut().flat_map(|column| column.values.iter_mut().flatten()) {
        // Postgres cannot store zero bytes.
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    }
    let rows = columns.first().map_or(0, |column| column.values.len());
    // A single statement: dropping it half-way leaves no transaction open.
    sqlx::query(
        "insert into cameo.explanation_backgrounds (tenant, service, release, rows, columns)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(release.to_string())
    .bind(i32::try_from(rows).unwrap_or(i32::MAX))
    .bind(Json(&columns))
    .execute(store.control())
    .await?;
    Ok(background(store, path, release).await?.unwrap_or(columns))
}
