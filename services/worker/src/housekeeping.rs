//! What workers do beside their runs: they end what nobody owns, drop what nobody reads, anchor the audit
//! trail and tell how long runs wait.

use std::time::Duration;

use cameo_store::{Store, generations, runs};
use tokio_util::sync::CancellationToken;

use crate::{Dependencies, anchoring, segments, webhooks};

/// How often lost leases are looked for and views are brought up to date.
const PERIOD: Duration = Duration::from_secs(1);
/// How many periods pass between two looks for droppable generations.
const RETAIN_EVERY: u32 = 10;
/// How many periods pass between two looks at the queue.
const QUEUE_EVERY: u32 = 5;
/// How many periods pass between two looks whether the audit trail is to be anchored.
const ANCHOR_EVERY: u32 = 5;

pub(crate) async fn run(dependencies: Dependencies, shutdown: CancellationToken) {
    let Dependencies { store, metrics, .. } = &dependencies;
    let mut period = 0_u32;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        match runs::expire_leases(store).await {
            Ok(expired) => {
                for run in expired {
                    tracing::warn!(%run, "the lease of a run ran out; it goes back to the queue");
                    metrics.leases_expired.inc();
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look for lost leases"
            ),
        }
        if let Err(error) = generations::refresh_views(store).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not bring the views for SQL users up to date"
            );
        }
        if period.is_multiple_of(RETAIN_EVERY) {
            retain(store).await;
            webhooks::retain(store).await;
            if let Err(error) = segments::clean(store, &dependencies.artifacts).await {
                tracing::warn!(%error, "could not delete old members of segments");
            }
            segments::measure(&dependencies).await;
        }
        if period.is_multiple_of(QUEUE_EVERY) {
            match runs::waiting(store).await {
                Ok(waiting) => metrics.queue.waiting(&waiting),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look at the queue"
                ),
            }
        }
        if period.is_multiple_of(ANCHOR_EVERY) {
            anchoring::anchor(&dependencies).await;
        }
        period = period.wrapping_add(1);
    }
}

/// Withdraws what belongs to archived services whose time is over, and drops what nobody reads.
async fn retain(store: &Store) {
    match generations::withdraw(store).await {
        Ok(withdrawn) => {
            for service in withdrawn {
                tracing::info!(%service, "the predictions of an archived service were withdrawn");
            }
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not withdraw archived services"
        ),
    }
    if let Err(error) = generations::retain(store).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not drop old generations");
    }
}
