//! Connections for bulk work that wait for more of it.
//!
//! A run has several connections one after the other, and Postgres starts a process for each: milliseconds, at the usual
//! priority, before anybody can tell it to give way. So a connection that has done its work is kept for a while. It is
//! kept only where its work went well, and given out only when it answers and nothing is left of who had it before.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, PgConnection};

use crate::patience::within;

/// Most connections that are kept: as many as a worker has runs.
const KEPT_MAX: usize = 4;
/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<Vec<(PgConnection, Instant)>>);

impl Idle {
    /// One that is as good as new; none where none is left. One that does not answer within `longest` is taken for dead:
    /// its peer may be gone without a word.
    pub(crate) async fn take(&self, longest: Duration) -> Option<PgConnection> {
        loop {
            let (mut connection, since) = self.kept().pop()?;
            if since.elapsed() >= KEPT_FOR {
                continue;
            }
            if within(longest, cleaned(&mut connection)).await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps one that is in no transaction and amid no copy.
    pub(crate) fn keep(&self, connection: PgConnection) {
        let mut kept = self.kept();
        kept.retain(|(_, since)| since.elapsed() < KEPT_FOR);
        if kept.len() < KEPT_MAX {
            kept.push((connection, Instant::now()));
        }
    }

    pub(crate) async fn close(&self) {
        let kept = mem::take(&mut *self.kept());
        for (connection, _) in kept {
            // Who ends it does not matter.
            let _ = connection.close().await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn cleaned(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.clear_cached_statements().await?;
    connection.execute("discard all").await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use sqlx::postgres::PgConnectOptions;

    use super::*;
    use crate::fixture;

    const SOON: Duration = Duration::from_secs(5);

    async fn text(connection: &mut PgConnection, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(connection).await.expect("a text")
    }

    #[tokio::test]
    async fn a_kept_connection_is_given_out_clean_and_a_dead_one_is_not() {
        let (_folder, postgres) = fixture::postgres();
        let options = PgConnectOptions::from_str(&postgres.url()).expect("a URL");
        let connect = async || PgConnection::connect_with(&options).await.expect("a connection");
        let process = "select pg_backend_pid()::text";
        let memory = "select current_setting('work_mem')";
        let idle = Idle::default();

        let mut connection = connect().await;
        let (first, usual) =
            (text(&mut connection, process).await, text(&mut connection, memory).await);
        connection
            .execute("set work_mem = '77MB'; create temp table t (x int)")
            .await
            .expect("both");
        idle.keep(connection);
        let mut again = idle.take(SOON).await.expect("the one that was kept");
        assert_eq!(text(&mut again, process).await, first);
        assert_eq!(text(&mut again, memory).await, usual);
        assert_eq!(text(&mut again, "select to_regclass('t') is null || ''").await, "true");
        assert!(idle.take(SOON).await.is_none(), "each is given out once");

        let mut other = connect().await;
        let killed: i32 = first.parse().expect("a number");
        idle.keep(again);
        let terminated: bool = sqlx::query_scalar("select pg_terminate_backend($1, 5000)")
            .bind(killed)
            .fetch_one(&mut other)
            .await
            .expect("an answer");
        assert!(terminated);
        assert!(idle.take(SOON).await.is_none());

        for _ in 0..=KEPT_MAX {
            idle.keep(connect().await);
        }
        assert_eq!(idle.kept().len(), KEPT_MAX);
        idle.close().await;
        assert!(idle.take(SOON).await.is_none());
    }
}
