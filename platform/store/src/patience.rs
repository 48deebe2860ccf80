//! How long an answer of Postgres is waited for.
//!
//! Postgres ends a statement that takes too long, and says so. Who has vanished without a word (a machine that died, a
//! network that forgot a connection) says nothing, and the system goes on waiting for a quarter of an hour or for ever. So whatever is
//! asked over a pool is given up a little after Postgres would have ended it: the connection is closed, never
//! used again, and the error is one after which to try again.

use std::{io, time::Duration};

use futures_util::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream,
};
use sqlx::{
    Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, Transaction,
    pool::PoolConnection,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::timeout;

/// How long answers are waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A statement of the control plane, which Postgres ends after a minute.
    pub(crate) statement: Duration,
    /// A look-up, which it ends after five seconds.
    pub(crate) look_up: Duration,
    /// All of a transaction, whose statements are few.
    pub(crate) transaction: Duration,
    /// A round trip that asks whether a kept connection can be used.
    pub(crate) round_trip: Duration,
}

impl Patience {
    /// The same for all.
    pub(crate) fn of(longest: Duration) -> Self {
        Self { statement: longest, look_up: longest, transaction: longest, round_trip: longest }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(75),
            look_up: Duration::from_secs(8),
            transaction: Duration::from_mins(2),
            round_trip: Duration::from_secs(5),
        }
    }
}

/// Waits for an answer no longer than this. The connection over which none came must not be used again.
pub(crate) fn within<T, E: From<sqlx::Error>>(
    longest: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    timeout(longest, answer).map(|answered| {
        answered.unwrap_or_else(|_| {
            // As when the system had noticed it.
            let text = "Postgres did not answer in time; its connection is given up";
            let silence = io::Error::new(io::ErrorKind::TimedOut, text);
            Err(sqlx::Error::Io(silence).into())
        })
    })
}

/// A pool whose statements are not waited for without an end. Their rows are gathered before the first is given: what may
/// have many is read over an acquired connection, for which nothing but Postgres sets a bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PatientPool<'p> {
    pub(crate) pool: &'p PgPool,
    pub(crate) longest: Duration,
}

impl PatientPool<'_> {
    pub(crate) async fn acquire(self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.pool.acquire().await
    }

    pub(crate) async fn begin(self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin().await
    }

    /// Asks over a connection of the pool, which comes back to it only where an answer came.
    pub(crate) async fn ask<T, E: From<sqlx::Error>>(
        self,
        asking: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.pool.acquire().await?;
        let mut answered = false;
        let answer = async {
            let answer = asking(&mut connection).await;
            answered = true;
            answer
        };
        let answer = within(self.longest, answer).await;
        if !answered {
            connection.close_on_drop();
        }
        answer
    }
}

impl<'p> Executor<'p> for PatientPool<'p> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let all = self.ask(async move |connection| {
            connection.fetch_many(query).try_collect::<Vec<_>>().await
        });
        all.map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.ask(async move |connection| connection.fetch_optional(query).await).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        self.ask(async move |connection| connection.prepare_with(sql, parameters).await).boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        self.ask(async move |connection| connection.describe(sql).await).boxed()
    }
}
