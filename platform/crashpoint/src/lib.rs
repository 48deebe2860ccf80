//! Named places at which a test may kill the process.
//!
//! With the feature `enabled`, [`hit`] kills the process with SIGKILL when the environment variable
//! [`CRASH_AT`] names the place; `name:3` dies at the third time it is reached. [`STOP_AT`] names a
//! place at which it stops instead, with SIGSTOP, until the test lets it go on. Without the feature every call is
//! empty and vanishes.

/// The environment variable that names the place, optionally with `:count`.
pub const CRASH_AT: &str = "CAMEO_CRASH_AT";

/// The environment variable that names the place to stop at, optionally with `:count`.
pub const STOP_AT: &str = "CAMEO_STOP_AT";

/// Every place in a run at which a worker can be killed, in the order of a run.
pub const RUN: [&str; 22] = [
    "run_claimed",
    "release_loaded",
    "plan_prepared",
    "generation_begun",
    "suppressions_read",
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
    "explanation_stored",
    "index_built",
    "generation_sealed",
    "publish_locked",
    "pointer_moved",
    "publish_before_commit",
    "publish_committed",
];

/// Every place in a decision about what is due at which a scheduler can be killed, in its order.
pub const SCHEDULE: [&str; 4] =
    ["schedule_locked", "schedule_run_inserted", "schedule_before_commit", "schedule_committed"];

/// Every place in the copying of a generation at which a mirror can be killed, in its order.
pub const MIRROR: [&str; 5] =
    ["mirror_claimed", "mirror_staged", "mirror_loaded", "mirror_compared", "mirror_completed"];

/// Every place in an erasure at which who works on it can be killed, in the order in which they come.
pub const ERASURE: [&str; 10] = [
    "erasure_claimed",
    "erasure_discovered",
    "erasure_tables_erased",
    "quarantine_erased",
    "erasure_table_copied",
    "erasure_copy_erased",
    "erasure_members_given_up",
    "erasure_members_deleted",
    "erasure_searched_again",
    "erasure_closing",
];

/// Every place in the making of a snapshot at which a worker can be killed, in its order.
pub const SNAPSHOT: [&str; 5] = [
    "snapshot_claimed",
    "snapshot_written",
    "snapshot_announced",
    "snapshot_stored",
    "snapshot_recorded",
];

/// Every place in the making of a segment's members at which a worker can be killed, in its order.
pub const SEGMENT: [&str; 5] = [
    "segment_claimed",
    "segment_written",
    "segment_announced",
    "segment_stored",
    "segment_recorded",
];

/// Every place in the telling of a webhook at which a worker can be killed, in its order.
pub const WEBHOOK: [&str; 2] = ["webhook_claimed", "webhook_sent"];

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

    use nix::sys::signal::Signal;

    struct Wanted {
        name: String,
        count: u32,
        hits: AtomicU32,
        signal: Signal,
    }

    fn wanted(variable: &str, signal: Signal) -> Option<Wanted> {
        let text = std::env::var(variable).ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        let count = count.parse().ok()?;
        Some(Wanted { name: name.to_owned(), count, hits: AtomicU32::new(0), signal })
    }

    // An abort would run no destructors either, but would write a core and a message: a kill is
    // what an operator or the kernel does.
    static WANTED: LazyLock<[Option<Wanted>; 2]> =
        LazyLock::new(|| [wanted(CRASH_AT, Signal::SIGKILL), wanted(STOP_AT, Signal::SIGSTOP)]);

    for wanted in WANTED.iter().flatten().filter(|wanted| wanted.name == name) {
        if wanted.hits.fetch_add(1, Ordering::SeqCst) + 1 == wanted.count {
            // To this thread: sent to the process, it may go to another one while this one goes on.
            let _ = nix::sys::signal::raise(wanted.signal);
        }
    }
}
