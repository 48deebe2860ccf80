//! Works erasures through every place where a customer may lie.
//!
//! A request has taken the customer out of what is served, and suppressed the key. What is left is done
//! here, by turns of a tenant, in steps that are written down one by one, so that a turn that is killed is
//! gone on with: older generations, quarantine, copies in the warehouse, immutable files of generations and of
//! members, and the pages in which removed rows still lie. At the end every place is searched once more. An erasure stays open for as long
//! as a run goes on that may not know of it.

mod members;
mod places;
pub mod receipt;
mod snapshots;

use std::sync::Arc;

use cameo_bundle::artifact::{ArtifactError, ArtifactStore};
use cameo_crashpoint::hit;
use cameo_domain::{ErasureId, TenantName};
use cameo_segment::membership::MembershipError;
use cameo_snapshot::SnapshotError;
use cameo_store::{
    Store, StoreError,
    erasures::{self, Look, Turn},
    leases,
};
use cameo_warehouse::{Warehouse, WarehouseError};

/// What erasing works with.
#[derive(Clone)]
pub struct Eraser {
    /// Control plane and generations.
    pub store: Store,
    /// Where copies are.
    pub warehouse: Arc<dyn Warehouse>,
    /// Where the files of generations and of members are.
    pub artifacts: Arc<ArtifactStore>,
    /// Another worker may take a turn over after this many seconds without a renewal.
    pub lease_seconds: u32,
}

/// Why a turn did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A copy could not be gone through.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// The artifact store did not give a generation's file.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A generation's file is not what was recorded.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A file of members is not sound.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// There is no room for a file while it is searched.
    #[error("no temporary folder for a file that is searched")]
    Scratch(#[source] std::io::Error),
    /// The task that searched a file ended early.
    #[error("the task that searched a file ended early")]
    Ended,
}

/// What came of a turn.
#[derive(Debug)]
pub struct Worked {
    /// Whose.
    pub tenant: TenantName,
    /// The turn; it has to be ended, or put off where it failed.
    pub turn: Turn,
    /// The erasures that were closed, or why the turn broke off. What was done until then stays done.
    pub result: Result<Vec<ErasureId>, ErasureError>,
}

impl Eraser {
    /// Works a turn of the tenant that waits longest; none where nothing is to be erased.
    ///
    /// # Errors
    /// Only when no turn can be had; a turn that fails says so in its result.
    pub async fn work_next(&self) -> Result<Option<Worked>, StoreError> {
        let Some(turn) = erasures::claim(&self.store, self.lease_seconds).await? else {
            return Ok(None);
        };
        hit("erasure_claimed");
        let kept = leases::keep(&self.store, &turn, self.lease_seconds);
        let result = self.work(&turn).await;
        drop(kept);
        Ok(Some(Worked { tenant: turn.tenant.clone(), turn, result }))
    }

    async fn work(&self, turn: &Turn) -> Result<Vec<ErasureId>, ErasureError> {
        let store = &self.store;
        erasures::discover(store, turn).await?;
        hit("erasure_discovered");
        places::tables(store, turn).await?;
        hit("erasure_tables_erased");
        erasures::erase_quarantine(store, turn).await?;
        places::rewrite_tables(store, turn).await?;
        places::copies(store, self.warehouse.as_ref(), turn, Look::First).await?;
        hit("erasure_copy_erased");
        self.warehouse.remove_orphans().await?;
        members::search(store, &self.artifacts, turn, Look::First).await?;
        hit("erasure_members_given_up");
        members::delete(store, &self.artifacts, turn).await?;
        erasures::snapshots_renewed(store, turn).await?;
        erasures::search_again(store, turn).await?;
        snapshots::search(store, &self.artifacts, turn).await?;
        members::search(store, &self.artifacts, turn, Look::Again).await?;
        places::copies(store, self.warehouse.as_ref(), turn, Look::Again).await?;
        hit("erasure_searched_again");
        let closed = erasures::close(store, turn).await?;
        erasures::forget_keys(store, turn).await?;
        for erasure in &closed {
            tracing::info!(tenant = %turn.tenant, %erasure, "a customer is erased everywhere");
        }
        Ok(closed)
    }
}
