//! The priority of Postgres' own processes, where they are on this machine: one serves each connection, and a statement
//! that goes over much may have parallel workers.

use std::{collections::HashSet, fs, io, str::FromStr, time::Duration};

use cameo_priority::{Priority, cores::Cores};
use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio_util::task::AbortOnDropHandle;

/// How often is looked for parallel workers. Those of a table that is worth them go on for longer.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Gives the process that serves `connection` a priority, and keeps it to the cores that the calling thread is kept
/// to. It is a wish: where Postgres is on another machine, or the system does not let us, the process keeps what it has. Gives the
/// process, where it is here.
pub(crate) async fn give(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
    priority: Priority,
) -> Result<Option<u32>, sqlx::Error> {
    let process = process_of(connection, options).await?;
    if let Some(process) = process {
        apply(process, priority);
    }
    Ok(process)
}

/// The same with the calling thread's own priority: what serves a request is as urgent as that, what serves a run
/// gives way.
pub(crate) async fn share(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), sqlx::Error> {
    if let Some(process) = process_of(connection, options).await? {
        settle(process, cameo_priority::share(process));
    }
    Ok(())
}

async fn process_of(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<Option<u32>, sqlx::Error> {
    if !is_on_this_machine(options) {
        return Ok(None);
    }
    let process: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .persistent(false)
        .fetch_one(connection)
        .await?;
    Ok(u32::try_from(process).ok().filter(|process| serves(*process, options)))
}

/// The same for the parallel workers of a process, until what is returned is dropped.
pub(crate) fn give_to_workers(leader: u32, priority: Priority) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(watch(leader, priority)))
}

async fn watch(leader: u32, priority: Priority) {
    let Some(server) = parent(leader) else { return };
    let mut found = HashSet::new();
    loop {
        for worker in children(server) {
            if !found.contains(&worker) && works_for(worker, leader) {
                apply(worker, priority);
                found.insert(worker);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn apply(process: u32, priority: Priority) {
    settle(process, priority.give(process));
}

/// Has the cores of a process follow the priority that it was given.
fn settle(process: u32, given: io::Result<()>) {
    // Its session keeps its share, where the system gives sessions shares: those of all of Cameo count as one, so that
    // with less than that it would stand behind a single query for as long as that goes on.
    let cores = Cores::kept_to().and_then(|cores| cores.map_or(Ok(()), |own| own.give(process)));
    if let Err(error) = given.and(cores) {
        tracing::debug!(%error, process, "a process of Postgres keeps its priority and its cores");
    }
}

fn is_on_this_machine(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

/// Whether it is a process of Postgres that serves this user and database: through a socket that is shared between
/// containers its number may be that of somebody else here.
fn serves(process: u32, options: &PgConnectOptions) -> bool {
    let user = options.get_username();
    let whom = format!(" {user} {} [local]", options.get_database().unwrap_or(user));
    title(process).is_some_and(|title| title.contains(&whom))
}

fn works_for(process: u32, leader: u32) -> bool {
    let whom = format!("parallel worker for PID {leader}");
    title(process).is_some_and(|title| title.trim_end_matches(['\0', ' ']).ends_with(&whom))
}

/// What a process of Postgres says that it does, in place of its command line.
fn title(process: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&line).into_owned();
    title.starts_with("postgres: ").then_some(title)
}

fn parent(process: u32) -> Option<u32> {
    state(process, 4)
}

/// A field of a process's state by its number; the first two are its own number and its name in brackets.
fn state<T: FromStr>(process: u32, field: usize) -> Option<T> {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = state.rsplit_once(") ")?;
    fields.split(' ').nth(field - 3)?.parse().ok()
}

/// The processes that it started; none where the system does not tell.
fn children(process: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.unwrap_or_default().split_ascii_whitespace().filter_map(|one| one.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Executor};

    use super::*;
    use crate::fixture;

    fn niceness(process: u32) -> i32 {
        state(process, 19).expect("a number")
    }

    async fn process_of(connection: &mut PgConnection) -> u32 {
        let process: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(connection)
            .await
            .expect("a number");
        process.unsigned_abs()
    }

    #[tokio::test]
    async fn the_process_of_a_connection_and_its_parallel_workers_give_way_and_no_other_does() {
        let (_folder, postgres) = fixture::postgres();
        let options = PgConnectOptions::from_str(&postgres.url()).expect("a URL");
        let mut bulk = PgConnection::connect_with(&options).await.expect("a connection");
        let mut other = PgConnection::connect_with(&options).await.expect("a connection");
        let usual = niceness(process_of(&mut other).await);
        let low = usual.max(Priority::Background.niceness());

        let given = give(&mut bulk, &options, Priority::Background).await.expect("an answer");
        assert_eq!(given, Some(process_of(&mut bulk).await));
        let leader = given.expect("a process here");
        assert_eq!(niceness(leader), low);

        // The setting has had two names.
        let parallel = "select set_config(name, 'on', false) from pg_settings
                        where name in ('force_parallel_mode', 'debug_parallel_query')";
        bulk.execute(parallel).await.expect("the setting");
        let _workers = give_to_workers(leader, Priority::Background);
        let long = tokio::spawn(async move { bulk.execute("select pg_sleep(60)").await.map(drop) });
        let worker = "select pid from pg_stat_activity where backend_type = 'parallel worker'";
        loop {
            let worker: Option<i32> =
                sqlx::query_scalar(worker).fetch_optional(&mut other).await.expect("an answer");
            if worker.is_some_and(|worker| niceness(worker.unsigned_abs()) == low) {
                break;
            }
            assert!(!long.is_finished(), "its worker gives way before it ends");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(niceness(process_of(&mut other).await), usual);
        long.abort();
    }
}
