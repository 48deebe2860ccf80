//! Workers that are killed while they make a snapshot.

use std::{collections::BTreeSet, fs, path::Path};

use cameo_crashpoint::SNAPSHOT;
use cameo_domain::Sha256;
use cameo_snapshot::Snapshot;
use cameo_store::snapshots;
use cameo_tests::{Process, Role, World, eventually};

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
    let tenant = &gender.path.tenant;
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
        let mut recorded = BTreeSet::new();
        for one in gender.generations().await {
            let file = snapshots::find(&world.store, tenant, one.generation).await;
            recorded.extend(file.expect("an answer").map(|file| file.sha256));
        }
        assert_eq!(stored(&world.place.artifact_folder()), recorded, "{point}");
        world.assert_sound().await;
    }
}
