//! Keeping the lease of work that may last longer than it.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::{
    Store, StoreError,
    erasures::{self, Turn},
    outbox::{self, MirrorTask},
    segments::{self, SegmentTask},
    snapshots::{self, SnapshotTask},
};

/// Renewals per lease: two may fail before it is lost.
const RENEWALS_PER_LEASE: u32 = 3;

/// What was claimed for so many seconds.
pub trait Lease: Clone + Send + Sync + 'static {
    /// Whose lease it is, as the end of a sentence.
    const OF: &'static str;

    /// Has it last for `seconds` from now on.
    fn renew(
        &self,
        store: &Store,
        seconds: u32,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A lease that is being renewed, until this is dropped: with the work under it, also with work that is cut short or
/// panics.
#[derive(Debug)]
#[must_use = "it is renewed no more when this is dropped"]
pub struct Kept(#[expect(dead_code, reason = "it is there to be dropped")] AbortOnDropHandle<()>);

/// Keeps a lease, on a task of its own: work may hold its thread for longer than the lease lasts.
pub fn keep<L: Lease>(store: &Store, lease: &L, seconds: u32) -> Kept {
    let (store, lease) = (store.clone(), lease.clone());
    let pause = Duration::from_secs(seconds.into()) / RENEWALS_PER_LEASE;
    Kept(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = lease.renew(&store, seconds).await {
                // Every write states its epoch: work that was taken over changes nothing.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not renew the lease of {}",
                    L::OF
                );
            }
        }
    })))
}

macro_rules! renewed_by {
    ($($task:ty, $of:literal, $heartbeat:path;)*) => {$(
        impl Lease for $task {
            const OF: &'static str = $of;

            async fn renew(&self, store: &Store, seconds: u32) -> Result<(), StoreError> {
                $heartbeat(store, self, seconds).await
            }
        }
    )*};
}

renewed_by! {
    Turn, "a tenant's erasures", erasures::heartbeat;
    SnapshotTask, "a snapshot", snapshots::heartbeat;
    SegmentTask, "a segment", segments::heartbeat;
    MirrorTask, "a mirror task", outbox::heartbeat;
}
