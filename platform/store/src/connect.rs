//! Connections to Postgres.

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use cameo_domain::TenantName;
use cameo_priority::Priority;
use futures_util::future::BoxFuture;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    By,
    error::StoreError,
    idle::Idle,
    patience::{Patience, PatientPool, within},
    schema, server_process,
};

/// Connections for the control plane, unless set otherwise.
const CONTROL_CONNECTIONS: u32 = 8;
/// Connections for look-ups, unless set otherwise.
const LOOKUP_CONNECTIONS: u32 = 16;
/// How long a caller waits for a free connection, or for a new one.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest statement of the control plane: none reads more than a page of rows.
const CONTROL_STATEMENT_TIMEOUT: &str = "60s";
/// Longest look-up: a reader has gone long before.
const LOOKUP_STATEMENT_TIMEOUT: &str = "5s";
/// Longest wait for a row that another process holds.
const LOCK_TIMEOUT: &str = "20s";
/// A process that stops inside a transaction holds its locks no longer than this.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "60s";

/// Where the database is and how many connections to use.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    postgres: PgConnectOptions,
    control_connections: u32,
    lookup_connections: u32,
    patience: Patience,
}

impl ConnectOptions {
    /// From a `postgres://` URL; a socket folder goes into the `host` parameter.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        PgConnectOptions::from_str(url).map(Self::new).map_err(StoreError::Url)
    }

    /// From a Unix socket's folder.
    #[must_use]
    pub fn from_socket(folder: &Path, port: u16, user: &str, database: &str) -> Self {
        let options = PgConnectOptions::new_without_pgpass();
        Self::new(options.socket(folder).port(port).username(user).database(database))
    }

    fn new(postgres: PgConnectOptions) -> Self {
        let postgres = postgres.application_name("cameo");
        Self {
            postgres,
            control_connections: CONTROL_CONNECTIONS,
            lookup_connections: LOOKUP_CONNECTIONS,
            patience: Patience::default(),
        }
    }

    /// The name under which Postgres shows the connections.
    #[must_use]
    pub fn application_name(mut self, name: &str) -> Self {
        self.postgres = self.postgres.application_name(name);
        self
    }

    /// Most connections for the control plane.
    #[must_use]
    pub fn control_connections(mut self, connections: u32) -> Self {
        self.control_connections = connections;
        self
    }

    /// Most connections for look-ups.
    #[must_use]
    pub fn lookup_connections(mut self, connections: u32) -> Self {
        self.lookup_connections = connections;
        self
    }

    /// How long any answer is waited for. Unless it is set, a little longer than Postgres may take for it.
    #[must_use]
    pub fn patience(mut self, longest: Duration) -> Self {
        self.patience = Patience::of(longest);
        self
    }
}

/// The database. Clones share their connections.
///
/// Transactions run on tasks of their own: dropping the caller's future never drops a transaction
/// half-way, it only forgets the answer.
#[derive(Debug, Clone)]
pub struct Store {
    control: PgPool,
    lookups: PgPool,
    postgres: PgConnectOptions,
    lookup_options: Arc<PgConnectOptions>,
    /// Of those for bulk work.
    idle: Arc<Idle>,
    by: Option<Arc<By>>,
    tenant: Option<Arc<TenantName>>,
    patience: Patience,
}

impl Store {
    /// The same database on behalf of `by`: each of its transactions says so to the audit trail.
    #[must_use]
    pub fn acting(&self, by: By) -> Self {
        Self { by: Some(Arc::new(by)), ..self.clone() }
    }

    /// The same database for the sake of one tenant: its transactions meet nobody else's rows in the
    /// control plane, whatever their statements say. Row security sees to that wherever the platform
    /// connects as the owner of its tables; a superuser, as of the private Postgres, it does not bind.
    #[must_use]
    pub fn confined(&self, tenant: TenantName) -> Self {
        Self { tenant: Some(Arc::new(tenant)), ..self.clone() }
    }

