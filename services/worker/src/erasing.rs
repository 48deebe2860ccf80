//! Erasing customers from what is not served.

use std::{sync::Arc, time::Duration};

use cameo_domain::{ErasureId, Reason};
use cameo_erasure::{Eraser, Worked};
use cameo_runtime::backoff::Backoff;
use cameo_store::{StoreError, erasures};
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, repeat::repeat};

/// A turn that is not renewed for this many seconds is taken over.
const LEASE_SECONDS: u32 = 60;
/// Between turns that fail. Nobody gives up: an erasure stays open until it is done.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(5) };

/// Erases until `shutdown`, as [`repeat`] says. A turn may take minutes, so it has a loop of its own; one that is cut
/// short is gone on with where it was.
pub(crate) async fn run(
    config: Arc<Config>,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) {
    let lease_seconds = LEASE_SECONDS.min(config.lease_seconds);
    let turn = || async { Ok(erase_next(&dependencies, lease_seconds).await?.is_some()) };
    repeat("could not look for customers to erase", config.drain, &shutdown, turn).await;
}

/// Works one turn; gives the erasures that it closed, and none at all where nobody is to be erased.
///
/// # Errors
/// Only when the database cannot be asked; a failed turn is recorded and tried again later.
pub async fn erase_next(
    dependencies: &Dependencies,
    lease_seconds: u32,
) -> Result<Option<Vec<ErasureId>>, StoreError> {
    let Dependencies { store, warehouse, artifacts, clock, metrics, .. } = dependencies;
    let eraser = Eraser {
        store: store.clone(),
        warehouse: warehouse.clone(),
        artifacts: artifacts.clone(),
        lease_seconds,
    };
    let Some(Worked { tenant, turn, result }) = eraser.work_next().await? else { return Ok(None) };
    match result {
        Ok(closed) => {
            erasures::end(store, &turn).await?;
            metrics.erasures.inc_by(closed.len() as u64);
            Ok(Some(closed))
        }
        Err(error) => {
            metrics.erasure_errors.inc();
            let wait = BACKOFF.after(turn.attempt);
            tracing::warn!(
                %tenant, error = &error as &dyn std::error::Error, ?wait,
                "could not go through every place of an erasure; will try again"
            );
            let reason = Reason::new("erasure", error.to_string());
            erasures::put_off(store, &turn, reason, clock.now() + wait).await?;
            Ok(Some(Vec::new()))
        }
    }
}
