//! A worker or mirror in a process of its own.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cameo_mirror::MirrorMetrics;
use cameo_runtime::{clock::ManualClock, metrics::Metrics};
use cameo_tests::{Place, World, at, eventually, isolation};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getppid},
};
use tokio_util::sync::CancellationToken;

/// The name under which Postgres shows the child's connections, and the name of its worker.
pub(crate) const CHILD: &str = "cameo-crash-child";
/// Short, so that scenarios need not wait long for what the dead held.
pub(crate) const LEASE_SECONDS: u32 = 2;

const ROLE: &str = "CAMEO_TEST_ROLE";
const DATABASE: &str = "CAMEO_TEST_DATABASE";
const FOLDER: &str = "CAMEO_TEST_FOLDER";
/// How often an orphan looks for its parent.
const PARENT_LOOK: Duration = Duration::from_millis(200);

/// What the child does.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Worker,
    Mirror,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Mirror => "mirror",
        }
    }
}

/// A child that works in a world.
pub(crate) struct Process {
    child: Child,
    what: String,
}

impl Process {
    /// Starts a child that dies at a point.
    pub(crate) fn dying_at(world: &World, role: Role, point: &str) -> Self {
        Self::start(world, role, cameo_crashpoint::CRASH_AT, point)
    }

    /// Starts a child that freezes at a point.
    pub(crate) fn freezing_at(world: &World, role: Role, point: &str) -> Self {
        Self::start(world, role, cameo_crashpoint::STOP_AT, point)
    }

    fn start(world: &World, role: Role, variable: &str, point: &str) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "--nocapture", "child::a_child_process_works_until_it_is_killed"])
            .env(ROLE, role.name())
            .env(DATABASE, &world.place.database_url)
            .env(FOLDER, &world.place.folder)
            .env(variable, point)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        Self { child, what: format!("the {} with {variable}={point}", role.name()) }
    }

    /// Waits until the child was killed at its point.
    pub(crate) async fn killed(&mut self) {
        let child = &mut self.child;
        let status = eventually(&format!("{} is dead", self.what), async || {
            child.try_wait().expect("the child's status")
        })
        .await;
        let killed = Some(Signal::SIGKILL as i32);
        assert_eq!(status.signal(), killed, "{} ended by itself: {status}", self.what);
    }

    /// Waits until the child has stopped at its point.
    pub(crate) async fn frozen(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        eventually(&format!("{} is frozen", self.what), async || {
            let stat = std::fs::read_to_string(&stat).ok()?;
            // The state follows the program's name, which is in parentheses.
            stat.rsplit(')').next()?.trim_start().starts_with('T').then_some(())
        })
        .await;
    }

    /// Lets the child go on.
    pub(crate) fn thaw(&self) {
        let process = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(process), Signal::SIGCONT).expect("the child goes on");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test but the child: it does nothing unless a crash test has started this program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_process_works_until_it_is_killed() {
    let (Ok(role), Ok(database_url), Some(folder)) =
        (std::env::var(ROLE), std::env::var(DATABASE), std::env::var_os(FOLDER))
    else {
        return;
    };
    let place = Place { database_url, folder: PathBuf::from(folder) };
    // Long past, like the clock of the scenario: what is put off is tried again at once.
    let clock = Arc::new(ManualClock::new(at("2024-03-01T00:00:00Z")));
    let dependencies = place.worker(CHILD, clock.clone()).await;
    if role == Role::Mirror.name() {
        let config =
            cameo_mirror::Config { poll: Duration::from_millis(20), lease_seconds: LEASE_SECONDS };
        let dependencies = cameo_mirror::Dependencies {
            store: dependencies.store,
            warehouse: dependencies.warehouse,
            clock,
            metrics: MirrorMetrics::register(&Metrics::new()),
        };
        tokio::spawn(cameo_mirror::run(config, dependencies, CancellationToken::new()));
    } else {
        let config = cameo_worker::Config {
            name: CHILD.to_owned(),
            runs_max: 1,
            threads: 2,
            writers: 2,
            lease_seconds: LEASE_SECONDS,
            poll: Duration::from_millis(20),
            isolation: isolation(),
            ..cameo_worker::Config::default()
        };
        tokio::spawn(cameo_worker::run(config, dependencies, CancellationToken::new()));
    }
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(PARENT_LOOK).await;
    }
}
