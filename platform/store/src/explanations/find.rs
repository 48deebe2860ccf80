//! Reading how a generation is explained.

use cameo_domain::{GenerationId, ServiceName, ServicePath, TenantName};
use sqlx::{FromRow, Row, postgres::PgRow};

use super::{Cohort, Explanation, FeatureImportance, Found, Importance, Unit};
use crate::{Store, StoreError, row::Columns};

impl FromRow<'_, PgRow> for Explanation {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let unit: &str = row.try_get("unit")?;
        Ok(Self {
            method: row.try_get("method")?,
            description: row.try_get("description")?,
            output: row.try_get("output")?,
            unit: if unit == "margin" { Unit::Margin } else { Unit::Output },
            base_value: row.try_get("base_value")?,
            stored: row.try_get("stored")?,
            rows: row.count("rows")?.unwrap_or_default(),
            standard_error: row.try_get("standard_error")?,
        })
    }
}

/// What holds for all explanations of a generation of the service; none where it is not explained.
pub async fn about(
    store: &Store,
    path: &ServicePath,
    generation: GenerationId,
) -> Result<Option<Explanation>, StoreError> {
    let explanation = sqlx::query_as(
        "select * from cameo.explanations
         where tenant = $1 and service = $2 and generation = $3",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(generation.0)
    .fetch_optional(store.control())
    .await?;
    Ok(explanation)
}

/// The importance of a complete generation of the service: `generation`, or else the current one.
/// None where there is no such generation.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    service: &ServiceName,
    generation: Option<GenerationId>,
) -> Result<Option<Found>, StoreError> {
    let generation: Option<i64> = sqlx::query_scalar(
        "select g.generation
         from cameo.services s join cameo.generations g using (tenant, service)
         where tenant = $1 and service = $2 and g.state in ('published', 'retired')
           and g.generation = coalesce($3, s.current_generation)",
    )
    .bind(tenant.as_str())
    .bind(service.as_str())
    .bind(generation.map(|generation| generation.0))
    .fetch_optional(store.control())
    .await?;
    let Some(generation) = generation.map(GenerationId) else { return Ok(None) };
    let path = ServicePath::new(tenant.clone(), service.clone());
    let importance = match about(store, &path, generation).await? {
        None => None,
        Some(explanation) => Some(with_importances(store, generation, explanation).await?),
    };
    Ok(Some(Found { generation, importance }))
}

/// The explanation was found under its tenant; its importances are rows of it.
async fn with_importances(
    store: &Store,
    generation: GenerationId,
    explanation: Explanation,
) -> Result<Importance, StoreError> {
    let rows = sqlx::query(
        "select cohort_column, cohort_value, feature, rows, mean_absolute, mean
         from cameo.importances where generation = $1
         order by cohort_column nulls first, rows desc, cohort_value, mean_absolute desc, feature",
    )
    .bind(generation.0)
    .fetch_all(store.control())
    .await?;
    let mut importance = Importance { explanation, features: Vec::new(), cohorts: Vec::new() };
    for row in &rows {
        let feature = FeatureImportance {
            feature: row.try_get("feature")?,
            mean_absolute: row.try_get("mean_absolute")?,
            mean: row.try_get("mean")?,
        };
        let cohort: (Option<String>, Option<String>) =
            (row.try_get("cohort_column")?, row.try_get("cohort_value")?);
        let (Some(column), Some(value)) = cohort else {
            importance.features.push(feature);
            continue;
        };
        let last = importance.cohorts.last_mut();
        match last.filter(|last| last.column == column && last.value == value) {
            Some(last) => last.features.push(feature),
            None => importance.cohorts.push(Cohort {
                column,
                value,
                rows: row.count("rows")?.unwrap_or_default(),
                features: vec![feature],
            }),
        }
    }
    Ok(importance)
}
