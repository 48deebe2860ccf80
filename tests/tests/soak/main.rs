//! What Cameo promises of its runs, shown by force and in figures: nothing lost, nothing doubled.
//!
//! Each module is one promise of docs/reliability.md. CI runs a short, seeded set of each; `tests/soak NAME ROUNDS`
//! runs as many rounds of one as are wanted and prints its figures.

mod cancellation;
mod conditions;
mod crash;
mod due;
mod flood;
mod giant;
mod ground;
mod hostile;
mod mirror;
mod model;
mod releases;
mod scheduler;
mod upgrade;
mod webhooks;

/// Not a test but the child: it does nothing unless a test has started this program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_process_works_until_it_is_killed() {
    cameo_tests::work_until_killed().await;
}
