//! Everything in the database that cannot be made again: out of it as of one instant, and back into an empty one.
//!
//! The tables of the control plane go as they are, under the schema that they have; those of generations with
//! their columns and their key. What follows from them is made again: views, snapshots, rights, statistics. Rows
//! travel in the text format of COPY, which every version of Postgres reads.

mod dump;
mod load;
mod prove;

pub use dump::Dump;
pub use load::{Load, LoadedTable};
pub use prove::prove;

use cameo_domain::Sha256;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Store, StoreError,
    row::{quoted, quoted_list},
    schema::Schema,
};

/// The schema of the control plane.
const CONTROL: &str = "cameo";

/// What a backup of the database holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The instant as of which it is, by the database's clock.
    pub taken_at: DateTime<Utc>,
    /// Of the Postgres that it was taken from.
    pub server_version: String,
    /// The schema that its tables have.
    pub schema: Schema,
    /// The tables, by their names.
    pub tables: Vec<DumpedTable>,
    /// How far numbers were given out.
    pub counters: Vec<Counter>,
    /// What the rows refer to in the artifact store.
    pub artifacts: Vec<NeededArtifact>,
    /// How many entries the audit trail has.
    pub audit_entries: i64,
}

/// A table of the control plane, or of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpedTable {
    /// `cameo`, or the schema of a tenant.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<DumpedColumn>,
    /// The columns that name a row of a generation's table; none of one that was never sealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The columns that the index on them has beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<String>,
}

impl DumpedTable {
    /// Whether it is one of the control plane's.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.schema == CONTROL
    }

    fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    fn columns_sql(&self) -> String {
        quoted_list(self.columns.iter().map(|column| column.name.as_str()))
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpedColumn {
    /// Its name.
    pub name: String,
    /// Its type, in Postgres' words.
    pub sql_type: String,
    /// Whether it has a value in every row.
    pub required: bool,
    /// Whether Postgres may keep a sample of its values.
    pub sampled: bool,
}

/// How far the numbers of a column were given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The table of the control plane.
    pub table: String,
    /// The column.
    pub column: String,
    /// The last number that was given out.
    pub last: i64,
}

/// An artifact without which rows are of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededArtifact {
    /// Its address.
    pub sha256: Sha256,
    /// What refers to it.
    pub needed_by: String,
}

/// Notes in the audit trail that somebody took everything along, or brought it back. A schema of before there
/// was a trail keeps no note.
pub async fn note(
    store: &Store,
    action: &'static str,
    subject: &str,
    detail: Value,
) -> Result<(), StoreError> {
    let subject = subject.to_owned();
    store
        .transaction(move |connection| {
            Box::pin(async move {
                let has_trail: bool =
                    sqlx::query_scalar("select to_regclass('cameo.audit') is not null")
                        .fetch_one(&mut *connection)
                        .await?;
                if has_trail {
                    sqlx::query("select cameo.append_audit(null, null, null, $1, $2, $3)")
                        .bind(action)
                        .bind(subject)
                        .bind(detail)
                        .execute(connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
}
