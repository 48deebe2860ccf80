//! The files of members of segments. Like those of generations they are not changed: one that has somebody who
//! is erased is given up, whoever reads it, and the segment is made anew from what is clean.
//!
//! Which files may have the customer is noted with the request, once no worker can add another one. Of an erasure from
//! all services every later file is searched as well; of one from some services a later file may have the
//! customer by right, through the others.

use cameo_domain::{ErasureId, SegmentName, ServiceName, Sha256, TenantName};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};

use super::{
    ErasedKey, Look, Turn,
    search::found_again,
    turns::{hold, keys_of},
};
use crate::{
    Store, StoreError,
    row::{Columns, get, signed},
    segments::{MaterialisationFile, outdate},
};

/// Notes every file that may have the customer. The caller holds the services, so that whoever makes members
/// from now on makes them from what is clean.
pub(super) async fn note_members(
    connection: &mut PgConnection,
    tenant: &TenantName,
    erasure: ErasureId,
    services: Option<&[ServiceName]>,
) -> Result<(), StoreError> {
    outdate(connection, tenant).await?;
    let names: Option<Vec<&str>> =
        services.map(|services| services.iter().map(ServiceName::as_str).collect());
    sqlx::query(
        "insert into cameo.erasure_steps (erasure, place, subject)
         select $1, 'segment', materialisation from cameo.segment_materialisations
         where tenant = $2 and removed_at is null
           and ($3::text[] is null or generations ?| $3)",
    )
    .bind(erasure.0)
    .bind(tenant.as_str())
    .bind(names)
    .execute(connection)
    .await?;
    Ok(())
}

/// A file of members that is to be searched.
#[derive(Debug, Clone)]
pub struct MembersPlace {
    /// The segment.
    pub segment: SegmentName,
    /// Which of its materialisations.
    pub number: u32,
    /// The file's address in the artifact store.
    pub sha256: Sha256,
    /// Whom to look for, in every type that their key may have.
    pub keys: Vec<ErasedKey>,
    materialisation: i64,
    asked: Vec<i64>,
}

impl FromRow<'_, PgRow> for MembersPlace {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            segment: row.parsed("segment")?,
            number: get(row, "number", i32::unsigned_abs)?,
            sha256: row.parsed("sha256")?,
            keys: Vec::new(),
            materialisation: row.try_get("materialisation")?,
            asked: row.try_get("asked")?,
        })
    }
}

/// The files to search now. One that was given up is searched no more: it is deleted, whoever it has.
pub async fn members_to_search(
    store: &Store,
    turn: &Turn,
    look: Look,
) -> Result<Vec<MembersPlace>, StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                pass_given_up(connection, &turn, look).await?;
                let mut places: Vec<MembersPlace> = sqlx::query_as(
                    "select m.segment, m.number, m.sha256, m.materialisation,
                            array_agg(s.erasure) as asked
                     from cameo.erasure_steps s
                     join cameo.segment_materialisations m on m.materialisation = s.subject
                     where s.erasure = any ($1) and s.place = 'segment' and m.dropped_at is null
                       and case when $2
                           then s.rows_found_again is null and not exists (
                               select from cameo.erasure_steps o
                               where o.erasure = s.erasure and o.state <> 'done')
                           else s.state = 'pending' end
                     group by m.tenant, m.segment, m.number order by m.materialisation",
                )
                .bind(turn.ids())
                .bind(look == Look::Again)
                .fetch_all(&mut *connection)
                .await?;
                let keys = keys_of(connection, &turn).await?;
                for place in &mut places {
                    let asked = &place.asked;
                    let mine = keys.iter().filter(|erased| asked.contains(&erased.erasure.0));
                    place.keys = mine.cloned().collect();
                }
                Ok(places)
            })
        })
        .await
}

