//! The caller and the permission check.

use cameo_domain::TenantName;

/// Whom a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The platform's operators: every tenant.
    Admin,
    /// One team: its own services, and nothing else.
    Tenant(TenantName),
}

impl Caller {
    /// Whether this caller may see and act on what belongs to `tenant`.
    ///
    /// This is the only permission check. It takes text rather than a [`TenantName`] because the
    /// answer for a text that is no tenant's name must not differ from the answer for a tenant that
    /// the caller may not see.
    #[must_use]
    pub fn may_access(&self, tenant: &str) -> bool {
        match self {
            Self::Admin => true,
            Self::Tenant(own) => own.as_str() == tenant,
        }
    }

    /// The only tenant that this caller may see, or `None` where it may see every tenant.
    #[must_use]
    pub fn confined_to(&self) -> Option<&TenantName> {
        match self {
            Self::Admin => None,
            Self::Tenant(own) => Some(own),
        }
    }

    /// The caller's name in records, such as who asked for a run.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::Tenant(tenant) => format!("tenant:{tenant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantName {
        name.parse().expect("a valid tenant name")
    }

    proptest! {
        #[test]
        fn a_tenant_reaches_itself_and_nobody_else(own in "[a-z][a-z0-9_]{0,39}", other in ".{0,41}") {
            let caller = Caller::Tenant(tenant(&own));
            prop_assert!(caller.may_access(&own));
            prop_assert_eq!(caller.may_access(&other), own == other);
            prop_assert!(Caller::Admin.may_access(&other));
        }
    }

    #[test]
    fn an_actor_says_which_tenant_acted() {
        assert_eq!(Caller::Tenant(tenant("crm")).actor(), "tenant:crm");
        assert_eq!(Caller::Admin.confined_to(), None);
    }
}
