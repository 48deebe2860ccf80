//! Roles in processes of their own, which can be killed and frozen.
//!
//! The process is the test program itself, told by its environment to work: each test target that starts one
//! has, at its root, the test [`CHILD_TEST`] that calls [`work_until_killed`].

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cameo_mirror::MirrorMetrics;
use cameo_runtime::{
    metrics::Metrics,
    telemetry::{self, TelemetryConfig},
};
use cameo_scheduler::SchedulerMetrics;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getppid},
};
use tokio_util::sync::CancellationToken;

use crate::{Place, World, eventually, isolation};

/// The name under which Postgres shows the connections of a child that has no name of its own, and the name of
/// its worker.
pub const CHILD: &str = "cameo-crash-child";
/// The test that is the child.
pub const CHILD_TEST: &str = "a_child_process_works_until_it_is_killed";

/// Short, so that scenarios need not wait long for what the dead held.
const LEASE_SECONDS: u32 = 2;
/// How often a child looks for work.
const POLL: Duration = Duration::from_millis(20);
/// How often an orphan looks for its parent.
const PARENT_LOOK: Duration = Duration::from_millis(200);
const ROLE: &str = "CAMEO_TEST_ROLE";
const DATABASE: &str = "CAMEO_TEST_DATABASE";
const FOLDER: &str = "CAMEO_TEST_FOLDER";
const NAME: &str = "CAMEO_TEST_NAME";
const LEASE: &str = "CAMEO_TEST_LEASE_SECONDS";

/// What the child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Claims runs and executes them, one at a time.
    Worker,
    /// A worker that makes the snapshot of each generation before it publishes it.
    SnapshotFirst,
    /// Decides what is due.
    Scheduler,
    /// Copies what is published.
    Mirror,
}

impl Role {
    /// As people and the child's environment call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::SnapshotFirst => "snapshot-first",
            Self::Scheduler => "scheduler",
            Self::Mirror => "mirror",
        }
    }
}

/// What is to become of the child. A point is one of `cameo_crashpoint`, with `:3` at its third time.
#[derive(Debug, Clone, Copy)]
pub enum Fate<'a> {
    /// It works until the scenario does something to it.
    Works,
    /// It dies at a point.
    DiesAt(&'a str),
    /// It freezes at a point.
    FreezesAt(&'a str),
}

/// How a child is started.
#[derive(Debug, Clone)]
pub struct Orders<'a> {
    /// The world that it joins.
    pub place: &'a Place,
    /// What it does.
    pub role: Role,
    /// The name of its connections and of its worker.
    pub name: &'a str,
    /// The leases that it takes.
    pub lease_seconds: u32,
    /// What is to become of it.
    pub fate: Fate<'a>,
}

/// A child that works in a world.
pub struct Process {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Process {
    /// Starts a child that dies at a point.
    #[must_use]
    pub fn dying_at(world: &World, role: Role, point: &str) -> Self {
        Self::of(world, role, Fate::DiesAt(point))
    }

    /// Starts a child that freezes at a point.
    #[must_use]
    pub fn freezing_at(world: &World, role: Role, point: &str) -> Self {
        Self::of(world, role, Fate::FreezesAt(point))
    }

    fn of(world: &World, role: Role, fate: Fate<'_>) -> Self {
        let (place, name, lease_seconds) = (&world.place, CHILD, LEASE_SECONDS);
        Self::start(&Orders { place, role, name, lease_seconds, fate })
    }

