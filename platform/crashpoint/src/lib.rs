//! Named places at which a test may kill the process.
//!
//! With the feature `enabled`, [`hit`] kills the process with SIGKILL when the environment variable
//! [`CRASH_AT`] names the place; `name:3` dies at the third time it is reached. Without the feature
//! every call is empty and vanishes.

/// The environment variable that names the place, optionally with `:count`.
pub const CRASH_AT: &str = "CAMEO_CRASH_AT";

/// Every place in a run at which a worker can be killed, in the order of a run.
pub const RUN: [&str; 20] = [
    "run_claimed",
    "release_loaded",
    "plan_prepared",
    "generation_begun",
    "read_started",
    "first_batch_read",
    "first_batch_scored",
    "first_batch_written",
    "batch_written",
    "heartbeat_sent",
    "all_read",
    "all_scored",
    "all_written",
    "quarantine_stored",
    "index_built",
    "generation_sealed",
    "publish_locked",
    "pointer_moved",
    "publish_before_commit",
    "publish_committed",
];

/// Dies here if the test asked for it.
#[cfg(not(feature = "enabled"))]
#[inline(always)]
pub fn hit(_name: &str) {}

/// Dies here if the test asked for it.
#[cfg(feature = "enabled")]
pub fn hit(name: &str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    static WANTED: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let wanted = std::env::var(CRASH_AT).ok()?;
        Some(match wanted.split_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().ok()?),
            None => (wanted, 1),
        })
    });
    static HITS: AtomicU32 = AtomicU32::new(0);

    let Some((wanted, count)) = &*WANTED else { return };
    if wanted == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        // An abort would run no destructors either, but would write a core and a message: a kill
        // is what an operator or the kernel does.
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
    }
}
