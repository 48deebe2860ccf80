//! Graceful shutdown on SIGTERM and SIGINT.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Exit status of a shell for a process that SIGINT ended, which a second signal imitates.
const EXIT_STATUS_INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first SIGTERM or SIGINT; a second one exits at once.
///
/// An immediate exit loses nothing that matters: what must survive is in the database.
///
/// # Panics
/// Outside a tokio runtime.
#[must_use]
pub fn on_signals() -> CancellationToken {
    let token = CancellationToken::new();
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => {
            tokio::spawn(watch(terminate, interrupt, token.clone()));
        }
        (Err(source), _) | (_, Err(source)) => {
            error!(error = %source, "signals cannot be watched: the process will end without draining");
        }
    }
    token
}

async fn watch(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    let first = next(&mut terminate, &mut interrupt).await;
    info!(signal = first, "shutting down; a second signal exits at once");
    token.cancel();
    let second = next(&mut terminate, &mut interrupt).await;
    warn!(signal = second, "exiting without waiting for work in progress");
    process::exit(EXIT_STATUS_INTERRUPTED);
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
