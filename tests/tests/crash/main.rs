//! Killing, freezing and unplugging what executes a run, at every point of it.
//!
//! The worker is a process of its own: this test program, told by its environment to work (see
//! [`cameo_tests::Process`]). Points are named in `cameo_crashpoint`. Whatever dies, readers see whole
//! generations only, the invariants hold, and the run completes by itself.

mod database;
mod erasure;
mod frozen;
mod killed;
mod mirror;
mod ranking;
mod segments;
mod shadow;
mod snapshots;
mod webhooks;

use cameo_tests::{Bundle, Service, World};

/// Not a test but the child: it does nothing unless a crash test has started this program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_process_works_until_it_is_killed() {
    cameo_tests::work_until_killed().await;
}

/// Enough for three batches of a run.
pub(crate) const ROWS: u64 = 35_000;
/// What readers see before the run of a scenario.
pub(crate) const YESTERDAY: &str = "2024-03-01T18:00:00Z";
/// The instant of the run of a scenario.
pub(crate) const TODAY: &str = "2024-03-02T18:00:00Z";

/// A service with a generation at level 1.
pub(crate) async fn published(world: &World) -> Service<'_> {
    world.customers("marketing", ROWS, 1.0).await;
    // A busy machine may cost a lease, which must not use up the attempts of the scenario.
    let bundle = Bundle::new("marketing", "gender")
        .setting("ATTEMPTS_MAX", 10)
        .explained("{BACKGROUND_ROWS: 10, SAMPLES: 2}");
    let gender = world.apply(&bundle).await;
    gender.publish(YESTERDAY).await;
    gender
}

/// The level that readers see after a death at `point`: nothing but the commit makes a difference.
pub(crate) fn level_after(point: &str, before: f64, after: f64) -> f64 {
    if point == "publish_committed" { after } else { before }
}
