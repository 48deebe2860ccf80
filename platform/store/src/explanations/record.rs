//! Writing down how an attempt's predictions are explained.

use cameo_domain::{Epoch, GenerationId, RunId};
use sqlx::PgConnection;

use super::{Explanation, FeatureImportance, IMPORTANCES_MAX, Importance};
use crate::{Store, StoreError, generations::Generation, row::signed, runs::hold};

/// Records the importance of a generation that is still being made, once and for all, under the
/// claim that makes it.
///
/// # Errors
/// [`StoreError::StaleEpoch`] where the claim has ended, [`StoreError::TooMany`] beyond
/// [`IMPORTANCES_MAX`].
pub async fn record(
    store: &Store,
    generation: &Generation,
    importance: &Importance,
) -> Result<(), StoreError> {
    let rows = Rows::of(importance);
    if rows.features.len() > IMPORTANCES_MAX {
        return Err(StoreError::TooMany {
            what: "importances of a generation",
            limit: IMPORTANCES_MAX,
            found: rows.features.len(),
        });
    }
    let (generation, explanation) = (generation.clone(), importance.explanation.clone());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let (run, epoch): (RunId, Epoch) = (generation.run, generation.epoch);
                hold(connection, run, epoch).await?;
                insert_explanation(connection, &generation, &explanation).await?;
                rows.insert(connection, generation.id).await
            })
        })
        .await
}

async fn insert_explanation(
    connection: &mut PgConnection,
    generation: &Generation,
    explanation: &Explanation,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into cameo.explanations (generation, tenant, service, method, description, output,
             unit, base_value, stored, rows, standard_error)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(generation.id.0)
    .bind(generation.path.tenant.as_str())
    .bind(generation.path.service.as_str())
    .bind(&explanation.method)
    .bind(&explanation.description)
    .bind(&explanation.output)
    .bind(explanation.unit.as_str())
    .bind(explanation.base_value)
    .bind(explanation.stored)
    .bind(signed(explanation.rows))
    .bind(explanation.standard_error)
    .execute(connection)
    .await?;
    Ok(())
}

/// The importances, column by column, as one statement takes them.
#[derive(Default)]
struct Rows {
    cohort_columns: Vec<Option<String>>,
    cohort_values: Vec<Option<String>>,
    features: Vec<String>,
    row_counts: Vec<i64>,
    means_absolute: Vec<f64>,
    means: Vec<f64>,
}

impl Rows {
    fn of(importance: &Importance) -> Self {
        let mut rows = Self::default();
        if importance.explanation.rows > 0 {
            rows.add(None, importance.explanation.rows, &importance.features);
        }
        for cohort in &importance.cohorts {
            rows.add(Some((&cohort.column, &cohort.value)), cohort.rows, &cohort.features);
        }
        rows
    }

    fn add(&mut self, cohort: Option<(&str, &str)>, rows: u64, features: &[FeatureImportance]) {
        // Postgres cannot store zero bytes, and a cohort's value comes from the data.
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        for feature in features {
            self.cohort_columns.push(cohort.map(|(column, _)| column.to_owned()));
            self.cohort_values.push(cohort.map(|(_, value)| clean(value)));
            self.features.push(feature.feature.clone());
            self.row_counts.push(signed(rows));
            self.means_absolute.push(feature.mean_absolute);
            self.means.push(feature.mean);
        }
    }

    async fn insert(
        self,
        connection: &mut PgConnection,
        generation: GenerationId,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into cameo.importances (generation, cohort_column, cohort_value, feature, rows,
                 mean_absolute, mean)
             select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::bigint[],
                 $6::double precision[], $7::double precision[])",
        )
        .bind(generation.0)
        .bind(self.cohort_columns)
        .bind(self.cohort_values)
        .bind(self.features)
        .bind(self.row_counts)
        .bind(self.means_absolute)
        .bind(self.means)
        .execute(connection)
        .await?;
        Ok(())
    }
}
