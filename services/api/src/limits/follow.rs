//! What keeps the limits fresh: what is granted, and the load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cameo_store::{Store, limits};
use tokio_util::sync::CancellationToken;

use super::{Limits, pressure::TICK};

/// How often what is granted is read: a changed `tenant.yaml` holds within this time.
const GRANTS_INTERVAL: Duration = Duration::from_secs(2);
/// How often idle keys are forgotten, in ticks.
const FORGET_TICKS: u32 = 100;

/// Reads what is granted until `shutdown`. While the database cannot be asked, what was read last holds.
pub(super) async fn grants(limits: Arc<Limits>, store: Store, shutdown: CancellationToken) {
    loop {
        match limits::granted(&store).await {
            Ok(granted) => limits.tenants.grant(granted),
            Err(error) => tracing::warn!(%error, "cannot read the limits of tenants and keys"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(GRANTS_INTERVAL) => {}
        }
    }
}

/// Follows the load until `shutdown`.
pub(super) async fn load(limits: Arc<Limits>, shutdown: CancellationToken) {
    let mut ticked_at = Instant::now();
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        // A tick takes longer than asked when the server is busy: rates are over the real time.
        let elapsed = ticked_at.elapsed();
        ticked_at = Instant::now();
        limits.pressure.tick(elapsed, limits.pacer.in_line());
        limits.pacer.follow(limits.pressure.rate());
        limits.metrics.note_shedding(limits.pressure.is_shedding());
        limits.tenants.tick();
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(FORGET_TICKS) {
            limits.buckets.forget_idle();
        }
    }
}
