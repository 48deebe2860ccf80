//! A Postgres that dies while everybody works with it.

use std::time::Duration;

use cameo_tests::{Cluster, Draw, World, eventually, rounds};
use futures_util::future::join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};

use super::{crew::Crew, lanes, tally::Tally};

/// Clusters at the same time: most of a death is waiting for the recovery.
const LANES: u32 = 3;
/// Postgres dies within this time after it has come back.
const LIFE: Duration = Duration::from_millis(600);
/// Looks of a storm that ends every connection it finds, and the pause between two.
const GUSTS: u32 = 5;
const LULL: Duration = Duration::from_millis(30);

/// What happens to Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accident {
    /// `kill -9` of the server itself.
    ServerKilled,
    /// `kill -9` of one of its processes, after which it ends all others and recovers.
    BackendKilled,
    /// A restart that asks nobody.
    Restarted,
    /// `pg_terminate_backend` for every connection of everybody, again and again.
    AllTerminated,
}

const ACCIDENTS: [Accident; 4] =
    [Accident::ServerKilled, Accident::BackendKilled, Accident::Restarted, Accident::AllTerminated];

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_die_in_any_way_at_any_time() {
    let accidents = rounds(12);
    let lanes = lanes(LANES).into_iter().zip(0..);
    let worlds =
        lanes.map(|(draw, lane)| accidents_of(draw, (accidents + LANES - 1 - lane) / LANES));
    let (tallies, counts): (Vec<Tally>, Vec<[u64; ACCIDENTS.len()]>) =
        join_all(worlds).await.into_iter().unzip();
    let count = |which: usize| counts.iter().map(|counts| counts[which]).sum::<u64>();
    tallies.into_iter().sum::<Tally>().finish(
        "Postgres killed, restarted and cut off under a crew at work",
        &[
            ("servers killed", count(0)),
            ("backends killed", count(1)),
            ("servers restarted", count(2)),
            ("storms that end all connections", count(3)),
        ],
    );
}

async fn accidents_of(mut draw: Draw, count: u32) -> (Tally, [u64; ACCIDENTS.len()]) {
    let world = World::on(Cluster::start().await).await;
    let mut crew = Crew::start(&world, world.place.clone()).await;
    crew.hour_passes().await;
    crew.all_are_in().await;
    let mut counts = [0; ACCIDENTS.len()];
    for nth in 0..count {
        crew.hour_passes().await;
        tokio::time::sleep(draw.shorter_than(LIFE)).await;
        // In turn, so that a short set has all of them.
        let which = usize::try_from(nth).expect("an index") % ACCIDENTS.len();
        happen(&world, ACCIDENTS[which]).await;
        counts[which] += 1;
        crew.look(&mut draw, &format!("{:?}", ACCIDENTS[which])).await;
    }
    (crew.settle().await, counts)
}

async fn happen(world: &World, accident: Accident) {
    let server = world.cluster.postgres();
    let restarts = server.restarts();
    match accident {
        Accident::ServerKilled => {
            signal(server.process_id().expect("Postgres runs"), Signal::SIGKILL);
            eventually("Postgres was started again", async || {
                (server.restarts() > restarts).then_some(())
            })
            .await;
        }
        Accident::Restarted => {
            signal(server.process_id().expect("Postgres runs"), Signal::SIGINT);
            eventually("Postgres was started again", async || {
                (server.restarts() > restarts).then_some(())
            })
            .await;
        }
        Accident::BackendKilled => {
            let anybody = "select pid::text from pg_stat_activity
                           where datname = current_database() and pid <> pg_backend_pid()
                           order by xact_start nulls last, backend_start limit 1";
            let process = world.texts(anybody).await.remove(0).parse().expect("a process id");
            signal(process, Signal::SIGKILL);
            recovered(world, process).await;
        }
        Accident::AllTerminated => {
            for _ in 0..GUSTS {
                let all = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                           where datname = current_database() and pid <> pg_backend_pid()";
                world.sql(all).await;
                tokio::time::sleep(LULL).await;
            }
        }
    }
}

fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).expect("a process id");
    // It may have ended by itself in the meantime.
    let _ = kill(Pid::from_raw(process), signal);
}

/// Waits until Postgres has noticed that a process of it died, and has recovered.
async fn recovered(world: &World, process: u32) {
    let gone = format!("select count(*) from pg_stat_activity where pid = {process}");
    eventually("Postgres has recovered", async || {
        let mut connection = PgConnection::connect(&world.place.database_url).await.ok()?;
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(gone.clone()))
            .fetch_one(&mut connection)
            .await
            .ok()?;
        (left == 0).then_some(())
    })
    .await;
}
