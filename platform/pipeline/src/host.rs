//! Starting what a plan's model works in.

use cameo_isolation::{Allowance, Host, Isolation};

use crate::error::RunError;

/// Share of a run's memory that the warehouse engine gets; the model gets the rest.
const ENGINE_SHARE_PERCENT: u64 = 75;
/// Memory that a model gets even where that is more than its share.
const MODEL_MEMORY_BYTES_MIN: u64 = 512 << 20;

/// What the warehouse engine may have of a run's memory.
#[must_use]
pub fn engine_memory(run_bytes: u64) -> u64 {
    run_bytes / 100 * ENGINE_SHARE_PERCENT
}

/// What the model may have of a run's memory.
#[must_use]
pub fn model_memory(run_bytes: u64) -> u64 {
    run_bytes.saturating_sub(engine_memory(run_bytes)).max(MODEL_MEMORY_BYTES_MIN)
}

/// Starts what a model works in, and says where it is less confined than it should be.
///
/// # Errors
/// [`RunError::Transient`] where it does not start.
pub async fn start_host(isolation: &Isolation, allowance: Allowance) -> Result<Host, RunError> {
    let isolation = isolation.clone();
    let host = tokio::task::spawn_blocking(move || isolation.start(allowance))
        .await
        .map_err(|panic| RunError::transient("model_process", panic.to_string()))??;
    for kept in host.kept() {
        tracing::warn!(kept, "the model's process is less confined than it should be");
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn engine_and_model_share_the_memory_of_a_run_but_a_model_has_room_for_itself() {
        assert_eq!(engine_memory(8 * GIB) + model_memory(8 * GIB), 8 * GIB);
        assert_eq!(model_memory(8 * GIB) >> 20, 2_048);
        assert_eq!(model_memory(GIB / 4) >> 20, 512);
    }
}
