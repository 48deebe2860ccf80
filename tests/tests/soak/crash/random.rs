//! `kill -9` at any time of whoever is at work.

use std::time::Duration;

use cameo_tests::{Draw, World, rounds};
use futures_util::future::join_all;

use super::{crew::Crew, lanes, tally::Tally};

/// Worlds at the same time.
const LANES: u32 = 2;
/// Somebody dies within this time after the last death.
const LIFE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_a_scheduler_and_a_mirror_may_be_killed_at_any_time() {
    let kills = rounds(24);
    let lanes = lanes(LANES).into_iter().zip(0..);
    let worlds = lanes.map(|(draw, lane)| kill_at_random(draw, (kills + LANES - 1 - lane) / LANES));
    let tally: Tally = join_all(worlds).await.into_iter().sum();
    tally.finish("Anybody killed at any time", &[("kills", u64::from(kills))]);
}

async fn kill_at_random(mut draw: Draw, kills: u32) -> Tally {
    let world = World::start().await;
    let mut crew = Crew::start(&world, world.place.clone()).await;
    for _ in 0..kills {
        crew.hour_passes().await;
        tokio::time::sleep(draw.shorter_than(LIFE)).await;
        let victim = usize::try_from(draw.below(crew.members.len() as u64)).expect("an index");
        crew.kill(victim).await;
        crew.look(&mut draw, "a kill").await;
    }
    crew.settle().await
}
