//! Which generation each service shows, in memory.
//!
//! The database decides; this is a copy that is at most about a second old. A notification brings
//! a change within milliseconds, but notifications can be lost, so the copy is also read anew at
//! [`POLL_INTERVAL`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use cameo_store::{
    Store, StoreError,
    lookup::{self, Hint, Hints, ServedGeneration},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{current::Current, snapshots::Snapshots};

/// How often the list is read when no notification comes.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// From what age on the list no longer counts as known.
pub const FRESH_FOR: Duration = Duration::from_secs(15);

/// Tenant, then service: a tenant's services can only be reached through the tenant.
type Table = HashMap<String, HashMap<String, Arc<Current>>>;

/// How things stand with snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotState {
    /// Services that show something.
    pub services_shown: u64,
    /// Of these, those that are answered from a snapshot.
    pub services_with_snapshot: u64,
    /// Size of all snapshots that are here, shown or not.
    pub bytes: u64,
    /// How often a snapshot could not be had.
    pub failures: u64,
}

/// The copy.
pub struct Pointers {
    pub(crate) store: Store,
    table: ArcSwap<Table>,
    read_at: Mutex<Option<Instant>>,
    /// One reader at a time; whoever waited for it finds the result.
    reading: tokio::sync::Mutex<()>,
    /// Where snapshots are used.
    pub(crate) snapshots: Option<Arc<Snapshots>>,
    /// Woken when something is shown whose snapshot is not attached.
    pub(crate) wanting: Notify,
    /// Woken by hints, for something that is about to be published may have a snapshot.
    pub(crate) hinted: Notify,
}

impl Pointers {
    /// An empty copy; nothing is known until the first [`Pointers::refresh`].
    #[must_use]
    pub fn new(store: Store, snapshots: Option<Arc<Snapshots>>) -> Self {
        Self {
            store,
            table: ArcSwap::default(),
            read_at: Mutex::new(None),
            reading: tokio::sync::Mutex::new(()),
            snapshots,
            wanting: Notify::new(),
            hinted: Notify::new(),
        }
    }

    /// The generation that a service shows, if the copy knows one.
    #[must_use]
    pub fn find(&self, tenant: &str, service: &str) -> Option<Arc<Current>> {
        self.table.load().get(tenant)?.get(service).cloned()
    }

    /// The generations that a tenant's services show, by the services' names.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Vec<Arc<Current>> {
        let table = self.table.load();
        let mut own: Vec<_> = table.get(tenant).into_iter().flatten().collect();
        own.sort_unstable_by_key(|(service, _)| *service);
        own.into_iter().map(|(_, current)| current.clone()).collect()
    }

    /// Whether the copy was read lately.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.is_some_and(|at| at.elapsed() < FRESH_FOR)
    }

    /// Reads the list anew. Callers that meet share one reading that began after they asked.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let _reading = self.reading.lock().await;
        if self.read_since(asked_at) {
            return Ok(());
        }
        let began_at = Instant::now();
        let served = lookup::current(&self.store, None).await?;
        let before = self.table.load_full();
        let mut is_wanting = false;
        let mut table = Table::new();
        for generation in served {
            let path = &generation.path;
            let known =
                before.get(path.tenant.as_str()).and_then(|own| own.get(path.service.as_str()));
            let current = match known {
                Some(known) if is_same(&known.served, &generation) => known.clone(),
                _ => self.show(generation.clone()),
            };
            is_wanting |= current.served.snapshot.is_some() && current.snapshot().is_none();
            table
                .entry(path.tenant.as_str().to_owned())
                .or_default()
                .insert(path.service.as_str().to_owned(), current);
        }
        self.table.store(Arc::new(table));
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began_at);
        if is_wanting {
            self.wanting.notify_one();
        }
        Ok(())
    }

    /// A generation that was not shown before. A snapshot that is here is used from the first answer on.
    fn show(&self, generation: ServedGeneration) -> Arc<Current> {
        let current = Arc::new(Current::new(generation));
        if let (Some(snapshots), Some(file)) = (&self.snapshots, &current.served.snapshot)
            && let Some(snapshot) = snapshots.find(file)
        {
            current.attach(snapshot);
        }
        current
    }

    fn read_since(&self, asked_at: Instant) -> bool {
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.is_some_and(|at| at >= asked_at)
    }

    /// Keeps the copy fresh until `shutdown`.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        let mut hints = None;
        loop {
            if hints.is_none() {
                hints = lookup::listen(&self.store).await.ok();
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "cannot read which generations are current");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = publication(&mut hints) => self.hinted.notify_one(),
            }
        }
    }
}

impl Pointers {
    /// Everything that is shown.
    pub(crate) fn shown(&self) -> Vec<Arc<Current>> {
        self.table.load().values().flat_map(HashMap::values).cloned().collect()
    }

    /// How things stand with snapshots.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotState {
        let shown = self.shown();
        let attached = shown.iter().filter(|current| current.snapshot().is_some()).count();
        let snapshots = self.snapshots.as_ref();
        SnapshotState {
            services_shown: shown.len() as u64,
            services_with_snapshot: attached as u64,
            bytes: snapshots.map_or(0, |snapshots| snapshots.bytes()),
            failures: snapshots.map_or(0, |snapshots| snapshots.failures()),
        }
    }
}

/// Resolves when a publication is hinted at; never without a listener.
async fn publication(hints: &mut Option<Hints>) {
    while let Some(listening) = hints {
        match listening.next().await {
            Some(Hint::Publication(_) | Hint::Reconnected) => return,
            Some(Hint::Runs | Hint::Outbox) => {}
            // Polling goes on, and the next round listens anew.
            None => *hints = None,
        }
    }
    std::future::pending::<()>().await;
}

/// Whether nothing that answers repeat has changed: a generation never changes, but customers are erased
/// from it, the age limit is the service's present one, and its snapshot is made, and made anew, later.
fn is_same(known: &ServedGeneration, read: &ServedGeneration) -> bool {
    known.generation == read.generation
        && known.rows == read.rows
        && known.stale_after_seconds == read.stale_after_seconds
        && known.snapshot == read.snapshot
}
