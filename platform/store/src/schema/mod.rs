//! The version of the schema: which migrations are applied, which ones this binary knows, and whether both fit.
//!
//! A schema may be newer than a binary: during an upgrade old and new ones run side by side. The schema itself says
//! from which version on binaries may work on it (`cameo.schema_compatibility`), so that an old one is kept out
//! exactly when a migration has taken away what it relies on.

mod migrate;
mod preflight;
mod session;

pub(crate) use migrate::run_to;
pub use migrate::{MIGRATION_PATIENCE, Migrated, migrate, migrate_within};
pub use preflight::{Beside, Obstacle, Preflight, preflight};
pub(crate) use session::{is_fit, remember};

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, migrate::Migrator};

use crate::{Store, StoreError};

/// Where the applied migrations are listed. Qualified, because an unqualified name would change its
/// meaning for a database role of the schema's name as soon as the schema exists.
const MIGRATIONS_TABLE: &str = "cameo.migrations";
/// How a migration says that binaries which do not know it cannot work on the schema any more.
const RAISES: &str = "set works_since = ";

/// A migration that this binary brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// The oldest schema whose binaries work on this one, where it leaves any behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub works_since: Option<i64>,
}

/// A migration that was applied to a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// The digest of its text, in hexadecimal digits.
    pub checksum: String,
}

/// The schema that a database has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// In the order of their numbers.
    pub applied: Vec<Applied>,
    /// The number of the migration that a binary has to know; none says a schema of before there was such a word.
    pub works_since: Option<i64>,
}

/// How a schema fits this binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Both know the same migrations.
    Current,
    /// These are still to be applied.
    Behind(Vec<Step>),
    /// The schema is newer, and says that this binary may work on it.
    Ahead,
}

impl Schema {
    /// The number of the newest migration; 0 of an empty database.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.applied.last().map_or(0, |last| last.version)
    }

    /// Whether this binary may work on the schema.
    ///
    /// # Errors
    /// [`StoreError::MigrationChanged`], and [`StoreError::SchemaTooNew`] where it says no.
    pub fn fit(&self) -> Result<Fit, StoreError> {
        let known = known();
        let mut unknown = false;
        for applied in &self.applied {
            match known.iter().find(|migration| migration.version == applied.version) {
                Some(migration) if hexadecimal(&migration.checksum) != applied.checksum => {
                    return Err(StoreError::MigrationChanged(applied.version));
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        if unknown && self.works_since.is_none_or(|since| since > newest()) {
            return Err(StoreError::SchemaTooNew {
                found: self.version(),
                works_since: self.works_since.unwrap_or_else(|| self.version()),
                known: newest(),
            });
        }
        let missing: Vec<Step> = steps()
            .into_iter()
            .filter(|step| !self.applied.iter().any(|applied| applied.version == step.version))
            .collect();
        Ok(match (missing.is_empty(), unknown) {
            (false, _) => Fit::Behind(missing),
            (true, true) => Fit::Ahead,
            (true, false) => Fit::Current,
        })
    }
}

/// The schema that the database has now.
pub async fn read(store: &Store) -> Result<Schema, StoreError> {
    let mut connection = store.control().acquire().await?;
    read_on(&mut connection).await
}

/// Refuses a database on which this binary cannot work. Nothing is changed.
///
/// # Errors
/// [`StoreError::SchemaBehind`] where migrations are missing, and those of [`Schema::fit`].
pub async fn check(store: &Store) -> Result<(), StoreError> {
    let schema = read(store).await?;
    match schema.fit()? {
        Fit::Current => Ok(()),
        Fit::Ahead => {
            warn_ahead(&schema);
            Ok(())
        }
        Fit::Behind(_) => {
            Err(StoreError::SchemaBehind { found: schema.version(), known: newest() })
        }
    }
}

pub(crate) async fn read_on(connection: &mut PgConnection) -> Result<Schema, StoreError> {
    if !exists(connection, MIGRATIONS_TABLE).await? {
        return Ok(Schema { applied: Vec::new(), works_since: None });
    }
    let applied = sqlx::query_as(
        "select version, encode(checksum, 'hex') as checksum from cameo.migrations
         where success order by version",
    )
    .fetch_all(&mut *connection)
    .await?;
    let works_since = if exists(connection, "cameo.schema_compatibility").await? {
        sqlx::query_scalar("select works_since from cameo.schema_compatibility")
            .fetch_optional(connection)
            .await?
    } else {
        None
    };
    Ok(Schema { applied, works_since })
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(table)
        .fetch_one(connection)
        .await?;
    Ok(found)
}

/// The migrations that this binary brings, in their order.
#[must_use]
pub fn steps() -> Vec<Step> {
    known()
        .iter()
        .map(|migration| Step {
            version: migration.version,
            name: migration.description.to_string(),
            works_since: raised(migration.sql.as_str()),
        })
        .collect()
}

/// The number of the newest migration that this binary brings.
#[must_use]
pub fn newest() -> i64 {
    known().iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// What the text of a migration sets the compatibility to.
fn raised(sql: &str) -> Option<i64> {
    let (_, after) = sql.split_once(RAISES)?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn known() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations");
    migrator.create_schema("cameo");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    // Whether newer ones may be there is asked before, with more to say than yes or no.
    migrator.set_ignore_missing(true);
    migrator
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn warn_ahead(schema: &Schema) {
    tracing::warn!(
        found = schema.version(),
        known = newest(),
        "the database has a newer schema, on which this version may still work: finish the upgrade"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(extra: &[i64], works_since: Option<i64>) -> Schema {
        let known = known();
        let mut applied: Vec<Applied> = known
            .iter()
            .map(|migration| Applied {
                version: migration.version,
                checksum: hexadecimal(&migration.checksum),
            })
            .collect();
        applied.extend(
            extra.iter().map(|version| Applied { version: *version, checksum: "00".to_owned() }),
        );
        Schema { applied, works_since }
    }

    #[test]
    fn a_newer_schema_is_worked_on_exactly_where_it_says_so() {
        let newer = newest() + 1;
        assert_eq!(schema(&[], Some(23)).fit().expect("a fit"), Fit::Current);
        assert_eq!(schema(&[newer], Some(23)).fit().expect("a fit"), Fit::Ahead);
        assert_eq!(schema(&[newer], Some(newest())).fit().expect("a fit"), Fit::Ahead);
        for works_since in [Some(newer), None] {
            let refused = schema(&[newer], works_since).fit().expect_err("a refusal");
            let StoreError::SchemaTooNew { found, works_since, known } = refused else {
                panic!("{refused}")
            };
            assert_eq!((found, works_since, known), (newer, newer, newest()));
        }
    }

    #[test]
    fn an_older_schema_is_told_what_it_misses_and_a_changed_migration_is_refused() {
        let mut older = schema(&[], None);
        older.applied.truncate(3);
        let Fit::Behind(missing) = older.fit().expect("a fit") else { panic!("it is behind") };
        assert_eq!(missing.first().map(|step| step.version), Some(4));
        assert_eq!(missing.last().map(|step| step.version), Some(newest()));

        older.applied[1].checksum = "00".to_owned();
        let refused = older.fit().expect_err("a refusal");
        assert!(matches!(refused, StoreError::MigrationChanged(2)), "{refused}");
    }

    #[test]
    fn what_a_migration_raises_is_read_from_its_text() {
        assert_eq!(raised("update cameo.schema_compatibility set works_since = 31;"), Some(31));
        assert_eq!(raised("alter table cameo.runs add column note text"), None);
    }
}
