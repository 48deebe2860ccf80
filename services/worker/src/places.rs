//! The places of a worker, and who has them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cameo_domain::TenantName;
use cameo_store::runs::Turn;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// As many places as runs may be executed at the same time.
///
/// A tenant has at most half of them: a run may last for hours, and whoever comes due in the meantime must
/// not wait for the one tenant whose runs do.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    taken: Mutex<BTreeMap<TenantName, usize>>,
}

/// A place that a run has until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    tenant: TenantName,
    /// 1 for the only run of the tenant here, 2 for one that came beside it.
    number: usize,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// How many of the worker's threads the run gets.
    pub(crate) fn threads(&self, of: usize) -> usize {
        (of / self.number).max(1)
    }
}

impl Places {
    /// `count` places, at least one.
    pub(crate) fn new(count: usize) -> Self {
        let count = count.max(1);
        Self { free: Arc::new(Semaphore::new(count)), count, taken: Mutex::default() }
    }

    /// Waits for a free place; none once the worker stops.
    pub(crate) async fn next_free(
        &self,
        shutdown: &CancellationToken,
    ) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            permit = Arc::clone(&self.free).acquire_owned() => permit.ok(),
        }
    }

    /// Which runs the place in hand may go to. The last one of several is kept for production: it must not
    /// wait for what runs beside it.
    pub(crate) fn turn(&self) -> Turn {
        let share = self.count.div_ceil(2);
        let taken = self.taken();
        let full = taken.iter().filter(|(_, places)| **places >= share);
        Turn {
            to_publish: self.count > 1 && self.free.available_permits() == 0,
            except: full.map(|(tenant, _)| tenant.clone()).collect(),
        }
    }

    /// Gives a place to a tenant's run. The second one of a tenant gets half of the threads that the first one
    /// has: more runs are not more of the machine.
    pub(crate) fn take(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        tenant: &TenantName,
    ) -> Place {
        let mut taken = self.taken();
        let number = taken.entry(tenant.clone()).or_default();
        *number += 1;
        Place { places: Arc::clone(self), tenant: tenant.clone(), number: *number, _permit: permit }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<TenantName, usize>> {
        // Each change is one number: nothing is half done when a holder panics.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(places) = taken.get_mut(&self.tenant) {
            *places -= 1;
            if *places == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Arc<Places>, tenant: &str) -> Place {
        let permit = places.next_free(&CancellationToken::new()).await.expect("a free place");
        places.take(permit, &tenant.parse().expect("a tenant name"))
    }

    fn full(places: &Places) -> Vec<String> {
        places.turn().except.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_tenant_has_at_most_half_of_the_places_and_gets_them_back_one_by_one() {
        let places = Arc::new(Places::new(4));
        let first = take(&places, "crm").await;
        assert!(full(&places).is_empty());
        let second = take(&places, "crm").await;
        assert_eq!((first.threads(8), second.threads(8), second.threads(1)), (8, 4, 1));
        assert_eq!(full(&places), ["crm"]);
        let _other = take(&places, "search").await;
        assert_eq!(full(&places), ["crm"]);
        drop(first);
        assert!(full(&places).is_empty());
    }

    #[tokio::test]
    async fn the_last_place_of_several_is_for_production_and_a_single_one_for_anything() {
        let places = Arc::new(Places::new(2));
        let _first = places.next_free(&CancellationToken::new()).await.expect("a free place");
        assert!(!places.turn().to_publish);
        let _second = places.next_free(&CancellationToken::new()).await.expect("a free place");
        assert!(places.turn().to_publish);

        let single = Arc::new(Places::new(1));
        let _place = single.next_free(&CancellationToken::new()).await.expect("a free place");
        assert!(!single.turn().to_publish);
    }

    #[tokio::test]
    async fn a_worker_that_stops_takes_no_further_place() {
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        assert!(Places::new(1).next_free(&shutdown).await.is_none());
    }
}
