//! Places for requests in flight and for bodies that are being received.
//!
//! A place in flight is for work. A request whose body is still on its way does none, and its client decides
//! how long that takes: it leaves its place and stands in the much larger space for bodies, where what
//! counts is how many bytes are held in memory.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{Limits, tenants::Entered};
use crate::problem::Problem;

/// How many there are, and how many are taken.
pub(crate) struct Places {
    in_flight: AtomicUsize,
    in_flight_max: usize,
    bodies: AtomicUsize,
    bodies_max: usize,
    body_bytes: AtomicUsize,
    body_bytes_max: usize,
}

impl Places {
    pub(super) fn new(in_flight_max: usize, bodies_max: usize, body_bytes_max: usize) -> Self {
        let none = || AtomicUsize::new(0);
        let (in_flight, bodies, body_bytes) = (none(), none(), none());
        Self { in_flight, in_flight_max, bodies, bodies_max, body_bytes, body_bytes_max }
    }

    #[cfg(test)]
    pub(super) fn crowded(in_flight_max: usize, in_flight: usize) -> Self {
        let places = Self::new(in_flight_max, in_flight_max, usize::MAX);
        places.in_flight.store(in_flight, Ordering::Relaxed);
        places
    }

    /// A tenant's part of `places` while others need some as well.
    pub(super) fn fair_part(&self, tenants: usize) -> Option<usize> {
        let is_crowded = self.in_flight.load(Ordering::Relaxed) * 4 > self.in_flight_max * 3;
        (is_crowded && tenants > 1).then(|| (self.in_flight_max / tenants).max(1))
    }

    /// How many bodies a tenant may be sending at once.
    pub(super) fn bodies_of_a_tenant(&self) -> usize {
        (self.bodies_max / 2).max(1)
    }
}

fn take(taken: &AtomicUsize, max: usize) -> bool {
    let is_free = taken.fetch_add(1, Ordering::AcqRel) < max;
    if !is_free {
        taken.fetch_sub(1, Ordering::AcqRel);
    }
    is_free
}

/// A request's place, from its head to its answer.
pub(crate) struct Place {
    limits: Arc<Limits>,
    /// Whether it counts as in flight now.
    is_held: AtomicBool,
    /// The place among those of its tenant, where it has a body.
    of_tenant: Mutex<Option<Entered>>,
}

impl Place {
    /// A place, if one is free.
    pub(crate) fn take(limits: &Arc<Limits>) -> Option<Self> {
        take(&limits.places.in_flight, limits.places.in_flight_max).then(|| Self {
            limits: Arc::clone(limits),
            is_held: AtomicBool::new(true),
            of_tenant: Mutex::new(None),
        })
    }

    /// From now on the place of the tenant is left and taken with this one.
    pub(super) fn belongs_to(&self, tenant: Entered) {
        *self.of_tenant.lock().unwrap_or_else(PoisonError::into_inner) = Some(tenant);
    }

    /// Receives a body without the place.
    ///
    /// # Errors
    /// No room for the body, or no place is free afterwards.
    pub(crate) async fn receive<T>(
        &self,
        body: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let places = &self.limits.places;
        if !take(&places.bodies, places.bodies_max) {
            return Err(self.limits.busy());
        }
        let _sending = Sending(places);
        let entered = self.of_tenant.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bodies_max = places.bodies_of_a_tenant();
        let tenant = match entered.map(|entered| entered.leave_for_a_body(bodies_max)) {
            Some(Ok(tenant)) => Some(tenant),
            Some(Err(tenant)) => return Err(self.limits.too_many_at_once(&tenant)),
            None => None,
        };
        self.leave();
        let received = body.await?;
        if !take(&places.in_flight, places.in_flight_max) {
            return Err(self.limits.busy());
        }
        self.is_held.store(true, Ordering::Release);
        if let Some(receiving) = tenant {
            let tenant = Arc::clone(receiving.tenant());
            drop(receiving);
            let Some(entered) = tenant.enter(places, self.limits.tenants.active()) else {
                return Err(self.limits.too_many_at_once(&tenant));
            };
            self.belongs_to(entered);
        }
        Ok(received)
    }

    fn leave(&self) {
        if self.is_held.swap(false, Ordering::AcqRel) {
            self.limits.places.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Memory for a body, given back when the body has done its work.
pub(crate) struct Held {
    limits: Arc<Limits>,
    bytes: usize,
}

impl Held {
    /// None yet.
    pub(crate) fn new(limits: &Arc<Limits>) -> Self {
        Self { limits: Arc::clone(limits), bytes: 0 }
    }

    /// Takes memory for so many bytes more.
    ///
    /// # Errors
    /// The bodies of all requests hold as much as they may.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let places = &self.limits.places;
        self.bytes += bytes;
        if places.body_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes > places.body_bytes_max {
            return Err(self.limits.busy());
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limits.places.body_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A body on its way.
struct Sending<'a>(&'a Places);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.bodies.fetch_sub(1, Ordering::AcqRel);
    }
}
