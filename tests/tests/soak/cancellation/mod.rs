//! Every call of the store may be dropped at every await: no transaction stays open, no connection of a pool
//! is spoilt for its next user, no lock is left.

mod scenes;
mod source;
mod sweep;

use std::{collections::BTreeSet, time::Instant};

use cameo_tests::{report, rounds};

use crate::ground::Ground;
use sweep::Sweep;

/// What fills an empty database, in the transaction that `Load::begin` began: dropping any of it drops that.
const WITHIN_A_LOAD: [&str; 4] = [
    "backup::load::Load::table",
    "backup::load::Load::finish",
    "backup::load::LoadedTable::send",
    "backup::load::LoadedTable::finish",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_at_any_await_leaves_nothing_behind() {
    let begun = Instant::now();
    let (mut calls, mut drops) = (0, 0);
    let rounds = rounds(1);
    for _ in 0..rounds {
        let ground = Ground::start().await;
        let mut sweep = Sweep::start(&ground).await;
        Box::pin(scenes::play(&mut sweep, &ground)).await;
        let dropped = sweep.end().await;
        ground.world.assert_sound().await;
        let swept: BTreeSet<String> = dropped.keys().cloned().collect();
        let mut all = source::public_async_functions();
        for within in WITHIN_A_LOAD {
            assert!(all.remove(within), "{within} is not in the source");
        }
        let forgotten: Vec<_> = all.difference(&swept).collect();
        let unknown: Vec<_> = swept.difference(&all).collect();
        assert!(
            forgotten.is_empty() && unknown.is_empty(),
            "expected every public async function of cameo_store in tests/tests/soak/cancellation/scenes; \
             not dropped anywhere: {forgotten:?}; not in the source: {unknown:?}"
        );
        calls = all.len();
        drops += dropped.values().sum::<u64>();
    }
    report(
        "Cancelled database work",
        &[
            ("rounds", &rounds),
            ("calls of the store, all but four of a restore", &calls),
            ("times that one was dropped at an await", &drops),
            ("transactions left open, locks left, answers lost", &0),
            ("seconds", &begun.elapsed().as_secs()),
        ],
    );
}
