//! Disks that are full: Postgres', and the one where workers write what goes as soon as it was used.
//!
//! A small file system in memory plays the disk. Where none can be mounted, which takes the rights of root, the
//! tests say so and show nothing.

use std::{
    fs::{self, File, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use cameo_domain::RunState;
use cameo_tests::{Cluster, Fate, Orders, Process, Role, World, eventually, report};

use super::{
    LEASE_SECONDS, ROWS,
    crew::Crew,
    service,
    tally::{assert_whole, tally},
};

/// A fresh cluster takes a quarter of it.
const POSTGRES_BYTES: u64 = 256 << 20;
/// One page: no file of Cameo fits.
const SCRATCH_BYTES: u64 = 4 << 10;
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(6);
/// What is let go meanwhile is filled again as soon as this.
const REFILL: Duration = Duration::from_millis(20);
/// How often it is filled until something meets it: what an hour writes may find room in pages that are there.
const TIMES_MAX: u64 = 10;
/// How much is written at once to fill it.
const BALLAST_BYTES: usize = 64 << 10;

/// A file system of its own.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it; says so where that is not possible.
    fn mount(folder: &Path, bytes: u64) -> Option<Self> {
        let options = format!("size={bytes},mode=0755");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .output();
        let mounted = mount.as_ref().is_ok_and(|mount| mount.status.success());
        if !mounted {
            let reason = mount.map_or_else(
                |error| error.to_string(),
                |mount| String::from_utf8_lossy(&mount.stderr).trim().to_owned(),
            );
            report(
                "Skipped: a full disk, because none can be mounted here",
                &[("reason", &reason)],
            );
        }
        mounted.then(|| Self { folder: folder.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let ballast = File::options().create(true).append(true).open(self.ballast());
        let mut ballast = ballast.expect("a file");
        let piece = vec![0; BALLAST_BYTES];
        while ballast.write_all(&piece).is_ok() {}
    }

    /// Keeps it full, although others delete what they have there.
    async fn stays_full(&self, time: Duration) {
        let since = Instant::now();
        while since.elapsed() < time {
            tokio::time::sleep(REFILL).await;
            self.fill();
        }
    }

    /// Gives the room back.
    fn clear(&self) {
        fs::remove_file(self.ballast()).expect("the ballast goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgres_delays_runs_and_loses_none() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("others may enter");
    let Some(disk) = SmallDisk::mount(folder.path(), POSTGRES_BYTES) else { return };
    let world = World::on(Cluster::start_in(folder.path().to_owned()).await).await;
    let mut crew = Crew::start(&world, world.place.clone()).await;
    crew.hour_passes().await;
    crew.all_are_in().await;
    let mut times = 0;
    let (in_vain, restarts) = loop {
        disk.fill();
        crew.an_hour_passes();
        disk.stays_full(FULL).await;
        disk.clear();
        crew.all_are_in().await;
        times += 1;
        let in_vain = world.texts("select (sum(epoch) - count(*))::text from cameo.runs").await;
        let in_vain: u64 = in_vain[0].parse().expect("a count");
        let restarts = u64::from(world.cluster.postgres().restarts());
        if in_vain + restarts > 0 {
            break (in_vain, restarts);
        }
        assert!(times < TIMES_MAX, "nothing met the full disk");
    };
    let figures = [
        ("times that it was full", times),
        ("attempts that it cost", in_vain),
        ("ends of Postgres", restarts),
    ];
    crew.settle().await.finish("A disk of Postgres that is full for a while", &figures);
    // Postgres first: it works in the folder.
    drop(world);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_scratch_disk_of_a_worker_delays_snapshots_and_no_run() {
    let world = World::start().await;
    world.customers("marketing", ROWS, 1.0).await;
    let gender = service(&world, "marketing", "gender").await;
    let (place, role, name) = (&world.place, Role::Worker, "worker-a");
    fs::create_dir_all(place.scratch()).expect("a folder");
    let Some(disk) = SmallDisk::mount(&place.scratch(), SCRATCH_BYTES) else { return };
    let (lease_seconds, fate) = (LEASE_SECONDS, Fate::Works);
    let _worker = Process::start(&Orders { place, role, name, lease_seconds, fate });
    let run = gender.request("2024-03-01T01:00:00Z").await;
    let ended = gender.run_when("at its end", run, |run| run.state.is_finished()).await;
    assert_eq!(ended.state, RunState::Published, "{ended:#?}");
    let refused = eventually("the snapshot finds no room", async || {
        let reason = "select reason ->> 'message' from cameo.snapshots where reason is not null";
        world.texts(reason).await.pop()
    })
    .await;
    assert!(refused.contains("No space left"), "{refused}");
    assert_whole(&world, &gender, "a full scratch disk").await;
    drop(disk);
    eventually("the snapshot is made", async || {
        world.texts("select state from cameo.snapshots where state = 'ready'").await.pop()
    })
    .await;
    world.mirror().await;
    tally(&world, 1).await.finish("A scratch disk that is full for a while", &[]);
}
