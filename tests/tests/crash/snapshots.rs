//! Workers that are killed while they make a snapshot.

use std::{collections::BTreeSet, fs, path::Path};

use cameo_crashpoint::SNAPSHOT;
use cameo_domain::{RunState, Sha256};
use cameo_snapshot::Snapshot;
use cameo_store::{generations, snapshots};
use cameo_tests::{Process, Role, Service, World, eventually};
use cameo_worker::Config;

use crate::published;

/// The snapshots among the artifacts, by their digests.
fn stored(artifacts: &Path) -> BTreeSet<Sha256> {
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(artifacts.join("sha256")).expect("the artifacts").flatten() {
        for file in fs::read_dir(folder.path()).expect("a folder").flatten() {
            let digest = file.file_name().to_string_lossy().parse::<Sha256>();
            // Half of an upload has another name; a model is no snapshot.
            if let Ok(digest) = digest
                && Snapshot::open(&file.path(), &digest).is_ok()
            {
                found.insert(digest);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_at_any_point_of_a_snapshot() {
    let world = World::start().await;
    let gender = published(&world).await;
    world.make_snapshots().await;
    for (day, point) in SNAPSHOT.iter().enumerate() {
        gender.request(&format!("2024-03-1{day}T18:00:00Z")).await;
        let mut worker = Process::dying_at(&world, Role::Worker, point);
        worker.killed().await;
        world.assert_sound().await;
        eventually(&format!("{point}: another worker takes over"), async || {
            world.make_snapshots().await;
            let waiting = snapshots::waiting(&world.store).await.expect("what waits");
            (waiting.pending == 0 && waiting.unwanted == 0).then_some(())
        })
        .await;
        let stored = stored(&world.place.artifact_folder());
        assert_eq!(stored, recorded(&world, &gender).await, "{point}");
        world.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_killed_while_it_makes_a_snapshot_before_it_publishes() {
    let world = World::start().await;
    let gender = published(&world).await;
    world.make_snapshots().await;
    for (at, point) in SNAPSHOT.iter().enumerate() {
        let before = gender.served().await;
        let due_at = format!("2024-03-1{at}T18:00:00Z");
        let run = gender.request(&due_at).await;
        let mut worker = Process::dying_at(&world, Role::SnapshotFirst, point);
        worker.killed().await;
        assert_eq!(gender.served().await, before, "{point}: nothing is published by then");
        world.assert_sound().await;

        let config = Config { snapshot_first_above: 0, ..world.worker_config() };
        let healthy = world.worker(config).await;
        let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
        assert_eq!(ended.state, RunState::Published, "{point}: {ended:#?}");
        healthy.stop().await;
        eventually(&format!("{point}: what the dead worker left is gone"), async || {
            generations::retain_after(&world.store, 0).await.expect("retained");
            world.make_snapshots().await;
            let waiting = snapshots::waiting(&world.store).await.expect("what waits");
            let recorded = recorded(&world, &gender).await;
            let is_clean = (waiting.pending, waiting.unwanted) == (0, 0)
                && stored(&world.place.artifact_folder()) == recorded;
            is_clean.then_some(())
        })
        .await;
        world.assert_sound().await;
    }
}

/// The files that are recorded for the generations of a service.
async fn recorded(world: &World, service: &Service<'_>) -> BTreeSet<Sha256> {
    let mut recorded = BTreeSet::new();
    for one in service.generations().await {
        let file = snapshots::find(&world.store, &service.path.tenant, one.generation).await;
        recorded.extend(file.expect("an answer").map(|file| file.sha256));
    }
    recorded
}
