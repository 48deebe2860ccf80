//! The hot path: predictions by key, and the pointers that say from which table.

use std::collections::HashMap;

use cameo_domain::{
    DataType, GenerationId, Key, KeyRef, PredictionSchema, ReleaseId, ServicePath, TenantName,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, FromRow, Postgres, Row, postgres::PgRow, query::Query, types::Json};

use crate::{
    Store, StoreError,
    error::sqlstate,
    generations::Table,
    patience::PatientPool,
    releases::ReleaseHashes,
    row::{Columns, get, quoted, signed},
    snapshots::SnapshotFile,
};

mod hints;
mod reader;
pub use hints::{Hint, Hints, listen, wake};
pub use reader::Reader;

/// Most keys of one call of [`many`].
pub const KEYS_MAX: usize = 10_000;
/// Most rows that one call of [`many`] may meet: a service that ranks has several per key.
pub const ROWS_MAX: usize = 100_000;
const UNDEFINED_TABLE: &str = "42P01";

/// What a service serves: read it with [`current`], keep it, and read it again on a hint, from time
/// to time, and after [`StoreError::StaleGeneration`].
#[derive(Debug, Clone)]
pub struct ServedGeneration {
    /// Whose predictions.
    pub path: ServicePath,
    /// Which generation.
    pub generation: GenerationId,
    /// Its table.
    pub table: Table,
    /// Its columns.
    pub schema: PredictionSchema,
    /// What made it.
    pub release: ReleaseId,
    /// The version that the release's config states.
    pub version: String,
    /// The hashes of what made it.
    pub hashes: ReleaseHashes,
    /// The newest modification of what it was made from.
    pub watermark: Option<DateTime<Utc>>,
    /// When its predictions were made.
    pub predicted_at: DateTime<Utc>,
    /// For which instant.
    pub due_at: DateTime<Utc>,
    /// When it was first published.
    pub published_at: DateTime<Utc>,
    /// Age after which the service's predictions count as stale.
    pub stale_after_seconds: u64,
    /// How many rows it has, less what was erased.
    pub rows: u64,
    /// Its immutable file, where it has one already.
    pub snapshot: Option<SnapshotFile>,
    one_sql: String,
    many_sql: String,
    first_sql: String,
}

impl FromRow<'_, PgRow> for ServedGeneration {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        let schema = schema.0;
        let table =
            Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
        let columns: Vec<String> =
            schema.columns().map(|column| quoted(column.name.as_str())).collect();
        let all = format!("select {} from {}", columns.join(", "), table.sql());
        let select = format!("{all} where {}", quoted(schema.key().name.as_str()));
        let identity: Vec<String> =
            schema.identity().map(|column| quoted(column.name.as_str())).collect();
        let order = match schema.identity().nth(1) {
            Some(rank) => format!(" order by {}", quoted(rank.name.as_str())),
            None => String::new(),
        };
        Ok(Self {
            path: row.path()?,
            generation: get(row, "generation", GenerationId)?,
            table,
            schema,
            release: row.parsed("release")?,
            version: row.try_get("version")?,
            hashes: ReleaseHashes {
                config: row.parsed("config_hash")?,
                sql: row.parsed("sql_hash")?,
                model: row.parsed("model_hash")?,
            },
            watermark: row.try_get("watermark")?,
            predicted_at: row.try_get("predicted_at")?,
            due_at: row.try_get("due_at")?,
            published_at: row.try_get("published_at")?,
            stale_after_seconds: row.count("stale_after_seconds")?.unwrap_or_default(),
            rows: row.count("rows_left")?.unwrap_or_default(),
            snapshot: SnapshotFile::of(row)?,
            one_sql: format!("{select} = $1{order}"),
            many_sql: format!("{select} = any($1){order}"),
            first_sql: format!("{all} order by {} limit $1", identity.join(", ")),
        })
    }
}

impl ServedGeneration {
    /// Most keys of one call of [`many`] for this generation.
    #[must_use]
    pub fn keys_max(&self) -> usize {
        let rows_per_key = self.schema.top_n().map_or(1, |top_n| top_n as usize);
        (ROWS_MAX / rows_per_key.max(1)).clamp(1, KEYS_MAX)
    }
}

/// A predicted value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// No prediction.
    Null,
    /// `INT`.
    Int(i64),
    /// `FLOAT64`; what is not finite is null in JSON.
    Float(f64),
    /// `STRING`.
    Text(String),
    /// `BOOL`.
    Bool(bool),
    /// `DATE`.
    Date(NaiveDate),
    /// `TIMESTAMP`.
    Timestamp(DateTime<Utc>),
    /// `JSON`: a document as it was written.
    #[serde(serialize_with = "as_document")]
    Json(String),
}

/// Writes the document itself, not a string that holds it.
fn as_document<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let document: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
    document.serialize(serializer)
}

