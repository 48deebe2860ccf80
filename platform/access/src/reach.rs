//! Which services a caller may read.

use cameo_checkpoint::{Check, passes};
use cameo_domain::{Scope, ServicePath};

use crate::caller::Caller;

impl Caller {
    /// Whether this caller may read what a service says: its tenant is the caller's, and the caller may read
    /// there. For answers over several services, where no path names the one that is asked.
    #[must_use]
    pub fn may_read(&self, service: &ServicePath) -> bool {
        let tenant = service.tenant.as_str();
        passes(Check::TenantsOfProfile, self.may(tenant, Scope::Read))
            && passes(
                Check::ServicesOfProfile,
                self.services(tenant).contain(service.service.as_str()),
            )
    }
}

#[cfg(test)]
mod tests {
    use cameo_domain::{Scopes, Services};

    use super::*;

    #[test]
    fn a_service_is_read_by_its_tenant_with_the_scope_alone() {
        let path = |text: &str| text.parse::<ServicePath>().expect("a service");
        let tenant = || Some("crm".parse().expect("a tenant"));
        let caller = |tenant, scope| {
            Caller::of_key(tenant, "1a2b3c4d", Scopes::only(&[scope]), Services::All)
        };
        assert!(caller(tenant(), Scope::Read).may_read(&path("crm/clv")));
        assert!(!caller(tenant(), Scope::Read).may_read(&path("marketing/gender")));
        assert!(!caller(tenant(), Scope::Run).may_read(&path("crm/clv")));
        assert!(caller(None, Scope::Read).may_read(&path("marketing/gender")));
    }
}
