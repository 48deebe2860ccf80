//! Out of the database, as of one instant, while everybody goes on.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, PgConnection, Row, postgres::PgRow, types::Json,
};

use super::{Contents, Counter, DumpedTable, NeededArtifact};
use crate::{Store, StoreError, error::sqlstate, row::Columns, schema};

/// How rows are written, whatever this server's settings are, and how long locks are waited for.
const SETTINGS: &str = "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;
    set lock_timeout = '20s'; set datestyle = 'ISO'; set intervalstyle = 'postgres';
    set timezone = 'UTC'; set extra_float_digits = 3; set bytea_output = 'hex'";
/// The instant is that of the first query of this transaction: taking locks is none.
const BEGIN: &str = "begin isolation level repeatable read read only";
/// How often it is begun anew because a table came or went meanwhile.
const ATTEMPTS_MAX: u32 = 20;
const UNDEFINED_TABLE: &str = "42P01";

/// A view of the whole database as of one instant. While it lives no table is dropped or written anew; whoever
/// wants to comes again later. Dropping it lets go of everything.
#[derive(Debug)]
pub struct Dump {
    connection: PgConnection,
    contents: Contents,
}

impl Dump {
    /// Takes the view.
    ///
    /// Tables are locked before the instant and listed again at it: to a snapshot, one that was written anew or
    /// dropped in between would seem empty.
    pub async fn begin(store: &Store) -> Result<Self, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut connection = store.dedicated().await?;
            connection.execute(SETTINGS).await?;
            let seen = tables(&mut connection).await?;
            if seen.is_empty() {
                return Err(StoreError::NothingToBackUp);
            }
            connection.execute(BEGIN).await?;
            match lock(&mut connection, &seen).await {
                Err(error) if sqlstate(&error).as_deref() == Some(UNDEFINED_TABLE) => continue,
                locked => locked?,
            }
            let tables = tables(&mut connection).await?;
            if tables == seen {
                let contents = contents(&mut connection, tables).await?;
                return Ok(Self { connection, contents });
            }
        }
        Err(StoreError::Unsettled)
    }

    /// What there is.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The rows of a table, each a line of COPY's text format.
    pub async fn rows(
        &mut self,
        table: &DumpedTable,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + '_, StoreError> {
        // A query, because COPY of a table itself is refused where row security is on.
        let sql = format!("copy (select {} from {}) to stdout", table.columns_sql(), table.sql());
        Ok(self.connection.copy_out_raw(&sql).await?.map_err(StoreError::from))
    }

    /// Lets go of the view.
    pub async fn end(self) -> Result<(), StoreError> {
        self.connection.close().await?;
        Ok(())
    }
}

async fn lock(connection: &mut PgConnection, tables: &[DumpedTable]) -> Result<(), sqlx::Error> {
    let listed = tables.iter().map(DumpedTable::sql).collect::<Vec<_>>().join(", ");
    connection.execute(AssertSqlSafe(format!("lock table {listed} in access share mode"))).await?;
    Ok(())
}

async fn contents(
    connection: &mut PgConnection,
    tables: Vec<DumpedTable>,
) -> Result<Contents, StoreError> {
    let row = sqlx::query("select now() as taken_at, current_setting('server_version') as version")
        .fetch_one(&mut *connection)
        .await?;
    Ok(Contents {
        taken_at: row.try_get("taken_at")?,
        server_version: row.try_get("version")?,
        schema: schema::read_on(connection).await?,
        counters: counters(connection).await?,
        artifacts: artifacts(connection, &tables).await?,
        audit_entries: audit_entries(connection, &tables).await?,
        tables,
    })
}

impl FromRow<'_, PgRow> for DumpedTable {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let columns: Json<_> = row.try_get("columns")?;
        Ok(Self {
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            columns: columns.0,
            key: row.try_get("key")?,
            covered: row.try_get("covered")?,
        })
    }
}

