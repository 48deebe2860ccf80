//! Work beside runs, one piece after the other.

use std::time::Duration;

use cameo_store::StoreError;
use tokio_util::sync::CancellationToken;

/// How often an idle worker looks for a piece.
const PERIOD: Duration = Duration::from_millis(500);

/// Takes turns until `shutdown`, and gives the one under way `drain` to finish; what is cut short is repeated by
/// somebody. A turn says whether there was a piece to work on; `trouble` names what a turn could not do that
/// failed.
pub(crate) async fn repeat<T: Future<Output = Result<bool, StoreError>>>(
    trouble: &str,
    drain: Duration,
    shutdown: &CancellationToken,
    turn: impl Fn() -> T,
) {
    loop {
        let stopped = async {
            shutdown.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        let worked = tokio::select! {
            () = stopped => return,
            worked = turn() => worked,
        };
        if shutdown.is_cancelled() {
            return;
        }
        if let Err(error) = &worked {
            tracing::warn!(error = error as &dyn std::error::Error, "{trouble}");
        }
        if !worked.unwrap_or_default() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }
}
