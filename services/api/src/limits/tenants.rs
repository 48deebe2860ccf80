//! What each tenant is granted, and what it uses.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use cameo_store::limits::{GrantedLimits, KeyRate};

use super::places::Places;
use crate::config::{RateLimit, TenantLimits};

/// What of the requests of a tick still counts at the next one: about half is forgotten in 300 ms.
const KEPT: f32 = 0.89;
/// Bounds of a weight: a tenant that asks for little is not above everything, and one that asks for much gets
/// something.
const WEIGHT_MIN: f32 = 0.05;
const WEIGHT_MAX: f32 = 20.0;

/// All tenants.
pub(super) struct Tenants {
    defaults: TenantLimits,
    table: ArcSwap<Table>,
    /// Those without a row, and requests that are of no single tenant.
    others: Arc<Tenant>,
    active: AtomicUsize,
}

#[derive(Default)]
struct Table {
    version: u64,
    granted: GrantedLimits,
    tenants: HashMap<String, Arc<Tenant>>,
    /// Lower rates of single keys, by their actor.
    keys: HashMap<String, u32>,
}

impl Tenants {
    pub(super) fn new(defaults: TenantLimits) -> Self {
        let others = Arc::new(Tenant::new(String::new(), defaults));
        Self { defaults, table: ArcSwap::default(), others, active: AtomicUsize::new(0) }
    }

    /// Takes up what the database grants; nothing happens where that is known already.
    pub(super) fn grant(&self, granted: GrantedLimits) {
        let before = self.table.load_full();
        if before.granted == granted {
            return;
        }
        let mut tenants = HashMap::with_capacity(granted.tenants.len());
        for tenant in &granted.tenants {
            let limits = self.defaults.with(tenant);
            let name = tenant.tenant.as_str();
            let known = before.tenants.get(name).cloned();
            let entry = known.unwrap_or_else(|| Arc::new(Tenant::new(name.to_owned(), limits)));
            entry.grant(limits);
            tenants.insert(name.to_owned(), entry);
        }
        let rate = |key: &KeyRate| (format!("key:{}", key.prefix), key.requests_per_second);
        let keys = granted.keys.iter().map(rate).collect();
        let version = before.version + 1;
        self.table.store(Arc::new(Table { version, granted, tenants, keys }));
    }

    /// Changes whenever something else is granted.
    pub(super) fn version(&self) -> u64 {
        self.table.load().version
    }

    /// The tenant of this name. All that are unknown share one: names that callers make up take no memory.
    pub(super) fn find(&self, tenant: &str) -> Arc<Tenant> {
        self.table.load().tenants.get(tenant).unwrap_or(&self.others).clone()
    }

    /// What is granted where no tenant is granted something else.
    pub(super) fn others(&self) -> &Tenant {
        &self.others
    }

    /// What one caller may ask of a tenant.
    pub(super) fn rate(&self, actor: &str, tenant: &Tenant) -> RateLimit {
        let granted = tenant.rate();
        match self.table.load().keys.get(actor) {
            Some(own) => granted.at_most(*own),
            None => granted,
        }
    }

    /// How many tenants asked for something lately.
    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Weighs the tenants by what they asked for lately.
    pub(super) fn tick(&self) {
        let table = self.table.load();
        let all = || table.tenants.values().chain([&self.others]);
        let recent: Vec<f32> = all().map(|tenant| tenant.age_attempts()).collect();
        let active = recent.iter().filter(|attempts| **attempts >= 1.0).count();
        self.active.store(active, Ordering::Relaxed);
        let fair = recent.iter().sum::<f32>() / active.max(1) as f32;
        for (tenant, attempts) in all().zip(recent) {
            let weight = if active > 1 { fair / attempts.max(1.0) } else { 1.0 };
            tenant.set_weight(weight.clamp(WEIGHT_MIN, WEIGHT_MAX));
        }
    }
}

/// One tenant.
pub(crate) struct Tenant {
    /// Empty for all that are no tenant.
    pub(crate) name: String,
    requests_per_second: AtomicU32,
    burst: AtomicU32,
    in_flight_max: AtomicUsize,
    in_flight: AtomicUsize,
    bodies: AtomicUsize,
    attempts: AtomicU32,
    /// Bits of a number: the attempts of the last moments, older ones counting less.
    recent: AtomicU32,
    /// Bits of a number.
    weight: AtomicU32,
}

impl Tenant {
    fn new(name: String, limits: TenantLimits) -> Self {
        let tenant = Self {
            name,
            requests_per_second: AtomicU32::new(0),
            burst: AtomicU32::new(0),
            in_flight_max: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            attempts: AtomicU32::new(0),
            recent: AtomicU32::new(0),
            weight: AtomicU32::new(1_f32.to_bits()),
        };
        tenant.grant(limits);
        tenant
    }

    fn grant(&self, limits: TenantLimits) {
        self.requests_per_second.store(limits.rate.requests_per_second, Ordering::Relaxed);
        self.burst.store(limits.rate.burst, Ordering::Relaxed);
        self.in_flight_max.store(limits.requests_in_flight_max, Ordering::Relaxed);
    }

    fn rate(&self) -> RateLimit {
        RateLimit {
            requests_per_second: self.requests_per_second.load(Ordering::Relaxed),
            burst: self.burst.load(Ordering::Relaxed),
        }
    }

    /// What problems call it.
    pub(super) fn told(&self) -> &str {
        if self.name.is_empty() { "this key" } else { &self.name }
    }

    pub(super) fn note_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Its fair share over what it asks for.
    pub(super) fn weight(&self) -> f32 {
        f32::from_bits(self.weight.load(Ordering::Relaxed))
    }

