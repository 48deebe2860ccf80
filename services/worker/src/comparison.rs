//! Comparing what ran beside production with production.

use std::time::Duration;

use cameo_bundle::{ReleaseConfig, ReleaseManifest};
use cameo_store::{
    Store, StoreError,
    verdicts::{self, Limits, Verdict},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How often ended runs are looked for.
const PERIOD: Duration = Duration::from_secs(1);

/// Compares until `shutdown`. A comparison may take minutes, so it has a loop of its own; one that is
/// cut short has written nothing, and somebody repeats it.
pub(crate) async fn run(store: Store, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        loop {
            let step = tokio::select! {
                () = shutdown.cancelled() => return,
                step = compare_next(&store) => step,
            };
            match step {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not compare what ran beside production"
                    );
                    break;
                }
            }
        }
    }
}

/// Compares the next run beside production that has ended; none where none is due.
///
/// # Errors
/// Only when the database cannot be asked; another look repeats it.
pub async fn compare_next(store: &Store) -> Result<Option<Verdict>, StoreError> {
    let verdict = verdicts::decide_next(store, limits).await?;
    if let Some(verdict) = &verdict {
        let failed: Vec<_> =
            verdict.checks.iter().filter(|check| !check.passed).map(|one| &one.check).collect();
        let (service, release) = (&verdict.path, verdict.release.0.short());
        tracing::info!(%service, release, passed = verdict.passed, ?failed, "compared with production");
    }
    Ok(verdict)
}

/// What a release allows itself; a manifest of an incompatible version gets the defaults.
fn limits(manifest: &Value) -> Limits {
    let manifest = serde_json::from_value::<ReleaseManifest>(manifest.clone());
    let config = manifest.map_or_else(|_| ReleaseConfig::default(), |manifest| manifest.release);
    Limits {
        duration_ratio_max: config.shadow_duration_ratio_max,
        memory_ratio_max: config.shadow_memory_ratio_max,
        mean_shift_max: config.shadow_mean_shift_max,
        psi_max: config.shadow_psi_max,
        changed_share_max: config.shadow_changed_share_max,
    }
}
