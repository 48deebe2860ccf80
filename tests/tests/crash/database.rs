//! Postgres that is killed while a run writes to it.

use cameo_domain::RunState;
use cameo_tests::{CHILD, Cluster, Process, Role, World, eventually};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};

use crate::{ROWS, level_after, published};

/// In the middle of a COPY, between two transactions, after the index, within the transaction that
/// publishes, and after it.
const POINTS: [&str; 5] = [
    "first_batch_written",
    "all_written",
    "generation_sealed",
    "publish_before_commit",
    "publish_committed",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_of_postgres_may_be_killed_at_any_point_of_a_run() {
    survive(async |world| {
        let postgres = world.cluster.postgres();
        let restarts = postgres.restarts();
        kill_dead(postgres.process_id().expect("Postgres runs"));
        eventually("Postgres was started again", async || {
            (postgres.restarts() > restarts).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_postgres_may_be_killed_at_any_point_of_a_run() {
    survive(async |world| {
        let oldest = format!(
            "select pid::text from pg_stat_activity where application_name = '{CHILD}'
             order by xact_start nulls last, backend_start limit 1"
        );
        let process = world.texts(&oldest).await.remove(0);
        kill_dead(process.parse().expect("a process id"));
        // Postgres ends all its connections after such a death, and recovers.
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
    })
    .await;
}

fn kill_dead(process: u32) {
    let process = i32::try_from(process).expect("a process id");
    kill(Pid::from_raw(process), Signal::SIGKILL).expect("it is killed");
}

async fn survive(unplug: impl AsyncFn(&World)) {
    let world = World::on(Cluster::start().await).await;
    let gender = published(&world).await;
    for (day, point) in (2_u8..).zip(POINTS) {
        let (before, after) = (f64::from(day - 1), f64::from(day));
        world.customers("marketing", ROWS, after).await;
        let run = gender.request(&format!("2024-03-0{day}T18:00:00Z")).await;
        let worker = Process::freezing_at(&world, Role::Worker, point);
        worker.frozen().await;
        unplug(&world).await;

        let served = gender.served().await.expect("a generation");
        let level = level_after(point, before, after);
        assert!(served.is_whole(ROWS, level), "{point}: readers see {served:?}, not level {level}");
        worker.thaw();
        let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
        assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
        let served = gender.served().await.expect("a generation");
        assert!(served.is_whole(ROWS, after), "{point}: readers see {served:?}");
        world.assert_sound().await;
    }
    assert_eq!(world.mirror().await, 1 + POINTS.len());
    world.assert_sound().await;
}