/// The predictions for one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Whom they are about.
    pub key: Key,
    /// In declared order, without the key; of a service that ranks, one row after the other by rank.
    pub values: Vec<Value>,
}

impl Prediction {
    /// The values of the first row under their declared names.
    #[must_use]
    pub fn to_json(&self, schema: &PredictionSchema) -> serde_json::Map<String, serde_json::Value> {
        let names = schema.predictions().iter().map(|column| column.name.to_string());
        let values = self.values.iter().map(|value| match value {
            Value::Null => serde_json::Value::Null,
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.clone().into(),
            Value::Bool(value) => (*value).into(),
            Value::Date(value) => value.to_string().into(),
            Value::Timestamp(value) => {
                value.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into()
            }
            Value::Json(text) => serde_json::from_str(text).unwrap_or_default(),
        });
        names.zip(values).collect()
    }
}

macro_rules! served_sql {
    ($generation:literal, $rest:literal) => {
        // The age limit is that of what is in production; where nothing is, and for everything else,
        // that of the release that made the generation.
        concat!(
            "select g.*, cameo.rows_left(g) as rows_left, made.version, f.sha256 as snapshot_sha256, f.bytes as snapshot_bytes,
                    coalesce(now_runs.stale_after_seconds, made.stale_after_seconds)
                        as stale_after_seconds
             from cameo.services s
             join cameo.generations g
                 on (g.tenant, g.service) = (s.tenant, s.service) and g.generation = ",
            $generation,
            " join cameo.releases made
                  on (made.tenant, made.service, made.release) = (g.tenant, g.service, g.release)
              left join cameo.snapshots f on f.generation = g.generation
              left join cameo.releases now_runs
                  on (now_runs.tenant, now_runs.service, now_runs.release)
                   = (s.tenant, s.service, s.release) ",
            $rest
        )
    };
}

/// What every service with a published generation serves, of one tenant or of all.
pub async fn current(
    store: &Store,
    tenant: Option<&TenantName>,
) -> Result<Vec<ServedGeneration>, StoreError> {
    let served = sqlx::query_as(served_sql!(
        "s.current_generation",
        "where $1::text is null or s.tenant = $1 order by s.tenant, s.service"
    ))
    .bind(tenant.map(TenantName::as_str))
    .fetch_all(store.control())
    .await?;
    Ok(served)
}

/// A generation that was published and is still kept, current or not.
pub async fn kept(
    store: &Store,
    path: &ServicePath,
    generation: GenerationId,
) -> Result<Option<ServedGeneration>, StoreError> {
    let served = sqlx::query_as(served_sql!(
        "$3",
        "where s.tenant = $1 and s.service = $2 and g.state = 'published' and g.dropped_at is null"
    ))
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .bind(generation.0)
    .fetch_optional(store.control())
    .await?;
    Ok(served)
}

/// The predictions for a key, or none.
pub async fn one(
    store: &Store,
    served: &ServedGeneration,
    key: &Key,
) -> Result<Option<Prediction>, StoreError> {
    check_key(served, key)?;
    let rows = rows(store.lookups(), &served.one_sql, served, |query| bind_one(query, key)).await?;
    of_one_key(&rows, served)
}

/// The predictions for up to [`ServedGeneration::keys_max`] keys, in the order of the keys, with none for unknown
/// ones.
pub async fn many(
    store: &Store,
    served: &ServedGeneration,
    keys: &[Key],
) -> Result<Vec<Option<Prediction>>, StoreError> {
    check_keys(served, keys)?;
    let bind = |query| bind_many(query, served, keys);
    let rows = rows(store.lookups(), &served.many_sql, served, bind).await?;
    of_many_keys(&rows, served, keys)
}

fn bind_one(
    query: Query<'static, Postgres, Arguments>,
    key: &Key,
) -> Query<'static, Postgres, Arguments> {
    match key {
        Key::Int(key) => query.bind(*key),
        Key::String(key) => query.bind(key.clone()),
    }
}

fn bind_many(
    query: Query<'static, Postgres, Arguments>,
    served: &ServedGeneration,
    keys: &[Key],
) -> Query<'static, Postgres, Arguments> {
    if served.schema.key().data_type == DataType::Int {
        let keys = keys.iter().filter_map(|key| match key {
            Key::Int(key) => Some(*key),
            Key::String(_) => None,
        });
        query.bind(keys.collect::<Vec<_>>())
    } else {
        let keys = keys.iter().filter_map(|key| match key {
            Key::String(key) => Some(key.clone()),
            Key::Int(_) => None,
        });
        query.bind(keys.collect::<Vec<_>>())
    }
}

fn of_one_key(rows: &[PgRow], served: &ServedGeneration) -> Result<Option<Prediction>, StoreError> {
    let mut rows = rows.iter().map(|row| read(row, &served.schema));
    let Some(mut prediction) = rows.next().transpose()? else { return Ok(None) };
    for row in rows {
        prediction.values.extend(row?.values);
    }
    Ok(Some(prediction))
}