    fn set_weight(&self, weight: f32) {
        self.weight.store(weight.to_bits(), Ordering::Relaxed);
    }

    fn age_attempts(&self) -> f32 {
        let before = f32::from_bits(self.recent.load(Ordering::Relaxed));
        let recent = before * KEPT + self.attempts.swap(0, Ordering::Relaxed) as f32;
        self.recent.store(recent.to_bits(), Ordering::Relaxed);
        recent
    }

    /// A place among the tenant's, if it may have one more.
    pub(super) fn enter(self: &Arc<Self>, places: &Places, active: usize) -> Option<Entered> {
        let granted = self.in_flight_max.load(Ordering::Relaxed);
        let max = places.fair_part(active).map_or(granted, |part| part.min(granted));
        let entered = Entered { tenant: Arc::clone(self) };
        // Counted first: dropping what may not enter takes it back.
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        (before < max).then_some(entered)
    }
}

/// A request of a tenant in flight.
pub(crate) struct Entered {
    tenant: Arc<Tenant>,
}

impl Entered {
    /// Receives a body in place of being in flight; the tenant, where it sends as many as `max` already.
    pub(super) fn leave_for_a_body(self, max: usize) -> Result<Receiving, Arc<Tenant>> {
        let tenant = Arc::clone(&self.tenant);
        // Counted first: dropping what is one too many takes it back.
        let before = tenant.bodies.fetch_add(1, Ordering::AcqRel);
        let receiving = Receiving { tenant: Arc::clone(&tenant) };
        if before < max { Ok(receiving) } else { Err(tenant) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.tenant.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A body of a tenant on its way.
pub(super) struct Receiving {
    tenant: Arc<Tenant>,
}

impl Receiving {
    pub(super) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.tenant.bodies.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cameo_store::limits::{RequestLimits, TenantRequestLimits};

    use super::*;
    use crate::{
        config::Config,
        limits::pressure::{Pressure, TICK},
    };

    fn tenants(names: &[&str], concurrent_requests: u32) -> Tenants {
        let tenants = Tenants::new(Config::default().tenant_limits);
        let limits = RequestLimits {
            concurrent_requests: Some(concurrent_requests),
            ..RequestLimits::default()
        };
        let of =
            |name: &&str| TenantRequestLimits { tenant: name.parse().expect("a name"), limits };
        let granted = GrantedLimits { tenants: names.iter().map(of).collect(), keys: Vec::new() };
        tenants.grant(granted);
        tenants
    }

    #[test]
    fn a_tenant_has_its_own_places_and_its_part_where_all_are_wanted() {
        let tenants = tenants(&["hot", "light"], 8);
        let (hot, light) = (tenants.find("hot"), tenants.find("light"));
        let places = Places::new(10, 10, 1 << 20);
        let held: Vec<_> = (0..8).map(|_| hot.enter(&places, 1).expect("its own")).collect();
        assert!(hot.enter(&places, 1).is_none(), "no more than it was granted");
        assert!(light.enter(&places, 2).is_some());
        drop(held);
        assert!(hot.enter(&places, 1).is_some(), "places are given back");
        // Of ten places eight are taken and two tenants want some: five are a part.
        let crowded = Places::crowded(10, 8);
        let held: Vec<_> = (0..5).map(|_| hot.enter(&crowded, 2).expect("its part")).collect();
        assert!(hot.enter(&crowded, 2).is_none() && light.enter(&crowded, 2).is_some());
        drop(held);
    }

    #[test]
    fn names_that_callers_make_up_share_one_entry() {
        let tenants = tenants(&["crm"], 8);
        assert!(Arc::ptr_eq(&tenants.find("nobody"), &tenants.find("../etc")));
        assert_eq!(tenants.find("crm").name, "crm");
        assert_eq!(tenants.find("nobody").told(), "this key");
    }

    /// One server that does one thing at a time, first come, first served; `hot` asks for four times what it can do,
    /// `light` for a tenth.
    #[test]
    fn a_hot_tenant_pushes_nobody_out() {
        const WORK: Duration = Duration::from_micros(100);
        let tenants = tenants(&["hot", "light"], 1_000);
        let (hot, light) = (tenants.find("hot"), tenants.find("light"));
        let pressure = Pressure::new(Duration::from_micros(500));
        let steps_per_tick = TICK.as_micros() / WORK.as_micros();
        let mut free_at = 0_u128;
        let (mut served, mut refused) = ([0_u32; 2], [0_u32; 2]);
        for step in 0..steps_per_tick * 100 {
            let now = step * WORK.as_micros();
            let asks = [4, u32::from(step % 10 == 0)];
            for (at, tenant) in [&hot, &light].into_iter().enumerate() {
                for _ in 0..asks[at] {
                    let waits = free_at.saturating_sub(now);
                    let waited = Duration::from_micros(u64::try_from(waits).expect("a time"));
                    tenant.note_attempt();
                    pressure.note(waited);
                    let is_early = step < steps_per_tick * 20;
                    if pressure.refuses(waited, tenant.weight()) {
                        refused[at] += u32::from(!is_early);
                    } else {
                        served[at] += u32::from(!is_early);
                        free_at = free_at.max(now) + WORK.as_micros();
                    }
                }
            }
            if step % steps_per_tick == steps_per_tick - 1 {
                // Of so many refusals most stand in line.
                pressure.tick(TICK, 1_000.0);
                tenants.tick();
            }
        }
        let share = |at: usize| f64::from(served[at]) / f64::from(served[at] + refused[at]);
        assert!(share(1) > 0.99, "light: {served:?} of {refused:?}");
        assert!((0.2..0.25).contains(&share(0)), "hot has the rest: {served:?}, {refused:?}");
    }
}
