//! The copies of generations in the warehouse, as far as the database knows of them.

use cameo_batch::RowDigest;
use cameo_domain::{ErasureId, GenerationId, Key, PredictionSchema, ServicePath};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::{
    ErasedKey, Turn,
    rows::note_loss,
    search::{found_again, type_of},
    turns::{hold, keys_of},
};
use crate::{
    Store, StoreError,
    row::{Columns, get, signed},
};

/// A copy that is to be gone through.
#[derive(Debug, Clone)]
pub struct MirroredPlace {
    /// Of which generation.
    pub generation: GenerationId,
    /// Whose.
    pub path: ServicePath,
    /// Its columns.
    pub schema: PredictionSchema,
    /// Whom to look for, in the type of its key.
    pub keys: Vec<ErasedKey>,
    asked: Vec<i64>,
}

impl FromRow<'_, PgRow> for MirroredPlace {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        Ok(Self {
            generation: get(row, "generation", GenerationId)?,
            path: row.path()?,
            schema: schema.0,
            keys: Vec::new(),
            asked: row.try_get("asked")?,
        })
    }
}

/// Which copies are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Those that were not gone through yet. One that a mirror is working on waits, and one whose table
    /// still shows somebody: it would be copied again.
    First,
    /// Those of erasures that are done everywhere: once more, to find nothing.
    Again,
}

/// The copies that are to be gone through now.
pub async fn mirror_places(
    store: &Store,
    turn: &Turn,
    look: Look,
) -> Result<Vec<MirroredPlace>, StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                let mut places: Vec<MirroredPlace> = sqlx::query_as(
                    "select g.generation, g.tenant, g.service, g.schema, array_agg(s.erasure) as asked
                     from cameo.erasure_steps s join cameo.generations g on g.generation = s.subject
                     where s.erasure = any ($1) and s.place = 'mirror'
                       and case when $2
                           then s.rows_found_again is null and not exists (
                               select from cameo.erasure_steps o
                               where o.erasure = s.erasure and o.state <> 'done')
                           else s.state = 'pending' and not exists (
                               select from cameo.erasure_steps t
                               where t.erasure = s.erasure and t.place = 'table'
                                 and t.subject = s.subject and t.state = 'pending')
                           end
                       and not exists (
                           select from cameo.outbox o
                           where (o.tenant, o.service) = (g.tenant, g.service)
                             and o.state = 'pending' and o.lease_expires_at > clock_timestamp())
                     group by g.generation order by g.generation",
                )
                .bind(turn.ids())
                .bind(look == Look::Again)
                .fetch_all(&mut *connection)
                .await?;
                let keys = keys_of(connection, &turn).await?;
                for place in &mut places {
                    let declared = place.schema.key().data_type;
                    let fits = |key: &Key| type_of(key) == declared.as_str();
                    let asked = &place.asked;
                    let mine = keys.iter().filter(|erased| asked.contains(&erased.erasure.0) && fits(&erased.key));
                    place.keys = mine.cloned().collect();
                }
                Ok(places)
            })
        })
        .await
}

