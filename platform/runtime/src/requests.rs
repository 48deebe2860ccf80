//! Threads that answer requests.

use std::io;

use cameo_priority::Priority;
use tokio::runtime::{Builder, Runtime};

/// A runtime for work that somebody waits for: its threads interrupt whatever else computes on this machine, as long
/// as they take less than their share of it.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().on_thread_start(interrupt_others).enable_all().build()
}

fn interrupt_others() {
    if let Err(error) = Priority::Request.take() {
        tracing::debug!(%error, "a thread that answers requests waits for its turn like others");
    }
}
