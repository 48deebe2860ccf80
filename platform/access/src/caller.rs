//! The caller and the permission checks.

use cameo_domain::{Scope, Scopes, TenantName};

/// Whom a request speaks for: the owner of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// One team, with its own services and nothing else; none for the platform's operators.
    tenant: Option<TenantName>,
    /// The public part of the key.
    prefix: String,
    scopes: Scopes,
}

impl Caller {
    /// The owner of the key with this public part.
    #[must_use]
    pub fn new(tenant: Option<TenantName>, prefix: &str, scopes: Scopes) -> Self {
        Self { tenant, prefix: prefix.to_owned(), scopes }
    }

    /// Whether this caller may see what belongs to `tenant`.
    ///
    /// It takes text rather than a [`TenantName`] because the answer for a text that is no tenant's
    /// name must not differ from the answer for a tenant that the caller may not see.
    #[must_use]
    pub fn may_access(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.as_str() == tenant)
    }

    /// Whether this caller's key has a scope.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.allow(scope)
    }

    /// What this caller's key may do.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The only tenant that this caller may see, or `None` where it may see every tenant.
    #[must_use]
    pub fn confined_to(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// The caller in ledgers. Each key is an actor of its own: where two people are asked for, two keys
    /// of one tenant are two.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("key:{}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantName {
        name.parse().expect("a valid tenant name")
    }

    fn caller(of: Option<&str>) -> Caller {
        Caller::new(of.map(tenant), "1a2b3c4d", Scopes::all())
    }

    proptest! {
        #[test]
        fn a_tenant_reaches_itself_and_nobody_else(own in "[a-z][a-z0-9_]{0,39}", other in ".{0,41}") {
            let of_tenant = caller(Some(&own));
            prop_assert!(of_tenant.may_access(&own));
            prop_assert_eq!(of_tenant.may_access(&other), own == other);
            prop_assert!(caller(None).may_access(&other));
        }
    }

    #[test]
    fn an_actor_says_which_key_acted() {
        let acting = caller(Some("crm"));
        assert_eq!(acting.actor(), "key:1a2b3c4d");
        assert_eq!(caller(None).confined_to(), None);
    }
}
