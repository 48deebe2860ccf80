//! Erasing customers, and leaving them out from then on.
//!
//! [`request`] erases a customer from what is served in the same transaction that records the request
//! and the suppressions. Everything else is worked through by turns ([`claim`], [`discover`] and what
//! follows): old generations, quarantine, copies. A run that is under way publishes without the customer,
//! because [`crate::generations::publish`] takes out whoever is being erased at that moment. An erasure is
//! done when every place was searched again and found empty; the database refuses it before.

mod fingerprint;
mod members;
mod mirrored;
mod quarantined;
mod request;
mod rows;
mod search;
mod snapshotted;
mod suppressed;
mod tables;
mod turns;

pub use fingerprint::Fingerprint;
pub use members::{
    MembersPlace, members_renewed, members_searched, members_to_delete, members_to_search,
};
pub use mirrored::{Look, MirroredPlace, mirror_places, mirrored};
pub use quarantined::erase_quarantine;
pub use request::{KeyType, NewErasure, Requested, request};
pub(crate) use rows::erase_open;
pub use search::search_again;
pub use snapshotted::{SnapshotPlace, snapshot_searched, snapshots_renewed, snapshots_to_search};
pub use suppressed::{
    SUPPRESSIONS_MAX, Suppressed, SuppressionRecord, lift, suppressed, suppressions,
};
pub use tables::{erase_table, tables, to_rewrite};
pub(crate) use turns::hold;
pub use turns::{
    ERASURES_AT_ONCE, Turn, claim, close, discover, end, forget_keys, heartbeat, put_off,
};

use cameo_batch::RowDigest;
use cameo_domain::{ErasureId, Key, ServiceName, Sha256, TenantName};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow};

use crate::{
    Store, StoreError,
    row::{Columns, get},
};

/// Most erasures that [`list`] gives.
pub const LISTED_MAX: i64 = 200;

/// A key that is being erased, in one of the types that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedKey {
    /// For which request.
    pub erasure: ErasureId,
    /// The key.
    pub key: Key,
}

/// Where an erasure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Nothing of the customer is served any more; copies and old generations are being worked through.
    Erasing,
    /// Every place was searched, and searched again: nothing is left.
    Done,
}

/// A request to erase a customer, without the key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErasureRecord {
    /// Its number.
    pub erasure: ErasureId,
    /// Whose customer.
    pub tenant: TenantName,
    /// HMAC of the key as an integer, where it can be one.
    pub fingerprint_int: Option<Sha256>,
    /// HMAC of the key as text, where it was meant as one.
    pub fingerprint_string: Option<Sha256>,
    /// Of which services; none: of all.
    pub services: Option<Vec<ServiceName>>,
    /// What the request says of itself.
    pub reason: Option<String>,
    /// Who asked.
    pub actor: String,
    /// Where it stands.
    pub state: ErasureState,
    /// When it was asked for; from then on nothing of the customer is served.
    pub requested_at: DateTime<Utc>,
    /// When the last place was found empty.
    pub finished_at: Option<DateTime<Utc>>,
    /// How many places are known so far.
    pub places: u64,
    /// How many of them are done.
    pub places_done: u64,
    /// How many rows were removed so far, in all places together.
    pub rows_removed: u64,
}

impl FromRow<'_, PgRow> for ErasureRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let services: Option<Vec<String>> = row.try_get("services")?;
        let services = services.map(|names| names.iter().map(|name| name.parse()).collect());
        let services = services.transpose().map_err(|source: cameo_domain::NameError| {
            sqlx::Error::ColumnDecode { index: "services".to_owned(), source: Box::new(source) }
        })?;
        let state: &str = row.try_get("state")?;
        Ok(Self {
            erasure: get(row, "erasure", ErasureId)?,
            tenant: row.parsed("tenant")?,
            fingerprint_int: fingerprint::read(row, "fingerprint_int")?,
            fingerprint_string: fingerprint::read(row, "fingerprint_string")?,
            services,
            reason: row.try_get("reason")?,
            actor: row.try_get("actor")?,
            state: if state == "done" { ErasureState::Done } else { ErasureState::Erasing },
            requested_at: row.try_get("requested_at")?,
            finished_at: row.try_get("finished_at")?,
            places: row.count("places")?.unwrap_or_default(),
            places_done: row.count("places_done")?.unwrap_or_default(),
            rows_removed: row.count("rows_removed")?.unwrap_or_default(),
        })
    }
}

