//! Keeps the head of the audit trail where nobody who can write to the database can rewrite it.

use cameo_bundle::artifact::ArtifactError;
use cameo_store::audit;

use crate::Dependencies;

/// Anchors the trail where that is due. What fails is due again at the next look.
pub(crate) async fn anchor(dependencies: &Dependencies) {
    let Dependencies { store, artifacts, metrics, .. } = dependencies;
    let anchor = match audit::due_anchor(store).await {
        Ok(Some(anchor)) => anchor,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look for the head of the audit trail"
            );
            return;
        }
    };
    match artifacts.put_anchor(&anchor).await {
        Ok(()) => {}
        Err(error @ ArtifactError::Anchor { .. }) => {
            metrics.audit_conflicts.inc();
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the audit trail was written anew; `cameo audit verify` tells from where"
            );
            return;
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not anchor the audit trail"
            );
            return;
        }
    }
    if let Err(error) = audit::note_anchor(store, &anchor).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not note the anchor of the audit trail"
        );
    }
}