/// Of a file that was given up nothing is left to find once it is deleted.
async fn pass_given_up(
    connection: &mut PgConnection,
    turn: &Turn,
    look: Look,
) -> Result<(), StoreError> {
    let sql = match look {
        Look::First => {
            "update cameo.erasure_steps s set state = 'removed'
             from cameo.segment_materialisations m
             where s.erasure = any ($1) and s.place = 'segment' and s.state = 'pending'
               and m.materialisation = s.subject and m.dropped_at is not null"
        }
        Look::Again => {
            "update cameo.erasure_steps s set rows_found_again = 0
             from cameo.segment_materialisations m
             where s.erasure = any ($1) and s.place = 'segment' and s.state = 'done'
               and m.materialisation = s.subject and m.removed_at is not null"
        }
    };
    sqlx::query(sql).bind(turn.ids()).execute(connection).await?;
    Ok(())
}

/// Writes down how many rows a file has of each of its keys. One that has any is given up, pinned or not, and its
/// segment is made anew where it was the latest.
pub async fn members_searched(
    store: &Store,
    turn: &Turn,
    place: &MembersPlace,
    found: &[u64],
    look: Look,
) -> Result<(), StoreError> {
    let (turn, place, found) = (turn.clone(), place.clone(), found.to_vec());
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                for erasure in &place.asked {
                    let mine =
                        place.keys.iter().zip(&found).filter(|(key, _)| key.erasure.0 == *erasure);
                    let rows: u64 = mine.map(|(_, rows)| rows).sum();
                    match look {
                        Look::First => record(connection, *erasure, &place, rows).await?,
                        Look::Again => {
                            let subject = place.materialisation;
                            found_again(connection, *erasure, "segment", subject, rows).await?;
                        }
                    }
                }
                if look == Look::First && found.iter().any(|rows| *rows > 0) {
                    give_up(connection, &turn.tenant, &place).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn record(
    connection: &mut PgConnection,
    erasure: i64,
    place: &MembersPlace,
    rows: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.erasure_steps
         set rows_removed = rows_removed + $3, rows_found_again = null,
             state = case when $3 > 0 then 'removed' else 'done' end,
             finished_at = case when $3 > 0 then null else clock_timestamp() end
         where erasure = $1 and place = 'segment' and subject = $2 and state = 'pending'",
    )
    .bind(erasure)
    .bind(place.materialisation)
    .bind(signed(rows))
    .execute(connection)
    .await?;
    Ok(())
}

async fn give_up(
    connection: &mut PgConnection,
    tenant: &TenantName,
    place: &MembersPlace,
) -> Result<(), StoreError> {
    sqlx::query(
        "update cameo.segment_materialisations set dropped_at = clock_timestamp()
         where materialisation = $1 and dropped_at is null",
    )
    .bind(place.materialisation)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "update cameo.segments g
         set seen_version = null, seen_generations = null, not_before = now()
         where g.tenant = $1 and g.segment = $2 and $3 = (
             select max(number) from cameo.segment_materialisations m
             where (m.tenant, m.segment) = (g.tenant, g.segment))",
    )
    .bind(tenant.as_str())
    .bind(place.segment.as_str())
    .bind(i32::try_from(place.number).unwrap_or(i32::MAX))
    .execute(connection)
    .await?;
    Ok(())
}

/// The files that were given up, for whatever reason, and are still to be deleted.
pub async fn members_to_delete(
    store: &Store,
    turn: &Turn,
) -> Result<Vec<MaterialisationFile>, StoreError> {
    let files = sqlx::query_as(
        "select distinct m.tenant, m.segment, m.number, m.sha256
         from cameo.erasure_steps s
         join cameo.segment_materialisations m on m.materialisation = s.subject
         where s.erasure = any ($1) and s.place = 'segment'
           and m.dropped_at is not null and m.removed_at is null
         order by m.segment, m.number",
    )
    .bind(turn.ids())
    .fetch_all(store.control())
    .await?;
    Ok(files)
}

/// Ends the places whose files are deleted, by whomever.
pub async fn members_renewed(store: &Store, turn: &Turn) -> Result<(), StoreError> {
    let turn = turn.clone();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                hold(connection, &turn).await?;
                sqlx::query(
                    "update cameo.erasure_steps s
                     set state = 'done', finished_at = clock_timestamp()
                     from cameo.segment_materialisations m
                     where s.erasure = any ($1) and s.place = 'segment' and s.state = 'removed'
                       and m.materialisation = s.subject and m.removed_at is not null",
                )
                .bind(turn.ids())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}
