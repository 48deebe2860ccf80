//! Look-ups on a connection of their own.

use cameo_domain::Key;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, postgres::PgRow, query::Query};

use super::{
    Arguments, Prediction, ServedGeneration, UNDEFINED_TABLE, bind_many, bind_one, check_key,
    check_keys, of_many_keys, of_one_key,
};
use crate::{Store, StoreError, error::sqlstate, patience::within};

/// How the errors begin of a server that stops, or that ends a connection.
const OPERATOR_INTERVENTION: &str = "57P";

/// Looks up on a connection of its own, one query after the other. Its futures must be awaited to their ends.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    connection: Option<PgConnection>,
}

impl Reader {
    /// Connects with its first query.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, connection: None }
    }

    /// [`super::one`] on this connection.
    pub async fn one(
        &mut self,
        served: &ServedGeneration,
        key: &Key,
    ) -> Result<Option<Prediction>, StoreError> {
        check_key(served, key)?;
        let rows = self.rows(&served.one_sql, served, |query| bind_one(query, key)).await?;
        of_one_key(&rows, served)
    }

    /// [`super::many`] on this connection.
    pub async fn many(
        &mut self,
        served: &ServedGeneration,
        keys: &[Key],
    ) -> Result<Vec<Option<Prediction>>, StoreError> {
        check_keys(served, keys)?;
        let bind = |query| bind_many(query, served, keys);
        let rows = self.rows(&served.many_sql, served, bind).await?;
        of_many_keys(&rows, served, keys)
    }

    async fn rows(
        &mut self,
        sql: &str,
        served: &ServedGeneration,
        bind: impl Fn(Query<'static, Postgres, Arguments>) -> Query<'static, Postgres, Arguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        loop {
            let is_new = self.connection.is_none();
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.store.lookup_connection().await?,
            };
            let query = bind(sqlx::query(AssertSqlSafe(sql.to_owned())));
            // One that says nothing is closed with the end of this turn.
            let longest = self.store.patience().look_up;
            let found = within(longest, query.fetch_all(&mut connection)).await;
            // A connection over which Postgres has answered, whatever it said, can be used again.
            if matches!(found, Ok(_) | Err(sqlx::Error::Database(_))) {
                self.connection = Some(connection);
            }
            match found {
                Ok(rows) => return Ok(rows),
                Err(error) if sqlstate(&error).as_deref() == Some(UNDEFINED_TABLE) => {
                    return Err(StoreError::StaleGeneration(served.generation));
                }
                // One that had died since its last use is replaced, and so is one that was told to go.
                Err(error) if !is_new && is_lost(&error) => self.connection = None,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether the connection, and not the query, is at fault.
fn is_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_))
        || sqlstate(error).is_some_and(|state| state.starts_with(OPERATOR_INTERVENTION))
}
