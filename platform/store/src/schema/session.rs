//! Connections that outlive a migration.
//!
//! A prepared statement that reads all columns of a table fails for as long as its connection lives once a
//! migration has added one. A connection remembers the schema that it was made under, and is given up when that
//! is no longer the newest: a process of before goes on with new connections, and no statement has to
//! name columns for the sake of upgrades.

use sqlx::{PgConnection, Row};

/// `undefined_table`, and `invalid_schema_name`: nothing was ever migrated.
const UNDEFINED: [&str; 2] = ["42P01", "3F000"];

/// Notes on a new connection which schema there is.
pub(crate) async fn remember(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let noted = sqlx::query(
        "select set_config('cameo.schema', (select max(version)::text from cameo.migrations), false)",
    )
    .execute(connection)
    .await;
    match noted {
        Err(error) if !is_undefined(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether a pooled connection may be handed out, in one round trip: nobody left it in a transaction, and the schema
/// is still the one that it was made under.
///
/// sqlx leaves a transaction open when whoever began it is dropped in between
/// (launchbadge/sqlx#4385). Whatever the next one wrote on it would be acknowledged, and gone with the transaction that
/// somebody forgot. Outside of a transaction a simple query begins one of its own, as late as itself.
pub(crate) async fn is_fit(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let asked = sqlx::raw_sql(
        "select now() = statement_timestamp() as outside,
             current_setting('cameo.schema', true) is not distinct from
                 (select max(version)::text from cameo.migrations) as as_remembered",
    )
    .fetch_one(&mut *connection)
    .await;
    let row = match asked {
        // A transaction that somebody left is broken by that error, so this fails in it.
        Err(error) if is_undefined(&error) => {
            sqlx::raw_sql("select true as outside, true as as_remembered")
                .fetch_one(connection)
                .await
        }
        asked => asked,
    }?;
    let outside: bool = row.try_get("outside")?;
    if !outside {
        tracing::error!("a pooled connection was left in a transaction; it is closed");
    }
    Ok(outside && row.try_get("as_remembered")?)
}

fn is_undefined(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| UNDEFINED.contains(&code.as_ref()))
}
