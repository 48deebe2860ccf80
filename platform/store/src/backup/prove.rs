//! Whether what came back is what was there.

use cameo_batch::RowDigest;
use cameo_domain::PredictionSchema;
use sqlx::{Connection, FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use crate::{
    Store, StoreError,
    generations::{Table, digest, refresh_views},
    invariants::{self, Breach},
    row::{Columns, get},
};

struct Kept {
    generation: i64,
    table: Table,
    schema: PredictionSchema,
    left: RowDigest,
}

impl FromRow<'_, PgRow> for Kept {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        Ok(Self {
            generation: row.try_get("generation")?,
            table: Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? },
            schema: schema.0,
            left: RowDigest {
                rows: row.count("rows_left")?.unwrap_or_default(),
                checksum: get(row, "checksum_left", i64::cast_unsigned)?,
            },
        })
    }
}

/// Makes the views again, counts and hashes the table of every generation as it was sealed, and checks every
/// invariant. For a database of the newest schema, which nobody works on yet.
pub async fn prove(store: &Store) -> Result<Vec<Breach>, StoreError> {
    while !refresh_views(store).await?.is_empty() {}
    let mut breaches = Vec::new();
    let mut connection = store.dedicated().await?;
    for kept in kept(&mut connection).await? {
        let found = digest(&mut connection, &kept.table.sql(), &kept.schema).await?;
        if found != kept.left {
            let mismatch = StoreError::DigestMismatch { expected: kept.left, found };
            breaches.push(Breach {
                invariant: "a generation has the rows that it was sealed with".to_owned(),
                detail: format!("generation {}: {mismatch}", kept.generation),
            });
        }
    }
    connection.close().await?;
    breaches.extend(invariants::check(store).await?);
    Ok(breaches)
}

async fn kept(connection: &mut PgConnection) -> Result<Vec<Kept>, StoreError> {
    let kept = sqlx::query_as(
        "select g.generation, g.table_schema, g.table_name, g.schema,
                cameo.rows_left(g) as rows_left, cameo.checksum_left(g) as checksum_left
         from cameo.generations g
         where g.dropped_at is null and g.state in ('published', 'retired', 'shadowed')
         order by g.generation",
    )
    .fetch_all(connection)
    .await?;
    Ok(kept)
}
