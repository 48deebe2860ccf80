//! The checks that keep callers apart, by name, so that a test can take each of them away.
//!
//! A test that finds no leak proves little until it is seen to find one. Every place that decides
//! whether a caller may see or do something asks [`passes`] under a name of its own. With the feature
//! `enabled`, a test switches one name off and must then find what that check had kept back; without
//! the feature nothing can be switched off and the calls vanish.

/// A decision on what a caller may see or do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The secret of an API key is the one that was given out.
    KeySecret,
    /// An API key has not ended.
    KeyExpiry,
    /// An API key was not revoked.
    KeyRevocation,
    /// A token is signed by its issuer.
    TokenSignature,
    /// A token is signed as the operator allows.
    TokenAlgorithm,
    /// A token is of the issuer that the operator names.
    TokenIssuer,
    /// A token is meant for this server.
    TokenAudience,
    /// A token has not ended.
    TokenExpiry,
    /// A token has begun.
    TokenNotBefore,
    /// The caller may see the tenant that the path names.
    TenantOfPath,
    /// The caller may see the service that the path names.
    ServiceOfPath,
    /// The caller has the scope that the route needs.
    ScopeOfRoute,
    /// The caller may see all services, where a route does not tell them apart.
    BreadthOfRoute,
    /// A list of tenants holds those of the caller.
    TenantsListed,
    /// A list of services holds those of the caller.
    ServicesListed,
    /// A list of releases in use holds those of the caller's services.
    StandingListed,
    /// A list of runs holds those of the caller's services.
    RunsListed,
    /// The audit trail is told of the caller's services.
    AuditListed,
    /// A list of keys holds those that reach no further than the caller's.
    KeysListed,
    /// A profile is of a tenant of the caller.
    TenantOfProfile,
    /// A profile is made from the services of the caller.
    ServicesOfProfile,
    /// A run is of the tenant that the path names.
    TenantOfRun,
    /// A run is of the service that the path names.
    ServiceOfRun,
    /// A key is of the tenant that the path names.
    TenantOfKey,
    /// A key reaches no further than the caller's.
    ServicesOfKey,
    /// A key is given no more than who makes it holds.
    GrantOfKey,
    /// A bundle is of the tenant that the path names.
    TenantOfBundle,
    /// A bundle is of a service of the caller.
    ServiceOfBundle,
    /// A bundle gives groups no more than who applies it holds.
    GrantOfBundle,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 29] = [
        Self::KeySecret,
        Self::KeyExpiry,
        Self::KeyRevocation,
        Self::TokenSignature,
        Self::TokenAlgorithm,
        Self::TokenIssuer,
        Self::TokenAudience,
        Self::TokenExpiry,
        Self::TokenNotBefore,
        Self::TenantOfPath,
        Self::ServiceOfPath,
        Self::ScopeOfRoute,
        Self::BreadthOfRoute,
        Self::TenantsListed,
        Self::ServicesListed,
        Self::StandingListed,
        Self::RunsListed,
        Self::AuditListed,
        Self::KeysListed,
        Self::TenantOfProfile,
        Self::ServicesOfProfile,
        Self::TenantOfRun,
        Self::ServiceOfRun,
        Self::TenantOfKey,
        Self::ServicesOfKey,
        Self::GrantOfKey,
        Self::TenantOfBundle,
        Self::ServiceOfBundle,
        Self::GrantOfBundle,
    ];
}

/// What a check found, or yes where a test has switched the check off.
#[inline]
#[must_use]
pub fn passes(check: Check, found: bool) -> bool {
    found || is_off(check)
}

/// Whether a test has switched the check off.
#[cfg(not(feature = "enabled"))]
#[inline(always)]
#[must_use]
pub fn is_off(_check: Check) -> bool {
    false
}

/// Whether a test has switched the check off.
#[cfg(feature = "enabled")]
#[must_use]
pub fn is_off(check: Check) -> bool {
    switches::OFF.load(std::sync::atomic::Ordering::Relaxed) & (1_u64 << check as u64) != 0
}

#[cfg(feature = "enabled")]
pub use switches::{SwitchedOff, switch_off};

#[cfg(feature = "enabled")]
mod switches {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Check;

    pub(super) static OFF: AtomicU64 = AtomicU64::new(0);

    /// Keeps a check off in the whole process until it is dropped.
    #[derive(Debug)]
    pub struct SwitchedOff(Check);

    /// Switches a check off.
    #[must_use]
    pub fn switch_off(check: Check) -> SwitchedOff {
        OFF.fetch_or(1_u64 << check as u64, Ordering::Relaxed);
        SwitchedOff(check)
    }

    impl Drop for SwitchedOff {
        fn drop(&mut self) {
            OFF.fetch_and(!(1_u64 << self.0 as u64), Ordering::Relaxed);
        }
    }
}