    /// The same database, for the same purpose, over connections of its own: for another runtime, because
    /// a connection is driven by the one that opened it.
    pub async fn apart(&self) -> Result<Self, StoreError> {
        let options = ConnectOptions {
            postgres: self.postgres.clone(),
            control_connections: self.control.options().get_max_connections(),
            lookup_connections: self.lookups.options().get_max_connections(),
            patience: self.patience,
        };
        let apart = Self::connect(&options).await?;
        Ok(Self { by: self.by.clone(), tenant: self.tenant.clone(), ..apart })
    }

    /// Connects; the database must be reachable.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, StoreError> {
        let bounded = |statement_timeout| {
            options.postgres.clone().options([
                ("statement_timeout", statement_timeout),
                ("lock_timeout", LOCK_TIMEOUT),
                ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
            ])
        };
        let control_options = Arc::new(bounded(CONTROL_STATEMENT_TIMEOUT));
        let own = Arc::clone(&control_options);
        let round_trip = options.patience.round_trip;
        let control = PgPoolOptions::new()
            .max_connections(options.control_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // In place of the pool's own test, which costs the same round trip and sees less.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let own = Arc::clone(&own);
                Box::pin(async move {
                    server_process::share(connection, &own).await?;
                    schema::remember(connection).await
                })
            })
            .before_acquire(move |connection, _| {
                Box::pin(within(round_trip, schema::is_fit(connection)))
            })
            .connect_with(PgConnectOptions::clone(&control_options))
            .await?;
        // A round trip to test the connection would double the cost of a look-up; a look-up that
        // meets a dead connection is repeated instead.
        let lookup_options = Arc::new(bounded(LOOKUP_STATEMENT_TIMEOUT));
        let own = Arc::clone(&lookup_options);
        let lookups = PgPoolOptions::new()
            .max_connections(options.lookup_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let own = Arc::clone(&own);
                Box::pin(async move { server_process::share(connection, &own).await })
            })
            .connect_lazy_with(PgConnectOptions::clone(&lookup_options));
        let postgres = options.postgres.clone();
        let idle = Arc::default();
        let patience = options.patience;
        let (by, tenant) = (None, None);
        Ok(Self { control, lookups, postgres, lookup_options, idle, by, tenant, patience })
    }

    /// [`schema::migrate`], for those who need not know what was done.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(self).await.map(drop)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(self.control()).await?;
        Ok(())
    }

    /// Closes all pooled and kept connections, after their current work.
    pub async fn close(&self) {
        self.idle.close().await;
        self.lookups.close().await;
        self.control.close().await;
    }

    pub(crate) fn control(&self) -> PatientPool<'_> {
        PatientPool { pool: &self.control, longest: self.patience.statement }
    }

    pub(crate) fn lookups(&self) -> PatientPool<'_> {
        PatientPool { pool: &self.lookups, longest: self.patience.look_up }
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    pub(crate) fn postgres(&self) -> &PgConnectOptions {
        &self.postgres
    }

    /// A connection outside the pools for one look-up after the other: a pool tests a connection each time that
    /// it comes back, which is a round trip more.
    pub(crate) async fn lookup_connection(&self) -> Result<PgConnection, StoreError> {
        within(
            ACQUIRE_TIMEOUT,
            Box::pin(async {
                let mut connection = PgConnection::connect_with(&self.lookup_options).await?;
                server_process::share(&mut connection, &self.lookup_options).await?;
                Ok(connection)
            }),
        )
        .await
    }

    /// A connection outside the pools and without their time limits, for bulk work, which gives way to
    /// requests in Postgres too. It is closed on any error, so nothing half sent can meet the next user; one whose work
    /// went well may be [kept](Self::keep).
    pub(crate) async fn dedicated(&self) -> Result<PgConnection, StoreError> {
        self.giving_way().await.map(|(connection, _)| connection)
    }

    /// The same for statements that may have parallel workers, which give way until the handle is dropped.
    pub(crate) async fn dedicated_with_workers(
        &self,
    ) -> Result<(PgConnection, Option<AbortOnDropHandle<()>>), StoreError> {
        let (connection, process) = self.giving_way().await?;
        let give = |leader| server_process::give_to_workers(leader, Priority::Background);
        Ok((connection, process.map(give)))
    }

    /// Keeps such a connection for the next user. It must be in no transaction, amid no copy, and hold no lock.
    pub(crate) fn keep(&self, connection: PgConnection) {
        self.idle.keep(connection);
    }

    async fn giving_way(&self) -> Result<(PgConnection, Option<u32>), StoreError> {
        let kept = self.idle.take(self.patience.round_trip).await;
        within(
            ACQUIRE_TIMEOUT,
            Box::pin(async {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => PgConnection::connect_with(&self.postgres).await?,
                };
                let given =
                    server_process::give(&mut connection, &self.postgres, Priority::Background);
                let process = given.await?;
                Ok((connection, process))
            }),
        )
        .await
    }

    /// Runs `work` as one transaction on a task of its own and commits it when it succeeds.
    pub(crate) async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (pool, by, tenant) = (self.control.clone(), self.by.clone(), self.tenant.clone());
        let longest = self.patience.transaction;
        spawned(Box::pin(async move {
            let pool = PatientPool { pool: &pool, longest };
            pool.ask(async move |connection| {
                let mut transaction = connection.begin().await?;
                if by.is_some() || tenant.is_some() {
                    enter(&mut transaction, by.as_deref(), tenant.as_deref()).await?;
                }
                let answer = work(&mut transaction).await;
                match answer {
                    Ok(value) => transaction.commit().await.map(|()| value).map_err(Into::into),
                    Err(error) => {
                        // The first error is the one to report; a connection that cannot even roll
                        // back is thrown away by the pool.
                        let _ = transaction.rollback().await;
                        Err(error)
                    }
                }
            })
            .await
        }))
        .await
    }
}

