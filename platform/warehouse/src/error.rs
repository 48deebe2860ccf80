//! What can go wrong in a warehouse, told apart by who can cure it.

use crate::googlesql::SqlError;

/// Why a warehouse did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The query is at fault.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The query needs more than it is granted.
    #[error("{message}; {cure}")]
    Limit {
        /// What ran out.
        message: String,
        /// How to get by with less, or where to raise the limit.
        cure: String,
    },
    /// The tenant may not do this.
    #[error("{0}")]
    Denied(String),
    /// Repeating may help: the machine or the network is at fault.
    #[error("{0}")]
    Transient(String),
    /// What is stored is not what was written, or is no table.
    #[error("{0}")]
    Corrupt(String),
}

impl WarehouseError {
    /// Whether repeating the same call may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    pub(crate) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Transient(format!("could not {what} {}: {error}", path.display()))
    }
}

/// Sorts an error of DuckDB by its class, which its message starts with.
pub(crate) fn from_duckdb(error: &duckdb::Error) -> WarehouseError {
    let text = match error {
        duckdb::Error::DuckDBFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    };
    let first = text.lines().next().unwrap_or_default().to_owned();
    let class = first.split(':').next().unwrap_or_default();
    match class {
        "Out of Memory Error" => WarehouseError::Limit {
            message: first,
            cure: "raise RUN_CONFIG.MEMORY_LIMIT_MB, or read fewer columns, filter earlier and \
                   avoid large ARRAY_AGG or DISTINCT sets"
                .to_owned(),
        },
        "Permission Error" => WarehouseError::Denied(first),
        "IO Error" | "INTERRUPT Error" | "Interrupt Error" | "FATAL Error" | "INTERNAL Error" => {
            WarehouseError::Transient(first)
        }
        "Invalid Error" | "Serialization Error" => WarehouseError::Corrupt(first),
        _ => WarehouseError::Sql(unknown_column(&text).unwrap_or_else(|| SqlError::engine(first))),
    }
}

/// How DuckDB tells of a column that no table has; the second where an alias of the SELECT list has
/// the same name.
const UNKNOWN_COLUMN: [&str; 2] = ["Binder Error: Referenced column \"", "Binder Error: Column \""];
/// How its proposals start.
const CANDIDATES: &str = "Candidate bindings: ";

/// The engine's most frequent complaint, in the words of whoever wrote the query.
fn unknown_column(text: &str) -> Option<SqlError> {
    let rest = UNKNOWN_COLUMN.iter().find_map(|start| text.strip_prefix(start))?;
    let (name, _) = rest.split_once('"')?;
    let candidates = text.lines().find_map(|line| line.strip_prefix(CANDIDATES));
    Some(SqlError {
        name: Some(name.to_owned()),
        help: candidates.map(|names| format!("the nearest are {}", names.replace('"', "`"))),
        ..SqlError::engine(format!("no table of this query has a column `{name}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_column_is_named_with_what_is_near() {
        let text = "Binder Error: Referenced column \"yaer\" not found in FROM clause!\n\
                    Candidate bindings: \"year\", \"ear\"\n\nLINE 1: SELECT yaer";
        let error = unknown_column(text).expect("it is recognised");
        assert_eq!(error.name.as_deref(), Some("yaer"));
        assert_eq!(
            error.to_string(),
            "no table of this query has a column `yaer`; the nearest are `year`, `ear`"
        );
        assert_eq!(unknown_column("Binder Error: something else"), None);
    }
}
