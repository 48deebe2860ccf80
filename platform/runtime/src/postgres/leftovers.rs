//! Processes and files that a killed server left behind.
//!
//! A killed postmaster leaves its children, which end when they next look; a killed parent leaves
//! a postmaster that is shutting down. Both keep a new server from starting. Only processes of our
//! own data directory are touched: it is locked, so whatever uses it is a leftover.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::{info, warn};

/// How long a leftover may take to end by itself, until it is told to quit at once, then killed.
const PATIENCE: [(Duration, Signal); 2] =
    [(Duration::from_secs(3), Signal::SIGQUIT), (Duration::from_secs(10), Signal::SIGKILL)];
/// After this a leftover is left to Postgres itself, which refuses to start beside it.
const WAIT_MAX: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits for the leftovers of the cluster to end, then removes their lock files.
pub(super) fn clear(data_dir: &Path, socket_dir: &Path) {
    let since = Instant::now();
    let mut asked = Vec::new();
    loop {
        let leftovers = processes(data_dir);
        if leftovers.is_empty() {
            break;
        }
        if asked.is_empty() {
            info!(processes = ?leftovers, "waiting for an earlier Postgres of this data directory to end");
        }
        let signal = PATIENCE
            .iter()
            .rev()
            .find(|(after, _)| since.elapsed() >= *after)
            .map_or(Signal::SIGINT, |(_, signal)| *signal);
        // SIGINT is for the postmaster (fast shutdown); to a backend it only cancels the query.
        for process in leftovers.iter().filter(|process| !asked.contains(&(**process, signal))) {
            let _ = kill(Pid::from_raw(*process), signal);
        }
        asked.extend(leftovers.iter().map(|process| (*process, signal)));
        if since.elapsed() >= WAIT_MAX {
            warn!(processes = ?leftovers, "an earlier Postgres of this data directory does not end");
            return;
        }
        thread::sleep(POLL_INTERVAL);
    }
    // Process ids come round again, above all in containers: a stale lock file may name a live,
    // unrelated process, and Postgres would then refuse to start for ever.
    let _ = fs::remove_file(data_dir.join("postmaster.pid"));
    for entry in fs::read_dir(socket_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".s.PGSQL.") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The live processes of the cluster: the one that `postmaster.pid` names, if its command line
/// names the data directory, and all that work in it.
fn processes(data_dir: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(|process: &i32| {
            fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|folder| folder == data_dir)
        })
        .collect();
    // The working folder of another user's process cannot be read in a container without ptrace.
    found.extend(
        postmaster(data_dir)
            .filter(|process| !found.contains(process) && runs_cluster(*process, data_dir)),
    );
    found
}

fn postmaster(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().filter(|process| *process > 1)
}

fn runs_cluster(process: i32, data_dir: &Path) -> bool {
    let Ok(command_line) = fs::read(format!("/proc/{process}/cmdline")) else {
        return false;
    };
    command_line
        .split(|byte| *byte == 0)
        .any(|argument| argument == data_dir.as_os_str().as_encoded_bytes())
}