/// Writes down what was removed from a copy, `removed` for each of its keys, and what it holds now: `copy`,
/// or nothing where nothing was removed. The record of the mirror follows, and a copy that is not what the
/// record said is made again.
pub async fn mirrored(
    store: &Store,
    turn: &Turn,
    place: &MirroredPlace,
    removed: &[u64],
    copy: Option<RowDigest>,
    look: Look,
) -> Result<(), StoreError> {
    let (turn, place) = (turn.clone(), place.clone());
    let counts: Vec<(ErasureId, u64)> =
        place.keys.iter().map(|erased| erased.erasure).zip(removed.iter().copied()).collect();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                if let Some(copy) = copy {
                    if let Some(left) = left_of_dropped(connection, place.generation).await? {
                        note_losses(connection, place.generation, &counts, left, copy).await?;
                    }
                    sqlx::query(
                        "update cameo.outbox o
                         set source_rows = cameo.rows_left(g), source_checksum = cameo.checksum_left(g),
                             mirror_rows = $2, mirror_checksum = $3
                         from cameo.generations g
                         where o.generation = $1 and g.generation = $1 and o.state = 'mirrored'",
                    )
                    .bind(place.generation.0)
                    .bind(signed(copy.rows))
                    .bind(copy.checksum.cast_signed())
                    .execute(&mut *connection)
                    .await?;
                }
                if copy.is_none() && look == Look::First {
                    copy_again(connection, place.generation).await?;
                }
                for (erasure, rows) in counts {
                    if look == Look::Again && rows == 0 {
                        let generation = place.generation.0;
                        found_again(connection, erasure.0, "mirror", generation, 0).await?;
                        continue;
                    }
                    sqlx::query(
                        "update cameo.erasure_steps
                         set state = 'done', finished_at = clock_timestamp(),
                             rows_removed = rows_removed + $3, rows_found_again = null,
                             rows_after = case when $3 > 0 then $4::bigint else rows_after end,
                             checksum_after = case when $3 > 0 then $5::bigint else checksum_after end
                         where erasure = $1 and place = 'mirror' and subject = $2",
                    )
                    .bind(erasure.0)
                    .bind(place.generation.0)
                    .bind(signed(rows))
                    .bind(copy.map(|copy| signed(copy.rows)))
                    .bind(copy.map(|copy| copy.checksum.cast_signed()))
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
}

/// What is left of a generation whose table was dropped; none while there is a table.
async fn left_of_dropped(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<Option<RowDigest>, StoreError> {
    let row = sqlx::query(
        "select cameo.rows_left(g) as rows, cameo.checksum_left(g) as checksum
         from cameo.generations g where generation = $1 and dropped_at is not null",
    )
    .bind(generation.0)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let rows = row.count("rows")?.unwrap_or_default();
    Ok(Some(RowDigest { rows, checksum: get(&row, "checksum", i64::cast_unsigned)? }))
}

/// Writes down what a generation has lost with its copy: of a dropped table nobody else can say. What the copy lacks
/// beyond that stays a breach.
async fn note_losses(
    connection: &mut PgConnection,
    generation: GenerationId,
    removed: &[(ErasureId, u64)],
    left: RowDigest,
    copy: RowDigest,
) -> Result<(), StoreError> {
    let told: u64 = removed.iter().map(|(_, rows)| rows).sum();
    let Some(mut lost) = left.rows.checked_sub(copy.rows).filter(|lost| *lost <= told) else {
        return Ok(());
    };
    // The copy is hashed as a whole; the parts of those who were erased at once are not told apart.
    let mut checksum = left.checksum ^ copy.checksum;
    for (erasure, rows) in removed {
        // Two requests may be about the same key.
        let rows = lost.min(*rows);
        if rows == 0 {
            continue;
        }
        note_loss(connection, *erasure, generation, RowDigest { rows, checksum }).await?;
        (lost, checksum) = (lost - rows, 0);
    }
    Ok(())
}

/// Lets the mirror make a copy anew that cannot be what was written down of it: its source has lost somebody, and
/// nobody was found in it. So it is after a restore, when the warehouse is another one or has gone on since the backup.
async fn copy_again(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.outbox o
         set state = 'pending', not_before = clock_timestamp(), completed_at = null,
             source_rows = null, source_checksum = null, mirror_rows = null, mirror_checksum = null
         from cameo.generations g
         where o.generation = $1 and g.generation = $1 and o.state = 'mirrored'
           and g.dropped_at is null
           and (o.mirror_rows, o.mirror_checksum)
                   is distinct from (cameo.rows_left(g), cameo.checksum_left(g))",
    )
    .bind(generation.0)
    .execute(&mut *connection)
    .await?;
    // Without a table it cannot be made again, nor has it anybody of whom the table's ledger says that they are gone.
    sqlx::query(
        "update cameo.outbox o
         set source_rows = cameo.rows_left(g), source_checksum = cameo.checksum_left(g),
             mirror_rows = cameo.rows_left(g), mirror_checksum = cameo.checksum_left(g)
         from cameo.generations g
         where o.generation = $1 and g.generation = $1 and o.state = 'mirrored'
           and g.dropped_at is not null
           and (o.mirror_rows, o.mirror_checksum)
                   is distinct from (cameo.rows_left(g), cameo.checksum_left(g))
           and exists (select from cameo.generation_erasures l where l.generation = g.generation)",
    )
    .bind(generation.0)
    .execute(connection)
    .await?;
    Ok(())
}
