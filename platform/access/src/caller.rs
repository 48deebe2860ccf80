//! The caller and the permission checks.

use cameo_domain::{Scope, Scopes, Services, TenantName};

/// Whom a request speaks for, with everything that it may see and do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    /// The caller in ledgers.
    actor: String,
    /// What holds for every tenant that has no entry below: for the platform's operators alone.
    everywhere: Option<Grant>,
    /// What holds for a tenant; one entry each.
    tenants: Vec<(TenantName, Grant)>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The owner of an API key.
    Key {
        /// Its public part.
        prefix: String,
    },
    /// A person or program that an identity provider vouches for.
    Person {
        /// Its name there, which never changes.
        subject: String,
    },
}

/// What a caller may do with a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub scopes: Scopes,
    /// With which of its services.
    pub services: Services,
}

impl Grant {
    /// Whether nothing in `other` goes beyond this: nobody can grant more than they hold.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.scopes.cover(other.scopes) && self.services.cover(&other.services)
    }
}

impl Caller {
    /// The owner of the key with this public part: of one team, or without one an operator.
    #[must_use]
    pub fn of_key(
        tenant: Option<TenantName>,
        prefix: &str,
        scopes: Scopes,
        services: Services,
    ) -> Self {
        let grant = Grant { scopes, services };
        let (everywhere, tenants) = match tenant {
            Some(tenant) => (None, vec![(tenant, grant)]),
            None => (Some(grant), Vec::new()),
        };
        let actor = format!("key:{prefix}");
        Self { identity: Identity::Key { prefix: prefix.to_owned() }, actor, everywhere, tenants }
    }

    /// Whom an identity provider vouches for.
    #[must_use]
    pub fn of_person(
        subject: &str,
        everywhere: Option<Grant>,
        tenants: Vec<(TenantName, Grant)>,
    ) -> Self {
        let identity = Identity::Person { subject: subject.to_owned() };
        Self { identity, actor: format!("oidc:{subject}"), everywhere, tenants }
    }

    /// What this caller may do with `tenant`, where it may see it at all.
    ///
    /// It takes text rather than a [`TenantName`] because the answer for a text that is no tenant's
    /// name must not differ from the answer for a tenant that the caller may not see.
    #[must_use]
    pub fn grant(&self, tenant: &str) -> Option<&Grant> {
        let own = self.tenants.iter().find(|(own, _)| own.as_str() == tenant);
        own.map(|(_, grant)| grant).or(self.everywhere.as_ref())
    }

    /// Whether this caller may see what belongs to `tenant`.
    #[must_use]
    pub fn may_access(&self, tenant: &str) -> bool {
        self.grant(tenant).is_some()
    }

    /// Whether this caller may see this service of `tenant`.
    #[must_use]
    pub fn may_see(&self, tenant: &str, service: &str) -> bool {
        self.grant(tenant).is_some_and(|grant| grant.services.contain(service))
    }

    /// Whether this caller may do this with `tenant`.
    #[must_use]
    pub fn may(&self, tenant: &str, scope: Scope) -> bool {
        self.grant(tenant).is_some_and(|grant| grant.scopes.allow(scope))
    }

    /// What this caller may do with at least one tenant.
    #[must_use]
    pub fn scopes_somewhere(&self) -> Scopes {
        self.grants().fold(Scopes::NONE, |scopes, grant| scopes.and(grant.scopes))
    }

    /// Whether this caller may see all services wherever it may see any.
    #[must_use]
    pub fn sees_all_services(&self) -> bool {
        self.grants().all(|grant| grant.services == Services::All)
    }

    /// Which services of `tenant` this caller may see.
    #[must_use]
    pub fn services(&self, tenant: &str) -> Services {
        self.grant(tenant)
            .map_or_else(|| Services::Only(Vec::new()), |grant| grant.services.clone())
    }

    /// What holds for every tenant without an entry in [`Caller::tenants`].
    #[must_use]
    pub fn everywhere(&self) -> Option<&Grant> {
        self.everywhere.as_ref()
    }

    /// What holds for single tenants.
    #[must_use]
    pub fn tenants(&self) -> &[(TenantName, Grant)] {
        &self.tenants
    }

    /// The only tenant that this caller may see, or `None` where it may see several.
    #[must_use]
    pub fn confined_to(&self) -> Option<&TenantName> {
        match (self.tenants.as_slice(), &self.everywhere) {
            ([(only, _)], None) => Some(only),
            _ => None,
        }
    }

    /// Who calls.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The caller in ledgers. Each key is an actor of its own: where two people are asked for, two keys
    /// of one tenant are two.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.everywhere.iter().chain(self.tenants.iter().map(|(_, grant)| grant))
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
        Caller::of_key(of.map(tenant), "1a2b3c4d", Scopes::all(), Services::All)
    }

    fn reads() -> Grant {
        Grant { scopes: Scopes::only(&[Scope::Read]), services: Services::All }
    }

    proptest! {
        #[test]
        fn a_tenant_reaches_itself_and_nobody_else(own in "[a-z][a-z0-9_]{0,39}", other in ".{0,41}") {
            let of_tenant = caller(Some(&own));
            prop_assert!(of_tenant.may_access(&own) && of_tenant.may(&own, Scope::Erase));
            prop_assert_eq!(of_tenant.may_access(&other), own == other);
            prop_assert_eq!(of_tenant.may(&other, Scope::Read), own == other);
            prop_assert_eq!(of_tenant.may_see(&other, "clv"), own == other);
            prop_assert!(caller(None).may_access(&other));
        }
    }

    #[test]
    fn an_actor_says_which_key_or_person_acted() {
        let acting = caller(Some("crm"));
        assert_eq!(acting.actor(), "key:1a2b3c4d");
        assert_eq!(acting.confined_to(), Some(&tenant("crm")));
        assert_eq!(caller(None).confined_to(), None);
        assert_eq!(Caller::of_person("ada", None, vec![]).actor(), "oidc:ada");
    }

    #[test]
    fn a_person_may_do_in_each_tenant_what_holds_there() {
        let everything = Grant { scopes: Scopes::all(), services: Services::All };
        let ada = Caller::of_person(
            "ada",
            None,
            vec![(tenant("crm"), everything.clone()), (tenant("marketing"), reads())],
        );
        assert!(ada.may("crm", Scope::Manage) && !ada.may("marketing", Scope::Manage));
        assert!(ada.scopes_somewhere().allow(Scope::Manage) && !ada.may_access("finance"));
        assert_eq!(ada.confined_to(), None);
        let operator = Caller::of_person("op", Some(everything), vec![(tenant("crm"), reads())]);
        assert!(operator.may("finance", Scope::Erase), "everywhere");
        assert!(!operator.may("crm", Scope::Erase), "but where something else is said");
        let nobody = Caller::of_person("eve", None, vec![]);
        assert!(!nobody.may_access("crm") && nobody.scopes_somewhere() == Scopes::NONE);
        assert_eq!(nobody.services("crm"), Services::Only(vec![]));
    }

    #[test]
    fn a_key_of_some_services_sees_no_other() {
        let only = Services::Only(vec!["clv".parse().expect("a name")]);
        let of_clv = Caller::of_key(Some(tenant("crm")), "1a2b3c4d", Scopes::all(), only);
        assert!(of_clv.may_see("crm", "clv") && !of_clv.sees_all_services());
        assert!(!of_clv.may_see("crm", "churn") && !of_clv.may_see("marketing", "clv"));
    }
}
