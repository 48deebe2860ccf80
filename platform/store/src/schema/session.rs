//! Connections that outlive a migration.
//!
//! A prepared statement that reads all columns of a table fails for as long as its connection lives once a
//! migration has added one. A connection remembers the schema that it was made under, and is given up when that
//! is no longer the newest: a process of before goes on with new connections, and no statement has to
//! name columns for the sake of upgrades.

use sqlx::PgConnection;

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

/// Whether the schema is still the one that the connection was made under.
pub(crate) async fn is_as_remembered(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let same = sqlx::query_scalar(
        "select current_setting('cameo.schema', true) is not distinct from
             (select max(version)::text from cameo.migrations)",
    )
    .fetch_one(connection)
    .await;
    match same {
        Err(error) if is_undefined(&error) => Ok(true),
        same => same,
    }
}

fn is_undefined(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| UNDEFINED.contains(&code.as_ref()))
}
