//! The view of each service, for SQL users.

use cameo_domain::{DataType, GenerationId, PredictionSchema, ServicePath};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::Table;
use crate::{
    Store, StoreError,
    row::{Columns, get, quoted, tenant_schema},
    tenants::confine,
};

/// Most views that one call moves.
const VIEWS_MAX: i64 = 64;
/// Longest wait for a reader of the view; longer would queue all other readers behind it.
const VIEW_LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";
const LOCK_NOT_AVAILABLE: &str = "55P03";

struct Behind {
    path: ServicePath,
    generation: GenerationId,
    table: Table,
    schema: PredictionSchema,
    shown_schema: Option<PredictionSchema>,
}

impl FromRow<'_, PgRow> for Behind {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema: Json<PredictionSchema> = row.try_get("schema")?;
        let table =
            Table { schema: row.try_get("table_schema")?, name: row.try_get("table_name")? };
        Ok(Self {
            path: row.path()?,
            generation: get(row, "generation", GenerationId)?,
            table,
            schema: schema.0,
            shown_schema: row.json("shown_schema")?,
        })
    }
}

const BEHIND: &str = "
    select s.tenant, s.service, g.generation, g.table_schema, g.table_name, g.schema,
           v.schema as shown_schema
    from cameo.services s
    join cameo.generations g on g.generation = s.current_generation
    left join cameo.generations v on v.generation = s.view_generation
    where s.view_generation is distinct from s.current_generation";

/// Points the views `tenant_<tenant>.<service>` at the current generations where they are behind.
/// A view that somebody is reading stays as it is until the next call. Gives the views that moved.
pub async fn refresh_views(store: &Store) -> Result<Vec<ServicePath>, StoreError> {
    let sql = format!("{BEHIND} order by s.tenant, s.service limit $1");
    let behind: Vec<Behind> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(VIEWS_MAX).fetch_all(store.control()).await?;
    let mut moved = Vec::new();
    for service in behind {
        let path = service.path.clone();
        let outcome = store
            .transaction(move |connection| {
                Box::pin(async move { point(connection, &service.path).await })
            })
            .await;
        match outcome {
            Ok(()) => moved.push(path),
            Err(error) if error.sqlstate().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                tracing::debug!(service = %path, "the view is in use; it follows later");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

/// Lets the service's view show a table with the columns that it has already, or with more.
pub(super) async fn replace(
    connection: &mut PgConnection,
    path: &ServicePath,
    table: &Table,
    schema: &PredictionSchema,
) -> Result<(), StoreError> {
    let columns: Vec<String> = schema
        .columns()
        .map(|column| {
            let name = quoted(column.name.as_str());
            match column.data_type {
                DataType::Json => format!("{name}::json as {name}"),
                _ => name,
            }
        })
        .collect();
    let sql = format!(
        "create or replace view {}.{} as select {} from {}",
        quoted(&tenant_schema(&path.tenant)),
        quoted(path.service.as_str()),
        columns.join(", "),
        table.sql()
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn point(connection: &mut PgConnection, path: &ServicePath) -> Result<(), StoreError> {
    sqlx::query(VIEW_LOCK_TIMEOUT).execute(&mut *connection).await?;
    let (tenant, service) = (path.tenant.as_str(), path.service.as_str());
    sqlx::query("select from cameo.services where tenant = $1 and service = $2 for no key update")
        .bind(tenant)
        .bind(service)
        .execute(&mut *connection)
        .await?;
    let sql = format!("{BEHIND} and s.tenant = $1 and s.service = $2");
    let behind: Option<Behind> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(tenant)
        .bind(service)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(behind) = behind else { return Ok(()) };
    let view = format!("{}.{}", quoted(&tenant_schema(&path.tenant)), quoted(service));
    if behind.shown_schema.as_ref() != Some(&behind.schema) {
        // A replaced view may only gain columns at its end.
        sqlx::query(AssertSqlSafe(format!("drop view if exists {view}")))
            .execute(&mut *connection)
            .await?;
    }
    replace(connection, path, &behind.table, &behind.schema).await?;
    // A view that was made anew has no reader yet. A tenant without a role is `cameo doctor`'s to tell.
    confine(connection, &path.tenant).await?;
    sqlx::query(
        "update cameo.services set view_generation = $3 where tenant = $1 and service = $2",
    )
    .bind(tenant)
    .bind(service)
    .bind(behind.generation.0)
    .execute(connection)
    .await?;
    Ok(())
}