/// Says until the end of the transaction who acts, and for whom alone, in one round trip.
async fn enter(
    connection: &mut PgConnection,
    by: Option<&By>,
    tenant: Option<&TenantName>,
) -> Result<(), StoreError> {
    sqlx::query(
        "select set_config('cameo.actor', coalesce($1, ''), true),
                set_config('cameo.origin', coalesce($2, ''), true),
                set_config('cameo.tenant', coalesce($3, ''), true)",
    )
    .bind(by.map(|by| &by.actor))
    .bind(by.map(|by| &by.origin))
    .bind(tenant.map(TenantName::as_str))
    .execute(connection)
    .await?;
    Ok(())
}

/// Says who acts until the end of the transaction. Without an `origin`, what was said of it stands.
pub(crate) async fn say(
    connection: &mut PgConnection,
    actor: &str,
    origin: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "select set_config('cameo.actor', $1, true),
                set_config('cameo.origin', coalesce($2, current_setting('cameo.origin', true)), true)",
    )
    .bind(actor)
    .bind(origin)
    .execute(connection)
    .await?;
    Ok(())
}

/// Runs `work` on a task of its own, so that it ends whether or not the caller waits.
pub(crate) async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work).await.map_err(StoreError::TaskEnded)?
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures_util::future::poll_fn;

    use super::*;
    use crate::fixture;

    /// How often a transaction is left half begun: without the pool's look one in three of them swallows an insert.
    const ROUNDS: u32 = 60;

    #[tokio::test]
    async fn what_is_written_after_a_cancelled_begin_is_there() {
        let (_folder, postgres) = fixture::postgres();
        let options = ConnectOptions::from_url(&postgres.url()).expect("a URL");
        let store = Store::connect(&options.control_connections(1)).await.expect("a connection");
        let run = async |sql: &'static str| {
            sqlx::query(sql).execute(store.control()).await.expect("an answer")
        };
        run("create table written (round integer)").await;
        for round in 0..ROUNDS {
            {
                let mut begin = pin!(store.control.begin());
                for _ in 0..round % 6 {
                    let poll =
                        poll_fn(|context| Poll::Ready(begin.as_mut().poll(context).map(drop)));
                    if poll.await.is_ready() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
            run("insert into written values (0)").await;
        }
        store.close().await;
        let options = ConnectOptions::from_url(&postgres.url()).expect("a URL");
        let store = Store::connect(&options).await.expect("a connection");
        let count = sqlx::query_scalar("select count(*) from written");
        let written: i64 = count.fetch_one(store.control()).await.expect("a number");
        assert_eq!(written, i64::from(ROUNDS));
    }
}