/// What was done in one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// `run` (waited for, until it had ended), `table`, `quarantine`, `mirror`, `snapshot` or `segment`.
    pub place: String,
    /// Of which service, where it is of one.
    pub service: Option<ServiceName>,
    /// The run, the generation or the materialisation; none of a place that there is once.
    pub subject: Option<i64>,
    /// `pending`; `removed`, where nothing is in sight but bytes may be left; `done`.
    pub state: String,
    /// How many rows were removed.
    pub rows_removed: u64,
    /// Count and checksum before, where rows were removed.
    pub before: Option<RowDigest>,
    /// Count and checksum of what is left, computed from what is stored.
    pub after: Option<RowDigest>,
    /// How many rows the search at the end found: none.
    pub rows_found_again: Option<u64>,
    /// When the place was done.
    pub finished_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for StepRecord {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let subject: i64 = row.try_get("subject")?;
        Ok(Self {
            place: row.try_get("place")?,
            service: row.parsed_option("service")?,
            subject: Some(subject).filter(|subject| *subject != 0),
            state: row.try_get("state")?,
            rows_removed: row.count("rows_removed")?.unwrap_or_default(),
            before: digest(row, "before")?,
            after: digest(row, "after")?,
            rows_found_again: row.count("rows_found_again")?,
            finished_at: row.try_get("finished_at")?,
        })
    }
}

fn digest(row: &PgRow, when: &str) -> Result<Option<RowDigest>, sqlx::Error> {
    let checksum: Option<i64> = row.try_get(format!("checksum_{when}").as_str())?;
    let rows = row.count(&format!("rows_{when}"))?;
    Ok(rows
        .zip(checksum)
        .map(|(rows, checksum)| RowDigest { rows, checksum: checksum.cast_unsigned() }))
}

macro_rules! erasures_sql {
    ($rest:literal) => {
        concat!(
            "select e.*, (select count(*) from cameo.erasure_steps s where s.erasure = e.erasure) as places,
                 (select count(*) from cameo.erasure_steps s
                  where s.erasure = e.erasure and s.state = 'done') as places_done,
                 (select coalesce(sum(s.rows_removed), 0)::bigint from cameo.erasure_steps s
                  where s.erasure = e.erasure) as rows_removed
             from cameo.erasures e where e.tenant = $1 ",
            $rest
        )
    };
}

/// The tenant's latest erasures, newest first.
pub async fn list(store: &Store, tenant: &TenantName) -> Result<Vec<ErasureRecord>, StoreError> {
    let records = sqlx::query_as(erasures_sql!("order by e.erasure desc limit $2"))
        .bind(tenant.as_str())
        .bind(LISTED_MAX)
        .fetch_all(store.control())
        .await?;
    Ok(records)
}

/// An erasure and every place that it went through or has still to go through.
pub async fn find(
    store: &Store,
    tenant: &TenantName,
    erasure: ErasureId,
) -> Result<Option<(ErasureRecord, Vec<StepRecord>)>, StoreError> {
    let record: Option<ErasureRecord> = sqlx::query_as(erasures_sql!("and e.erasure = $2"))
        .bind(tenant.as_str())
        .bind(erasure.0)
        .fetch_optional(store.control())
        .await?;
    let Some(record) = record else { return Ok(None) };
    let steps = sqlx::query_as(
        "select * from cameo.erasure_steps where erasure = $1 order by place, subject",
    )
    .bind(erasure.0)
    .fetch_all(store.control())
    .await?;
    Ok(Some((record, steps)))
}

/// An entry of the audit trail about an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailEntry {
    /// Its number.
    pub entry: i64,
    /// `customer.erasure_requested` or `customer.erased`.
    pub action: String,
    /// Its hash, which follows from everything that was written before.
    pub hash: Sha256,
}

/// The entries of the audit trail about an erasure, oldest first.
pub async fn trail(
    store: &Store,
    tenant: &TenantName,
    erasure: ErasureId,
) -> Result<Vec<TrailEntry>, StoreError> {
    let rows = sqlx::query(
        "select entry, action, hash from cameo.audit
         where tenant = $1 and subject = $2
           and action in ('customer.erasure_requested', 'customer.erased') order by entry",
    )
    .bind(tenant.as_str())
    .bind(erasure.to_string())
    .fetch_all(store.control())
    .await?;
    let entries = rows.iter().map(|row| {
        Ok(TrailEntry {
            entry: row.try_get("entry")?,
            action: row.try_get("action")?,
            hash: row.parsed("hash")?,
        })
    });
    Ok(entries.collect::<Result<_, sqlx::Error>>()?)
}

/// What makes fingerprints of the tenant's customers; none where nobody was ever erased.
pub async fn fingerprint(
    store: &Store,
    tenant: &TenantName,
) -> Result<Option<Fingerprint>, StoreError> {
    let mut connection = store.control().acquire().await?;
    fingerprint::of_tenant(&mut connection, tenant).await
}