/// Every table of the control plane but the list of migrations, which the binary writes itself; and the table
/// of every generation that has one.
pub(super) async fn tables(connection: &mut PgConnection) -> Result<Vec<DumpedTable>, StoreError> {
    let has_generations: bool =
        sqlx::query_scalar("select to_regclass('cameo.generations') is not null")
            .fetch_one(&mut *connection)
            .await?;
    let of_generations = if has_generations {
        "select to_regclass(format('%I.%I', table_schema, table_name))::oid
         from cameo.generations where dropped_at is null"
    } else {
        "select null::oid"
    };
    let sql = format!(
        "select n.nspname::text as schema, c.relname::text as name,
                (select jsonb_agg(jsonb_build_object('name', a.attname,
                            'sql_type', format_type(a.atttypid, a.atttypmod),
                            'required', a.attnotnull,
                            'sampled', coalesce(a.attstattarget, -1) <> 0) order by a.attnum)
                 from pg_attribute a
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
                indexed.key, indexed.covered
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         cross join lateral (
             select coalesce(array_agg(a.attname::text order by part.place)
                             filter (where part.place <= i.indnkeyatts), '{{}}') as key,
                    coalesce(array_agg(a.attname::text order by part.place)
                             filter (where part.place > i.indnkeyatts), '{{}}') as covered
             from pg_index i
             join pg_class named on named.oid = i.indexrelid
             cross join unnest(i.indkey) with ordinality as part (attnum, place)
             join pg_attribute a on (a.attrelid, a.attnum) = (c.oid, part.attnum)
             where i.indrelid = c.oid and i.indisunique and n.nspname <> 'cameo'
               and named.relname = c.relname || '_key') indexed
         where n.nspname = 'cameo' and c.relkind in ('r', 'p') and c.relname <> 'migrations'
            or c.oid in ({of_generations})
         order by 1, 2"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?)
}

/// Whether the schema has a table of the control plane yet.
pub(super) fn has(tables: &[DumpedTable], name: &str) -> bool {
    tables.iter().any(|table| table.is_control() && table.name == name)
}

async fn audit_entries(
    connection: &mut PgConnection,
    tables: &[DumpedTable],
) -> Result<i64, StoreError> {
    if !has(tables, "audit_head") {
        return Ok(0);
    }
    let entries =
        sqlx::query_scalar("select entries from cameo.audit_head").fetch_one(connection).await?;
    Ok(entries)
}

async fn counters(connection: &mut PgConnection) -> Result<Vec<Counter>, StoreError> {
    let rows = sqlx::query(
        "select c.relname::text as name, a.attname::text as of_column,
                pg_sequence_last_value(pg_get_serial_sequence(format('cameo.%I', c.relname),
                                                              a.attname)::regclass) as last
         from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'cameo'::regnamespace and c.relkind in ('r', 'p')
           and a.attidentity <> '' and not a.attisdropped
         order by 1, 2",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let last: Option<i64> = row.try_get("last")?;
            Ok(Counter {
                table: row.try_get("name")?,
                column: row.try_get("of_column")?,
                last: last.unwrap_or(0),
            })
        })
        .collect()
}

/// Models and what is decoded before them, and who was a member of a segment when. Snapshots are made again
/// from the tables.
async fn artifacts(
    connection: &mut PgConnection,
    tables: &[DumpedTable],
) -> Result<Vec<NeededArtifact>, StoreError> {
    let mut sql = "select distinct on (sha256) sha256, needed_by from (
             select part.value #>> '{}' as sha256,
                    format('the %s of release %s of %s/%s', part.key, left(r.release, 12), r.tenant,
                           r.service) as needed_by
             from cameo.releases r cross join jsonb_each(r.manifest) part
             where part.key in ('model', 'preprocess') and jsonb_typeof(part.value) = 'string'"
        .to_owned();
    if has(tables, "segment_materialisations") {
        sql.push_str(
            " union all
             select m.sha256, format('materialisation %s of segment %s/%s', m.number, m.tenant,
                                     m.segment)
             from cameo.segment_materialisations m where m.dropped_at is null",
        );
    }
    sql.push_str(") needed where sha256 is not null order by sha256, needed_by");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(NeededArtifact {
                sha256: row.parsed("sha256")?,
                needed_by: row.try_get("needed_by")?,
            })
        })
        .collect()
}
