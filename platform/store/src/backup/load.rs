//! Into an empty database, whole or not at all.

use std::collections::BTreeSet;

use cameo_domain::TenantName;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres, Row, Transaction, postgres::PgCopyIn};

use super::{
    CONTROL, Contents, DumpedTable,
    dump::{has, tables},
};
use crate::{
    Store, StoreError,
    generations::{TABLE_STORAGE, Table, index_definition},
    row::{quoted, tenant_schema},
    schema::{Fit, newest, run_to},
};

/// Everything happens in one transaction, which takes as long as it takes.
const SETTINGS: &str = "set local statement_timeout = 0;
    set local idle_in_transaction_session_timeout = 0; set local lock_timeout = '20s';
    set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; set local timezone = 'UTC';
    set local maintenance_work_mem = '256MB'";
/// So many numbers are left out. Those that were given out after the instant of the backup may be known to readers
/// by their caches, to the mirror and to receivers of webhooks: they must never mean anything else.
const NUMBERS_SKIPPED: i64 = 1_000_000;
/// The types that columns of predictions have.
const PREDICTION_TYPES: [&str; 6] =
    ["bigint", "boolean", "date", "double precision", "text", "timestamp with time zone"];

/// A database on its way back. Nothing of it is there before [`Load::finish`].
#[derive(Debug)]
pub struct Load {
    transaction: Transaction<'static, Postgres>,
    foreign_keys: Vec<ForeignKey>,
    contents: Contents,
}

#[derive(Debug)]
struct ForeignKey {
    table: String,
    name: String,
    definition: String,
}

impl Load {
    /// Makes the schema that the backup has, without anything in it.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`]; [`StoreError::BackupShape`] where the tables are not those of this schema; and
    /// those of [`crate::schema::Schema::fit`].
    pub async fn begin(store: &Store, contents: Contents) -> Result<Self, StoreError> {
        let version = contents.schema.version();
        if contents.schema.fit()? == Fit::Ahead {
            return Err(StoreError::BackupShape(format!(
                "it has schema {version} and this version of Cameo knows {}; restore it with the version \
                 that took it, or with a newer one",
                newest()
            )));
        }
        let mut transaction = store.control().begin().await?;
        transaction.execute(SETTINGS).await?;
        require_empty(&mut transaction).await?;
        run_to(&mut transaction, version).await?;
        require_tables(&mut transaction, &contents).await?;
        let foreign_keys = foreign_keys(&mut transaction).await?;
        for key in &foreign_keys {
            let ForeignKey { table, name, .. } = key;
            let sql = format!("alter table {table} drop constraint {name}");
            transaction.execute(AssertSqlSafe(sql)).await?;
        }
        let control: Vec<_> = contents.tables.iter().filter(|table| table.is_control()).collect();
        for table in &control {
            let sql = format!("alter table {} disable trigger user", table.sql());
            transaction.execute(AssertSqlSafe(sql)).await?;
        }
        // What migrations put in comes with the backup.
        let listed = control.iter().map(|table| table.sql()).collect::<Vec<_>>().join(", ");
        transaction.execute(AssertSqlSafe(format!("truncate {listed}"))).await?;
        for table in contents.tables.iter().filter(|table| !table.is_control()) {
            create(&mut transaction, table).await?;
        }
        Ok(Self { transaction, foreign_keys, contents })
    }

    /// Begins to fill a table with lines of COPY's text format.
    pub async fn table(&mut self, table: &DumpedTable) -> Result<LoadedTable<'_>, StoreError> {
        let sql = format!("copy {} ({}) from stdin", table.sql(), table.columns_sql());
        Ok(LoadedTable { sink: self.transaction.copy_in_raw(&sql).await? })
    }

    /// Puts back what keeps the tables in order, and commits. Views and snapshots are marked to be made again.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        let connection = &mut *self.transaction;
        for table in &self.contents.tables {
            index(connection, table).await?;
        }
        for tenant in tenants(connection).await? {
            let sql = format!("create schema if not exists {}", quoted(&tenant_schema(&tenant)));
            connection.execute(AssertSqlSafe(sql)).await?;
        }
        make_again(connection, &self.contents).await?;
        for ForeignKey { table, name, definition } in &self.foreign_keys {
            let sql = format!("alter table {table} add constraint {name} {definition}");
            connection.execute(AssertSqlSafe(sql)).await?;
        }
        for table in self.contents.tables.iter().filter(|table| table.is_control()) {
            let sql = format!("alter table {} enable trigger user", table.sql());
            connection.execute(AssertSqlSafe(sql)).await?;
        }
        for counter in &self.contents.counters {
            sqlx::query("select setval(pg_get_serial_sequence($1, $2), $3)")
                .bind(format!("{CONTROL}.{}", quoted(&counter.table)))
                .bind(&counter.column)
                .bind(counter.last + NUMBERS_SKIPPED)
                .execute(&mut *connection)
                .await?;
        }
        self.transaction.commit().await?;
        Ok(())
    }
}

/// A table that is being filled. Dropping it breaks the load off.
pub struct LoadedTable<'l> {
    sink: PgCopyIn<&'l mut PgConnection>,
}

