//! Comparing two generations where they lie.

use cameo_domain::{Column, DataType, PredictionSchema};
use cameo_insight::{mean_shift, stability_index};
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{Check, Limits, SHARED_KEYS_MIN};
use crate::{StoreError, generations::Table, row::quoted};

/// Memory that sorting and joining may take before they go to disk.
const WORK_MEMORY: &str = "set local work_mem = '64MB'";
/// Where the bins of a distribution end: its least value, its deciles, its greatest value.
const QUANTILES: &str = "array[0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1]::float8[]";

/// A complete generation.
pub(super) struct Side {
    pub(super) table: Table,
    pub(super) schema: PredictionSchema,
}

/// Compares what `shadow` holds with what `production` holds.
pub(super) async fn compare(
    connection: &mut PgConnection,
    production: &Side,
    shadow: &Side,
    limits: &Limits,
) -> Result<Vec<Check>, StoreError> {
    let identity = |side: &Side| -> Vec<Column> { side.schema.identity().cloned().collect() };
    if identity(production) != identity(shadow) {
        let check = Check::new("columns", None, false);
        return Ok(vec![check.saying("the keys have different names or types")]);
    }
    sqlx::query(WORK_MEMORY).execute(&mut *connection).await?;
    let common = common(production, shadow);
    let mut checks = keys_and_changes(connection, production, shadow, &common, limits).await?;
    for column in common.iter().filter(|column| column.data_type != DataType::Json) {
        checks.extend(column_checks(connection, production, shadow, column, limits).await?);
    }
    Ok(checks)
}

/// The predictions that both have.
fn common(production: &Side, shadow: &Side) -> Vec<Column> {
    let named_by = production.schema.identity().count();
    let others: Vec<_> = shadow.schema.columns().collect();
    let columns = production.schema.columns().skip(named_by);
    // What is sealed differs in every row, and says nothing.
    let sealed = |column: &Column| {
        let name = column.name.as_str();
        production.schema.is_sensitive(name) || shadow.schema.is_sensitive(name)
    };
    columns.filter(|column| others.contains(column) && !sealed(column)).cloned().collect()
}

fn is_number(column: &Column) -> bool {
    matches!(column.data_type, DataType::Int | DataType::Float64)
}

/// Whether what counts of a column is whether its values are the same.
fn is_label(column: &Column) -> bool {
    matches!(column.data_type, DataType::String | DataType::Bool)
}

