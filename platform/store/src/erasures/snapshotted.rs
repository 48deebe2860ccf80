//! The immutable files of generations. They are not changed: one that has somebody who was erased is given
//! up with the row, and another is made.

use cameo_domain::{DataType, GenerationId, Key, PredictionSchema, ServicePath, TenantName};
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use super::{
    ErasedKey, Turn,
    search::{found_again, type_of},
    turns::{hold, keys_of},
};
use crate::{
    Store, StoreError,
    row::{Columns, get},
    snapshots::{SnapshotFile, renew_with},
};

/// A generation whose file is searched at the end.
#[derive(Debug, Clone)]
pub struct SnapshotPlace {
    /// Which generation.
    pub generation: GenerationId,
    /// Whose.
    pub path: ServicePath,
    /// The file; none where it has still to be made, from the table.
    pub file: Option<SnapshotFile>,
    /// Whom to look for, in the type of its key.
    pub keys: Vec<ErasedKey>,
    key_type: DataType,
    asked: Vec<i64>,
}

impl FromRow<'_, PgRow> for SnapshotPlace {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            path: row.path()?,
            file: SnapshotFile::of(row)?,
            keys: Vec::new(),
            key_type: schema.0.key().data_type,
            asked: row.try_get("asked")?,
        })
    }
}

/// Notes the snapshots whose old files are deleted from the artifact store, once their tables are clean. A file
/// that a worker is making from an older table is refused when it is done.
pub async fn snapshots_renewed(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                sqlx::query(
                    "update cameo.erasure_steps s
                     set state = 'done', finished_at = clock_timestamp()
                     from cameo.snapshots f
                     where s.erasure = any ($1) and s.place = 'snapshot' and s.state = 'pending'
                       and f.generation = s.subject and f.unwanted = '{}'
                       and not exists (
                           select from cameo.erasure_steps t
                           where t.erasure = s.erasure and t.place = 'table'
                             and t.subject = s.subject and t.state = 'pending')",
                )
                .bind(turn.ids())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// The files to search for erasures that are done everywhere.
pub async fn snapshots_to_search(
    store: &Store,
    turn: &Turn,
) -> Result<Vec<SnapshotPlace>, StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                let mut places: Vec<SnapshotPlace> = sqlx::query_as(
                    "select g.generation, g.tenant, g.service, g.schema,
                            f.sha256 as snapshot_sha256, f.bytes as snapshot_bytes,
                            array_agg(s.erasure) as asked
                     from cameo.erasure_steps s
                     join cameo.generations g on g.generation = s.subject
                     join cameo.snapshots f on f.generation = s.subject
                     where s.erasure = any ($1) and s.place = 'snapshot'
                       and s.rows_found_again is null and not exists (
                           select from cameo.erasure_steps o
                           where o.erasure = s.erasure and o.state <> 'done')
                     group by g.generation, f.generation order by g.generation",
                )
                .bind(turn.ids())
                .fetch_all(&mut *connection)
                .await?;
                let keys = keys_of(connection, &turn).await?;
                for place in &mut places {
                    let (asked, declared) = (&place.asked, place.key_type.as_str());
                    let fits = |key: &Key| type_of(key) == declared;
                    let mine = keys
                        .iter()
                        .filter(|erased| asked.contains(&erased.erasure.0) && fits(&erased.key));
                    place.keys = mine.cloned().collect();
                }
                Ok(places)
            })
        })
        .await
}

/// Writes down how many rows a file has of each key. One that has any is given up.
pub async fn snapshot_searched(
    store: &Store,
    turn: &Turn,
    place: &SnapshotPlace,
    found: &[u64],
) -> Result<(), StoreError> {
    let (turn, place, found) = (turn.clone(), place.clone(), found.to_vec());
    let tenant: TenantName = turn.tenant.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                let generation = place.generation;
                for (erased, rows) in place.keys.iter().zip(&found) {
                    let erasure = erased.erasure.0;
                    found_again(connection, erasure, "snapshot", generation.0, *rows).await?;
                }
                if found.iter().any(|rows| *rows > 0) {
                    renew_with(connection, &tenant, generation).await?;
                }
                Ok(())
            })
        })
        .await
}
