//! Workers that are killed.

use cameo_crashpoint::RUN;
use cameo_domain::RunState;
use cameo_store::generations::{self, GenerationState};
use cameo_tests::{Cluster, Process, Role, World, eventually};
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;

use crate::{ROWS, TODAY, level_after, published};

/// Scenarios that run at the same time: most of each is waiting for the lease of the dead.
const AT_ONCE: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_at_any_point_of_a_run() {
    let _cluster = Cluster::shared().await;
    let survived: Vec<_> = stream::iter(RUN)
        .map(|point| async move {
            // A thread of its own: a panic is its own too.
            let runtime = Handle::current();
            let end = tokio::task::spawn_blocking(move || runtime.block_on(survive(point))).await;
            (point, end)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let failed: Vec<_> =
        survived.iter().filter(|(_, end)| end.is_err()).map(|(point, _)| *point).collect();
    assert!(failed.is_empty(), "of 22 points these went wrong (see above): {failed:?}");
}

async fn survive(point: &str) {
    let world = World::start().await;
    let gender = published(&world).await;
    world.customers("marketing", ROWS, 2.0).await;
    let run = gender.request(TODAY).await;
    // A run of this size ends before its first heartbeat, unless it has to wait.
    let hold = match point {
        "heartbeat_sent" => Some(world.hold_publications().await),
        _ => None,
    };
    let which = if point == "batch_written" { "batch_written:2" } else { point };
    let mut worker = Process::dying_at(&world, Role::Worker, which);
    worker.killed().await;
    if let Some(hold) = hold {
        hold.release().await;
    }

    let served = gender.served().await.expect("a generation");
    let level = level_after(point, 1.0, 2.0);
    assert!(served.is_whole(ROWS, level), "{point}: readers see {served:?}, not level {level}");
    world.assert_sound().await;

    let healthy = world.worker(world.worker_config()).await;
    let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
    healthy.stop().await;
    assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
    let served = gender.served().await.expect("a generation");
    assert!(served.is_whole(ROWS, 2.0), "{point}: readers see {served:?}");
    assert_eq!(Some(served.generation), ended.generation, "{point}");
    let all = gender.generations().await;
    let of_run = all.iter().filter(|generation| generation.run == run);
    let complete = of_run.filter(|one| one.state == GenerationState::Published).count();
    assert_eq!(complete, 1, "{point}: {all:#?}");
    assert_eq!(world.mirror().await, 2, "{point}: both generations are mirrored, once");

    // What the dead left behind goes; its connection may take a moment to be noticed.
    eventually(&format!("{point}: no abandoned table is left"), async || {
        generations::retain_after(&world.store, 0).await.expect("an answer");
        let tables = world
            .texts(
                "select table_name::text from information_schema.tables
                    where table_schema = 'tenant_marketing' and table_type = 'BASE TABLE'",
            )
            .await;
        (tables.len() == 2).then_some(())
    })
    .await;
    let explained = world
        .texts(
            "select g.state || ' ' || e.rows || ' ' || count(i.feature)
             from cameo.explanations e join cameo.generations g using (generation)
             left join cameo.importances i using (generation)
             group by g.generation, e.rows order by g.generation",
        )
        .await;
    assert_eq!(explained, vec![format!("published {ROWS} 2"); 2], "{point}: once, and no other");
    world.assert_sound().await;
}