    /// Starts a child.
    #[must_use]
    pub fn start(orders: &Orders<'_>) -> Self {
        let Orders { place, role, name, lease_seconds, fate } = orders;
        let log = place.folder.join(format!("{name}.log"));
        let said = File::options().append(true).create(true).open(&log).expect("a log");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--exact", "--nocapture", CHILD_TEST])
            .env(ROLE, role.name())
            .env(DATABASE, &place.database_url)
            .env(FOLDER, &place.folder)
            .env(NAME, name)
            .env(LEASE, lease_seconds.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        let fate = match fate {
            Fate::Works => "at work".to_owned(),
            Fate::DiesAt(point) => {
                command.env(cameo_crashpoint::CRASH_AT, point);
                format!("that dies at {point}")
            }
            Fate::FreezesAt(point) => {
                command.env(cameo_crashpoint::STOP_AT, point);
                format!("that freezes at {point}")
            }
        };
        let child = command.spawn().expect("the child starts");
        Self { child, what: format!("the {} {name} {fate}", role.name()), log }
    }

    /// Waits until the child was killed at its point.
    pub async fn killed(&mut self) {
        let child = &mut self.child;
        let status = eventually(&format!("{} is dead", self.what), async || {
            child.try_wait().expect("the child's status")
        })
        .await;
        let killed = Some(Signal::SIGKILL as i32);
        assert_eq!(status.signal(), killed, "{} ended by itself: {status}", self.what);
    }

    /// Kills the child, wherever it is.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is killed");
        let status = self.child.wait().expect("the child's status");
        let killed = Some(Signal::SIGKILL as i32);
        assert_eq!(status.signal(), killed, "{} ended by itself: {status}", self.what);
    }

    /// Waits until the child has stopped.
    pub async fn frozen(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        eventually(&format!("{} is frozen", self.what), async || {
            let stat = fs::read_to_string(&stat).ok()?;
            // The state follows the program's name, which is in parentheses.
            stat.rsplit(')').next()?.trim_start().starts_with('T').then_some(())
        })
        .await;
    }

    /// Stops the child, wherever it is, as a machine that swaps or a debugger does.
    pub async fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        self.frozen().await;
    }

    /// Lets the child go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(process), signal).expect("the child is there");
    }

    /// How often children of this name have logged something of these words.
    #[must_use]
    pub fn has_said(&self, any: &[&str]) -> usize {
        let log = fs::read_to_string(&self.log).expect("the log");
        log.lines().filter(|line| any.iter().any(|words| line.contains(words))).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Works as the environment says until somebody kills this process or its parent is gone; does nothing where
/// the environment says nothing.
pub async fn work_until_killed() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(role), Some(database_url), Some(folder), Some(name)) =
        (variable(ROLE), variable(DATABASE), std::env::var_os(FOLDER), variable(NAME))
    else {
        return;
    };
    let config = TelemetryConfig { traces_endpoint: None, ..TelemetryConfig::from_environment() };
    let _telemetry = telemetry::init(&name, config).expect("a log");
    let place = Place { database_url, folder: PathBuf::from(folder) };
    let lease = variable(LEASE).and_then(|seconds| seconds.parse().ok());
    start(&role, name, &place, lease.unwrap_or(LEASE_SECONDS)).await;
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(PARENT_LOOK).await;
    }
}

async fn start(role: &str, name: String, place: &Place, lease_seconds: u32) {
    let (clock, never) = (place.clock(), CancellationToken::new());
    if role == Role::Scheduler.name() {
        let dependencies = cameo_scheduler::Dependencies {
            store: place.store(&name).await,
            clock,
            metrics: SchedulerMetrics::register(&Metrics::new()),
        };
        let config = cameo_scheduler::Config { poll: POLL };
        tokio::spawn(cameo_scheduler::run(config, dependencies, never));
    } else if role == Role::Mirror.name() {
        let dependencies = cameo_mirror::Dependencies {
            store: place.store(&name).await,
            warehouse: place.warehouse(),
            clock,
            metrics: MirrorMetrics::register(&Metrics::new()),
        };
        let config = cameo_mirror::Config { poll: POLL, lease_seconds };
        tokio::spawn(cameo_mirror::run(config, dependencies, never));
    } else {
        let dependencies = place.worker(&name, Arc::clone(&clock)).await;
        let is_first = role == Role::SnapshotFirst.name();
        let config = cameo_worker::Config {
            name,
            snapshot_first_above: if is_first { 0 } else { u64::MAX },
            runs_max: 1,
            threads: 2,
            writers: 2,
            lease_seconds,
            poll: POLL,
            scratch: place.scratch(),
            webhook_reach: cameo_worker::Reach::Anywhere,
            isolation: isolation(),
            ..cameo_worker::Config::default()
        };
        tokio::spawn(cameo_worker::run(config, dependencies, never));
    }
}