fn of_many_keys(
    rows: &[PgRow],
    served: &ServedGeneration,
    keys: &[Key],
) -> Result<Vec<Option<Prediction>>, StoreError> {
    // Where each key was asked for first: rows are put there, and copied only for keys that were asked twice.
    let mut places: HashMap<KeyRef<'_>, usize> = HashMap::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        places.entry(key.as_ref()).or_insert(place);
    }
    let mut found: Vec<Option<Prediction>> = vec![None; keys.len()];
    for row in rows {
        let prediction = read(row, &served.schema)?;
        let Some(place) = places.get(&prediction.key.as_ref()) else { continue };
        match &mut found[*place] {
            // Rows come by rank, so the keys' rows stay in order.
            Some(known) => known.values.extend(prediction.values),
            free => *free = Some(prediction),
        }
    }
    for (at, key) in keys.iter().enumerate() {
        let place = places[&key.as_ref()];
        if place != at {
            let copy = found[place].clone();
            found[at] = copy;
        }
    }
    Ok(found)
}

/// The predictions of the first `limit` rows in the order of their keys, for a look at a whole
/// generation; at most [`ROWS_MAX`] rows.
pub async fn first(
    store: &Store,
    served: &ServedGeneration,
    limit: u32,
) -> Result<Vec<Prediction>, StoreError> {
    let limit = signed(u64::from(limit).min(ROWS_MAX as u64));
    let rows = rows(store.lookups(), &served.first_sql, served, |query| query.bind(limit)).await?;
    Ok(rows.iter().map(|row| read(row, &served.schema)).collect::<Result<_, _>>()?)
}

type Arguments = <Postgres as sqlx::Database>::Arguments;

async fn rows(
    pool: PatientPool<'_>,
    sql: &str,
    served: &ServedGeneration,
    bind: impl Fn(Query<'static, Postgres, Arguments>) -> Query<'static, Postgres, Arguments>,
) -> Result<Vec<PgRow>, StoreError> {
    let mut repeated = false;
    loop {
        let query = bind(sqlx::query(AssertSqlSafe(sql.to_owned())));
        match query.fetch_all(pool).await {
            Ok(rows) => return Ok(rows),
            Err(error) if sqlstate(&error).as_deref() == Some(UNDEFINED_TABLE) => {
                return Err(StoreError::StaleGeneration(served.generation));
            }
            // Connections are not tested before use: one that had died is replaced, once.
            Err(sqlx::Error::Io(_)) if !repeated => repeated = true,
            Err(error) => return Err(error.into()),
        }
    }
}

fn check_keys(served: &ServedGeneration, keys: &[Key]) -> Result<(), StoreError> {
    let limit = served.keys_max();
    if keys.len() > limit {
        return Err(StoreError::TooMany { what: "keys", limit, found: keys.len() });
    }
    keys.iter().try_for_each(|key| check_key(served, key))
}

fn check_key(served: &ServedGeneration, key: &Key) -> Result<(), StoreError> {
    let declared = served.schema.key();
    match (key, declared.data_type) {
        (Key::Int(_), DataType::Int) | (Key::String(_), DataType::String) => Ok(()),
        (_, expected) => Err(StoreError::Schema(format!(
            "expected a key of type {expected} (`{}`), found `{key}`",
            declared.name
        ))),
    }
}

fn read(row: &PgRow, schema: &PredictionSchema) -> Result<Prediction, sqlx::Error> {
    let key = match schema.key().data_type {
        DataType::Int => Key::Int(row.try_get(0)?),
        _ => Key::String(row.try_get(0)?),
    };
    let values = schema
        .predictions()
        .iter()
        .enumerate()
        .map(|(index, column)| value(row, index + 1, column.data_type))
        .collect::<Result<_, _>>()?;
    Ok(Prediction { key, values })
}

fn value(row: &PgRow, index: usize, declared: DataType) -> Result<Value, sqlx::Error> {
    Ok(match declared {
        DataType::Int => row.try_get::<Option<i64>, _>(index)?.map(Value::Int),
        DataType::Float64 => row.try_get::<Option<f64>, _>(index)?.map(Value::Float),
        DataType::String => row.try_get::<Option<String>, _>(index)?.map(Value::Text),
        DataType::Json => row.try_get::<Option<String>, _>(index)?.map(Value::Json),
        DataType::Bool => row.try_get::<Option<bool>, _>(index)?.map(Value::Bool),
        DataType::Date => row.try_get::<Option<NaiveDate>, _>(index)?.map(Value::Date),
        DataType::Timestamp => {
            row.try_get::<Option<DateTime<Utc>>, _>(index)?.map(Value::Timestamp)
        }
    }
    .unwrap_or(Value::Null))
}
