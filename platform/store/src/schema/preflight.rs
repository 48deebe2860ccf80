//! What would keep a migration from going through, looked for before it begins.

use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::{Fit, Step, migrate::require_version, newest, read_on};
use crate::{Store, StoreError};

/// A transaction that is open for longer than this is worth a word: a migration would wait for it.
const OPEN_SECONDS_MIN: f64 = 2.0;
/// Most obstacles of a kind that are told.
const OBSTACLES_MAX: i64 = 20;

/// What a migration would find.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preflight {
    /// Of Postgres.
    pub server_version: String,
    /// The schema that the database has; 0 where it is empty.
    pub schema: i64,
    /// The schema that this binary brings.
    pub known: i64,
    /// What would be applied, in this order.
    pub missing: Vec<Step>,
    /// The oldest schema whose binaries may run beside this one afterwards.
    pub works_since: i64,
    /// What has to go first.
    pub obstacles: Vec<Obstacle>,
    /// Who else works on the database.
    pub beside: Vec<Beside>,
    /// How large the database is. Migrations rewrite no table of predictions.
    pub database_bytes: u64,
}

/// Something that a migration would fail at, or wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Obstacle {
    /// What it is.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Connections of one kind to the same database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Beside {
    /// What they call themselves.
    pub application: String,
    /// How many there are.
    pub connections: i64,
}

/// Looks at the database as a migration would find it. Nothing is changed, and nothing is waited for.
///
/// # Errors
/// [`StoreError::ServerTooOld`], and those of [`super::Schema::fit`].
pub async fn preflight(store: &Store) -> Result<Preflight, StoreError> {
    let mut connection = store.control().acquire().await?;
    let server_version = require_version(&mut connection).await?;
    let schema = read_on(&mut connection).await?;
    let missing = match schema.fit()? {
        Fit::Behind(missing) => missing,
        Fit::Current | Fit::Ahead => Vec::new(),
    };
    // Of a schema without a word on it, nobody but who knows all of it may go on.
    let now = schema.works_since.unwrap_or_else(|| schema.version());
    let works_since = missing.iter().filter_map(|step| step.works_since).max().unwrap_or(now);
    Ok(Preflight {
        server_version,
        schema: schema.version(),
        known: newest(),
        works_since: works_since.max(now),
        obstacles: obstacles(&mut connection).await?,
        beside: beside(&mut connection).await?,
        database_bytes: database_bytes(&mut connection).await?,
        missing,
    })
}

async fn obstacles(connection: &mut PgConnection) -> Result<Vec<Obstacle>, StoreError> {
    let found = sqlx::query_as(
        "(select case when a.xact_start is null
                     then format('process %s (user %s) holds locks; since when is not shown to %s',
                                 a.pid, a.usename, current_user)
                     else format('process %s (%s, user %s) has had a transaction open for %s s: %s',
                                 a.pid, coalesce(nullif(a.application_name, ''), 'no name'), a.usename,
                                 round(extract(epoch from clock_timestamp() - a.xact_start)),
                                 left(a.query, 80)) end as problem,
                 format('wait for its end, or end it: select pg_terminate_backend(%s)', a.pid) as remedy
          from pg_stat_activity a
          where a.datname = current_database() and a.pid <> pg_backend_pid()
            -- The server's own, such as autovacuum, give way by themselves.
            and a.usename is not null
            -- Of other roles' processes a role without pg_read_all_stats is shown next to nothing.
            and (a.xact_start is null
                 or a.xact_start < clock_timestamp() - make_interval(secs => $1))
            and exists (select from pg_locks l join pg_class c on c.oid = l.relation
                        where l.pid = a.pid and l.granted
                          and c.relnamespace = to_regnamespace('cameo'))
          order by a.xact_start limit $2)
         union all
         (select format('a prepared transaction holds its locks since %s: %s', p.prepared, p.gid),
                 format('commit prepared %L, or rollback prepared %1$L', p.gid)
          from pg_prepared_xacts p where p.database = current_database()
          order by p.prepared limit $2)
         union all
         (select format('cameo.%s belongs to %s, and this is %s', c.relname,
                        pg_get_userbyid(c.relowner), current_user),
                 format('connect as its owner, or: alter table cameo.%I owner to %I', c.relname,
                        current_user)
          from pg_class c
          where c.relnamespace = to_regnamespace('cameo') and c.relkind in ('r', 'p')
            and not pg_has_role(c.relowner, 'usage')
          order by c.relname limit $2)
         union all
         (select format('%s may not create schemas in the database %s', current_user,
                        current_database()),
                 format('grant create on database %I to %I', current_database(), current_user)
          where not has_database_privilege(current_database(), 'create'))",
    )
    .bind(OPEN_SECONDS_MIN)
    .bind(OBSTACLES_MAX)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

async fn beside(connection: &mut PgConnection) -> Result<Vec<Beside>, StoreError> {
    let found = sqlx::query_as(
        "select coalesce(nullif(application_name, ''), 'no name') as application,
                count(*) as connections
         from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()
           and backend_type = 'client backend'
         group by 1 order by 1 limit $1",
    )
    .bind(OBSTACLES_MAX)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

async fn database_bytes(connection: &mut PgConnection) -> Result<u64, StoreError> {
    let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
        .fetch_one(connection)
        .await?;
    Ok(bytes.unsigned_abs())
}
