//! One life of the postmaster: launched, ready, stopped.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::PostgresError;
use super::cluster::Cluster;
use super::leftovers;

/// Crash recovery of a full write-ahead log (4 GB) is far below this.
const READY_SECONDS_MAX: u64 = 300;
/// For how long a server is launched again that finds the lock or the memory of its predecessor.
const CONFLICT_RETRY_MAX: Duration = Duration::from_secs(20);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(3);
const CONFLICT_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How the server is asked to stop, and how long it may take each time: fast, immediate, killed.
const STOP_STEPS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_mins(1)),
    (Signal::SIGQUIT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(10)),
];
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The reader of the log gets this long to take over the last words of a server that ended.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);
/// The line of `postmaster.pid` that tells the state.
const STATUS_LINE: usize = 7;

/// A postmaster that accepts connections.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
}

impl Server {
    /// Launches the server and waits until it accepts connections.
    ///
    /// The kernel stops the server when the calling thread ends, so that must be one that lives
    /// as long as the server shall.
    pub(super) fn launch(cluster: &Cluster) -> Result<Self, PostgresError> {
        let since = Instant::now();
        loop {
            leftovers::clear(&cluster.data_dir, &cluster.socket_dir);
            match launch_once(cluster) {
                Err(PostgresError::Ended { tail, .. })
                    if is_conflict(&tail) && since.elapsed() < CONFLICT_RETRY_MAX =>
                {
                    thread::sleep(CONFLICT_POLL_INTERVAL);
                }
                launched => return launched,
            }
        }
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How the server ended, if it did.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Stops the server and waits for it.
    pub(super) fn stop(mut self) {
        for (signal, patience) in STOP_STEPS {
            send(&self.child, signal);
            let since = Instant::now();
            while since.elapsed() < patience {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(STOP_POLL_INTERVAL);
            }
        }
    }
}

fn launch_once(cluster: &Cluster) -> Result<Server, PostgresError> {
    cluster.log.forget_tail();
    // `setpriv` makes the kernel send SIGINT (fast shutdown) to the server when we die, however
    // we die; setting that here instead would need unsafe code between fork and exec.
    let setpriv = Path::new("setpriv");
    let mut command = cluster.account.command(setpriv);
    command
        .args(["--pdeathsig", "INT", "--"])
        .arg(cluster.binaries.program("postgres"))
        .arg("-D")
        .arg(&cluster.data_dir)
        // Ctrl-C at the terminal is for us: we drain first, then stop the server.
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(PostgresError::io("run (package util-linux)", setpriv))?;
    let reader = child.stderr.take().and_then(|output| cluster.log.follow(output));
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(PostgresError::io("wait for", setpriv))? {
            let ended = Instant::now();
            while reader.as_ref().is_some_and(|reader| !reader.is_finished())
                && ended.elapsed() < LAST_WORDS_MAX
            {
                thread::sleep(READY_POLL_INTERVAL);
            }
            return Err(PostgresError::Ended {
                status: status.to_string(),
                log: cluster.log.path(),
                tail: cluster.log.tail(),
            });
        }
        if is_ready(&cluster.data_dir, child.id()) {
            return Ok(Server { child });
        }
        if since.elapsed() >= Duration::from_secs(READY_SECONDS_MAX) {
            Server { child }.stop();
            return Err(PostgresError::NotReady {
                seconds: READY_SECONDS_MAX,
                log: cluster.log.path(),
                tail: cluster.log.tail(),
            });
        }
        thread::sleep(READY_POLL_INTERVAL);
    }
}

/// Whether the server that ended found traces of one before it, which vanish in a moment.
fn is_conflict(tail: &str) -> bool {
    tail.contains("lock file") || tail.contains("pre-existing shared memory block")
}

fn is_ready(data_dir: &Path, process: u32) -> bool {
    let Ok(text) = fs::read_to_string(data_dir.join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(process.to_string().as_str())
        && lines.nth(STATUS_LINE - 1) == Some("ready")
}

fn send(child: &Child, signal: Signal) {
    if let Ok(process) = i32::try_from(child.id()) {
        // It fails only when the server has ended in this moment, which is what is wanted.
        let _ = kill(Pid::from_raw(process), signal);
    }
}
