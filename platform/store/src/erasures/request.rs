//! Asking for a customer to be erased.

use cameo_domain::{DataType, ErasureId, GenerationId, Key, ServiceName, ServicePath, TenantName};
use sqlx::{PgConnection, Row, types::Json};

use super::{
    ErasureRecord, SUPPRESSIONS_MAX,
    fingerprint::{self, Fingerprint},
    members::note_members,
    rows::erase_open,
};
use crate::{By, Store, StoreError, connect::say, generations::Table, row::Columns};

/// As what a key is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// As whatever it can be: in services with integer keys and in those with texts.
    Any,
    /// As the key of services that declare it `INT`.
    Int,
    /// As the key of services that declare it `STRING`.
    String,
}

impl KeyType {
    /// What `text` is as a key, by type.
    ///
    /// # Errors
    /// [`StoreError::Schema`] where it is no key of any of these types.
    pub fn keys(self, text: &str) -> Result<Vec<Key>, StoreError> {
        let kinds: &[DataType] = match self {
            Self::Any => &[DataType::Int, DataType::String],
            Self::Int => &[DataType::Int],
            Self::String => &[DataType::String],
        };
        let mut keys = Vec::new();
        let mut refused = None;
        for kind in kinds {
            match Key::parse(text, *kind) {
                Ok(key) => keys.push(key),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if keys.is_empty() => Err(StoreError::Key(error)),
            _ => Ok(keys),
        }
    }
}

/// Whom to erase.
#[derive(Debug, Clone)]
pub struct NewErasure {
    /// The key, as the services write it.
    pub key: String,
    /// As what it is meant.
    pub key_type: KeyType,
    /// From which services; none: from all of the tenant's, and from those that it will have.
    pub services: Option<Vec<ServiceName>>,
    /// Why, for the audit trail.
    pub reason: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Requested {
    /// A new erasure. Nothing of the customer is served any more.
    Created(ErasureRecord),
    /// The same had been asked for and is being worked on; this is it.
    Existing(ErasureRecord),
}

impl Requested {
    /// The erasure, new or not.
    #[must_use]
    pub fn into_erasure(self) -> ErasureRecord {
        match self {
            Self::Created(erasure) | Self::Existing(erasure) => erasure,
        }
    }
}

/// Erases a customer from what the services serve, suppresses the key in all runs to come, and leaves a
/// task for every other place. One transaction: with its commit, no reader of a table finds the customer.
pub async fn request(
    store: &Store,
    tenant: &TenantName,
    new: &NewErasure,
    by: &By,
) -> Result<Requested, StoreError> {
    let keys = new.key_type.keys(&new.key)?;
    let (owner, mut new, by) = (tenant.clone(), new.clone(), by.clone());
    if let Some(services) = &mut new.services {
        services.sort();
        services.dedup();
    }
    let (erasure, created) = store
        .transaction(move |connection| {
            Box::pin(async move { erase_served(connection, &owner, &new, &keys, &by).await })
        })
        .await?;
    let found = super::find(store, tenant, erasure).await?;
    let (record, _) = found.ok_or_else(|| StoreError::NotFound(format!("erasure {erasure}")))?;
    Ok(if created { Requested::Created(record) } else { Requested::Existing(record) })
}

async fn erase_served(
    connection: &mut PgConnection,
    tenant: &TenantName,
    new: &NewErasure,
    keys: &[Key],
    by: &By,
) -> Result<(ErasureId, bool), StoreError> {
    say(connection, &by.actor, Some(&by.origin)).await?;
    let known = sqlx::query("select from cameo.tenants where tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    known.ok_or_else(|| StoreError::NotFound(format!("tenant {tenant}")))?;
    let fingerprint = fingerprint::ensure(connection, tenant).await?;
    // Publications and rollbacks hold the service: each sees the erasure, or is seen by it.
    let services = lock_services(connection, tenant, new.services.as_deref()).await?;
    let (erasure, created) = insert(connection, tenant, new, keys, &fingerprint, by).await?;
    if !created {
        return Ok((erasure, false));
    }
    cameo_crashpoint::hit("erasure_recorded");
    for service in services {
        erase_current(connection, &service).await?;
    }
    note_members(connection, tenant, erasure, new.services.as_deref()).await?;
    Ok((erasure, true))
}

/// Locks the services in the order of their names, so that two requests do not wait for each other.
async fn lock_services(
    connection: &mut PgConnection,
    tenant: &TenantName,
    chosen: Option<&[ServiceName]>,
) -> Result<Vec<ServicePath>, StoreError> {
    let names: Option<Vec<&str>> =
        chosen.map(|services| services.iter().map(ServiceName::as_str).collect());
    let rows = sqlx::query(
        "select tenant, service from cameo.services
         where tenant = $1 and ($2::text[] is null or service = any ($2))
         order by service for no key update",
    )
    .bind(tenant.as_str())
    .bind(names)
    .fetch_all(connection)
    .await?;
    let found = rows.iter().map(Columns::path).collect::<Result<Vec<_>, _>>()?;
    for wanted in chosen.unwrap_or_default() {
        if found.iter().all(|path| path.service != *wanted) {
            return Err(StoreError::NotFound(format!("service {tenant}/{wanted}")));
        }
    }
    Ok(found)
}

/// Writes down the request, its key and its suppressions; or gives the one that is open.
async fn insert(
    connection: &mut PgConnection,
    tenant: &TenantName,
    new: &NewErasure,
    keys: &[Key],
    fingerprint: &Fingerprint,
    by: &By,
) -> Result<(ErasureId, bool), StoreError> {
    let of = |wanted: fn(&Key) -> bool| {
        keys.iter().find(|key| wanted(key)).map(|key| fingerprint.of(key).to_vec())
    };
    let as_int = of(|key| matches!(key, Key::Int(_)));
    let as_text = of(|key| matches!(key, Key::String(_)));
    let services: Option<Vec<&str>> =
        new.services.as_ref().map(|names| names.iter().map(ServiceName::as_str).collect());
    let open: Option<i64> = sqlx::query_scalar(
        "select erasure from cameo.erasures
         where tenant = $1 and state = 'erasing' and fingerprint_int is not distinct from $2
           and fingerprint_string is not distinct from $3 and services is not distinct from $4",
    )
    .bind(tenant.as_str())
    .bind(&as_int)
    .bind(&as_text)
    .bind(&services)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(open) = open {
        return Ok((ErasureId(open), false));
    }
    check_room(connection, tenant).await?;
    let erasure: i64 = sqlx::query_scalar(
        "insert into cameo.erasures
             (tenant, fingerprint_int, fingerprint_string, services, reason, actor, origin)
         values ($1, $2, $3, $4, $5, $6, $7) returning erasure",
    )
    .bind(tenant.as_str())
    .bind(&as_int)
    .bind(&as_text)
    .bind(&services)
    .bind(&new.reason)
    .bind(&by.actor)
    .bind(&by.origin)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("insert into cameo.erasure_keys (erasure, key) values ($1, $2)")
        .bind(erasure)
        .bind(&new.key)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "insert into cameo.suppressions (tenant, key_type, fingerprint, service, erasure)
         select $1, kind.key_type, kind.fingerprint, of.service, $2
         from (values ('INT', $3::bytea), ('STRING', $4::bytea)) kind (key_type, fingerprint),
              unnest(coalesce($5::text[], array[null::text])) of (service)
         where kind.fingerprint is not null
         on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(erasure)
    .bind(&as_int)
    .bind(&as_text)
    .bind(&services)
    .execute(&mut *connection)
    .await?;
    sqlx::query("insert into cameo.erasure_turns (tenant) values ($1) on conflict do nothing")
        .bind(tenant.as_str())
        .execute(connection)
        .await?;
    Ok((ErasureId(erasure), true))
}

/// Every run holds the suppressions of its tenant in memory, so they have a bound.
async fn check_room(connection: &mut PgConnection, tenant: &TenantName) -> Result<(), StoreError> {
    let present: i64 = sqlx::query_scalar(
        "select count(*) from cameo.suppressions where tenant = $1 and lifted_at is null",
    )
    .bind(tenant.as_str())
    .fetch_one(connection)
    .await?;
    let (what, limit) = ("suppressions of a tenant", SUPPRESSIONS_MAX);
    let found = usize::try_from(present).unwrap_or(usize::MAX);
    if found >= limit { Err(StoreError::TooMany { what, limit, found: found + 1 }) } else { Ok(()) }
}

async fn erase_current(
    connection: &mut PgConnection,
    path: &ServicePath,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "select g.generation, g.table_schema, g.table_name, g.schema
         from cameo.services s join cameo.generations g on g.generation = s.current_generation
         where s.tenant = $1 and s.service = $2",
    )
    .bind(path.tenant.as_str())
    .bind(path.service.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let generation = GenerationId(row.try_get("generation")?);
    let table = Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
    let schema: Json<cameo_domain::PredictionSchema> = row.try_get("schema")?;
    let removed = erase_open(connection, path, generation, &table, &schema.0).await?;
    if removed > 0 {
        // Whoever keeps something of the generation in memory looks again.
        sqlx::query("select pg_notify('cameo_publications', $1)")
            .bind(path.to_string())
            .execute(connection)
            .await?;
    }
    Ok(())
}