impl LoadedTable<'_> {
    /// Sends lines, or parts of them.
    pub async fn send(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        self.sink.send(lines).await?;
        Ok(())
    }

    /// Ends the table and gives how many rows it took.
    pub async fn finish(self) -> Result<u64, StoreError> {
        Ok(self.sink.finish().await?)
    }
}

async fn require_empty(connection: &mut PgConnection) -> Result<(), StoreError> {
    let found: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace
         where nspname = 'cameo' or starts_with(nspname::text, 'tenant_') order by 1",
    )
    .fetch_all(connection)
    .await?;
    if found.is_empty() { Ok(()) } else { Err(StoreError::NotEmpty { schemas: found.join(", ") }) }
}

/// The backup has the tables of its schema with their columns, no fewer and no others.
async fn require_tables(
    connection: &mut PgConnection,
    contents: &Contents,
) -> Result<(), StoreError> {
    let shapes = |tables: &[DumpedTable]| -> BTreeSet<String> {
        let control = tables.iter().filter(|table| table.is_control());
        control.map(|table| format!("{} ({})", table.sql(), table.columns_sql())).collect()
    };
    let (expected, found) = (shapes(&tables(connection).await?), shapes(&contents.tables));
    if let Some(missing) = expected.difference(&found).next() {
        return Err(StoreError::BackupShape(format!("expected the table {missing}")));
    }
    if let Some(strange) = found.difference(&expected).next() {
        return Err(StoreError::BackupShape(format!(
            "schema {} has no table {strange}",
            contents.schema.version()
        )));
    }
    Ok(())
}

async fn foreign_keys(connection: &mut PgConnection) -> Result<Vec<ForeignKey>, StoreError> {
    let rows = sqlx::query(
        "select format('%I.%I', n.nspname, c.relname) as of_table, quote_ident(k.conname) as name,
                pg_get_constraintdef(k.oid) as definition
         from pg_constraint k
         join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
         where k.contype = 'f' and n.nspname = 'cameo' order by k.oid",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ForeignKey {
                table: row.try_get("of_table")?,
                name: row.try_get("name")?,
                definition: row.try_get("definition")?,
            })
        })
        .collect()
}

/// Makes the table of a generation as its run had made it.
async fn create(connection: &mut PgConnection, table: &DumpedTable) -> Result<(), StoreError> {
    let tenant = table.schema.strip_prefix("tenant_").map(str::parse::<TenantName>);
    if !matches!(tenant, Some(Ok(_))) {
        let found = &table.schema;
        return Err(StoreError::BackupShape(format!("`{found}` is no tenant's schema")));
    }
    let mut columns = Vec::new();
    for column in &table.columns {
        if !PREDICTION_TYPES.contains(&column.sql_type.as_str()) {
            return Err(StoreError::BackupShape(format!(
                "expected a type of predictions, found {} of the column {} of {}",
                column.sql_type,
                column.name,
                table.sql()
            )));
        }
        let collation = if column.sql_type == "text" { " collate \"C\"" } else { "" };
        let required = if column.required { " not null" } else { "" };
        columns.push(format!("{} {}{collation}{required}", quoted(&column.name), column.sql_type));
    }
    let (name, columns) = (table.sql(), columns.join(", "));
    let mut statements = vec![
        format!("create schema if not exists {}", quoted(&table.schema)),
        format!("create table {name} ({columns}){TABLE_STORAGE}"),
    ];
    let unsampled = table.columns.iter().filter(|column| !column.sampled);
    statements.extend(unsampled.map(|column| {
        format!("alter table {name} alter column {} set statistics 0", quoted(&column.name))
    }));
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

async fn index(connection: &mut PgConnection, table: &DumpedTable) -> Result<(), StoreError> {
    if !table.key.is_empty() {
        let of = Table { schema: table.schema.clone(), name: table.name.clone() };
        let (key, covered) = (table.key.iter(), table.covered.iter());
        let index = index_definition(&of, key.map(String::as_str), covered.map(String::as_str));
        let sql = format!("create unique index {index}");
        connection.execute(AssertSqlSafe(sql)).await?;
    }
    connection.execute(AssertSqlSafe(format!("analyze {}", table.sql()))).await?;
    Ok(())
}

async fn tenants(connection: &mut PgConnection) -> Result<Vec<TenantName>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar("select tenant from cameo.tenants order by tenant")
        .fetch_all(connection)
        .await?;
    names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::BackupShape(format!("of a tenant: {error}")))
}

/// Marks as missing what the backup left out because it follows from the rest.
async fn make_again(connection: &mut PgConnection, contents: &Contents) -> Result<(), StoreError> {
    sqlx::query("update cameo.services set view_generation = null")
        .execute(&mut *connection)
        .await?;
    if has(&contents.tables, "snapshots") {
        sqlx::query(
            "update cameo.snapshots
             set state = 'pending', epoch = epoch + 1, attempts = 0, not_before = now(),
                 lease_expires_at = null, sha256 = null, bytes = null, ready_at = null
             where state = 'ready'",
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}