/// How many keys both have, and how many of these have other labels: one join.
async fn keys_and_changes(
    connection: &mut PgConnection,
    production: &Side,
    shadow: &Side,
    common: &[Column],
    limits: &Limits,
) -> Result<Vec<Check>, StoreError> {
    let labels: Vec<_> = common.iter().filter(|column| is_label(column)).collect();
    let key = quoted(production.schema.key().name.as_str());
    let both = format!("p.{key} is not null and s.{key} is not null");
    let changed = labels.iter().map(|column| {
        let name = quoted(column.name.as_str());
        format!(", count(*) filter (where {both} and p.{name} is distinct from s.{name})")
    });
    let on: Vec<_> = production
        .schema
        .identity()
        .map(|column| quoted(column.name.as_str()))
        .map(|name| format!("p.{name} = s.{name}"))
        .collect();
    let sql = format!(
        "select count(*), count(*) filter (where {both}){} from {} p full join {} s on {}",
        changed.collect::<String>(),
        production.table.sql(),
        shadow.table.sql(),
        on.join(" and "),
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
    let (all, both): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let share = |part: i64, whole: i64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let shared = if all == 0 { 1.0 } else { share(both, all) };
    let mut checks = vec![Check {
        found: Some(shared),
        limit: Some(SHARED_KEYS_MIN),
        ..Check::new("keys", None, shared >= SHARED_KEYS_MIN)
    }];
    for (index, column) in labels.iter().enumerate() {
        let found = share(row.try_get(index + 2)?, both);
        let subject = Some(column.name.as_str());
        checks.push(Check::at_most("changed", subject, found, limits.changed_share_max));
    }
    Ok(checks)
}

async fn column_checks(
    connection: &mut PgConnection,
    production: &Side,
    shadow: &Side,
    column: &Column,
    limits: &Limits,
) -> Result<Vec<Check>, StoreError> {
    let subject = Some(column.name.as_str());
    let before = summary(connection, &production.table, column).await?;
    let now = summary(connection, &shadow.table, column).await?;
    let mut checks = vec![Check::new("constant", subject, now.varies || !before.varies)];
    if !is_number(column) {
        return Ok(checks);
    }
    let shift = match (before.mean, now.mean) {
        (Some(baseline), Some(current)) => mean_shift(baseline, before.deviation, current),
        (None, None) => 0.0,
        _ => f64::INFINITY,
    };
    checks.push(Check::at_most("mean", subject, shift, limits.mean_shift_max));
    let baseline = bins(connection, &production.table, column, &before.quantiles).await?;
    let current = bins(connection, &shadow.table, column, &before.quantiles).await?;
    let index = stability_index(&baseline, &current);
    checks.push(Check::at_most("distribution", subject, index, limits.psi_max));
    Ok(checks)
}

struct Summary {
    /// Whether there are two different values.
    varies: bool,
    mean: Option<f64>,
    deviation: f64,
    /// See [`QUANTILES`]; none of a column without a value.
    quantiles: Vec<f64>,
}

async fn summary(
    connection: &mut PgConnection,
    table: &Table,
    column: &Column,
) -> Result<Summary, StoreError> {
    let name = quoted(column.name.as_str());
    let ordered =
        if column.data_type == DataType::Bool { format!("{name}::int") } else { name.clone() };
    let numbers = if is_number(column) {
        format!(
            ", avg({name}::float8), stddev_pop({name}::float8),
             percentile_disc({QUANTILES}) within group (order by {name}::float8)"
        )
    } else {
        String::new()
    };
    let sql = format!(
        "select coalesce(min({ordered}) <> max({ordered}), false){numbers} from {}",
        table.sql()
    );
    let row: PgRow = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
    let varies = row.try_get(0)?;
    if !is_number(column) {
        return Ok(Summary { varies, mean: None, deviation: 0.0, quantiles: Vec::new() });
    }
    let (deviation, quantiles): (Option<f64>, Option<Vec<f64>>) =
        (row.try_get(2)?, row.try_get(3)?);
    Ok(Summary {
        varies,
        mean: row.try_get(1)?,
        deviation: deviation.unwrap_or_default(),
        quantiles: quantiles.unwrap_or_default(),
    })
}

/// How many values lie below the least quantile, between each two, above the greatest, and how many are
/// null: values that leave the baseline's range count.
async fn bins(
    connection: &mut PgConnection,
    table: &Table,
    column: &Column,
    quantiles: &[f64],
) -> Result<Vec<u64>, StoreError> {
    let mut edges = quantiles.to_vec();
    edges.dedup();
    let greatest = edges.last().copied();
    let name = quoted(column.name.as_str());
    // Bins from 0, below the first edge; the last two are for what is above all edges, and for nulls.
    let above = edges.len() + 1;
    let sql = format!(
        "select case when {name} is null then $3 + 1
                     when {name}::float8 > $2 then $3
                     else width_bucket({name}::float8, $1) end as bin, count(*) as values
         from {} group by 1",
        table.sql()
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(&edges)
        .bind(greatest)
        .bind(i32::try_from(above).unwrap_or(i32::MAX))
        .fetch_all(connection)
        .await?;
    let mut counts = vec![0; above + 2];
    for row in rows {
        let (bin, values): (i32, i64) = (row.try_get("bin")?, row.try_get("values")?);
        if let Some(count) = usize::try_from(bin).ok().and_then(|bin| counts.get_mut(bin)) {
            *count += values.unsigned_abs();
        }
    }
    Ok(counts)
}
