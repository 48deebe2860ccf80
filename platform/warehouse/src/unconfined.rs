//! The platform's own SQL.

use duckdb::Connection;

use crate::{WarehouseError, error::from_duckdb};

/// Runs statements of the platform's own, such as the generator of the demo's customers, on a
/// DuckDB that may read and write any file. Never for SQL that a tenant wrote.
pub fn run_unconfined(sql: &str) -> Result<(), WarehouseError> {
    let connection = Connection::open_in_memory().map_err(|error| from_duckdb(&error))?;
    connection.execute_batch(sql).map_err(|error| from_duckdb(&error))
}
