//! Workers that sleep past their lease and wake up again.

use cameo_domain::{RunId, RunState};
use cameo_tests::{CHILD, Process, Role, World};

use crate::{ROWS, published};

/// While rows are sent, before the seal, and before the publication.
const POINTS: [&str; 3] = ["first_batch_written", "quarantine_stored", "generation_sealed"];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sleeps_past_its_lease_writes_nothing_more() {
    let world = World::start().await;
    let gender = published(&world).await;
    for (day, point) in (1_u8..).zip(POINTS) {
        let level = f64::from(2 * day);
        world.customers("marketing", ROWS, level).await;
        let run = gender.request(&format!("2024-04-0{day}T00:00:00Z")).await;
        let sleeper = Process::freezing_at(&world, Role::Worker, point);
        sleeper.frozen().await;

        let healthy = world.worker(world.worker_config()).await;
        let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
        healthy.stop().await;
        assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
        assert_ne!(ended.worker.as_deref(), Some(CHILD), "{point}");
        let before = everything_of(&world, run).await;

        // The sleeper has one slot: when it has executed another run, it is done with the first.
        world.customers("marketing", ROWS, level + 1.0).await;
        let next = gender.request(&format!("2024-04-0{day}T12:00:00Z")).await;
        sleeper.thaw();
        let ended = gender.run_when("at its end", next, |run| run.state.is_finished()).await;
        assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
        assert_eq!(ended.worker.as_deref(), Some(CHILD), "{point}");
        assert_eq!(everything_of(&world, run).await, before, "{point}");
        let served = gender.served().await.expect("a generation");
        assert!(served.is_whole(ROWS, level + 1.0), "{point}: readers see {served:?}");
        world.assert_sound().await;
    }
}

/// All that the control plane knows of a run. Only the tables of abandoned generations may go.
async fn everything_of(world: &World, run: RunId) -> Vec<String> {
    let sql = format!(
        "select row_to_json(r)::text from cameo.runs r where run = {run}
         union all
         select (to_jsonb(g) - 'dropped_at')::text from cameo.generations g where run = {run}
         union all
         select to_jsonb(q)::text from cameo.quarantine q where run = {run}
         union all
         select to_jsonb(p)::text from cameo.publications p join cameo.generations g
             using (generation) where g.run = {run}
         union all
         select to_jsonb(o)::text from cameo.outbox o join cameo.generations g
             using (generation) where g.run = {run}"
    );
    let mut texts = world.texts(&sql).await;
    texts.sort();
    texts
}
