//! Macros of the shared SQL library: whom a change of one reaches.

use std::collections::BTreeMap;

use cameo_bundle::MacroUse;
use cameo_domain::{ServicePath, TenantName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the macros of a tenant begin; those of two tenants may have one name.
const OF_THE_TEAM: &str = "team.";

/// A macro that changed, and the services that are rendered anew because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacroChange {
    /// Such as `std.rfm`.
    pub name: String,
    /// Whose it is; none for the standard library's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// All services of this plan that use it.
    pub reaches: Vec<ServicePath>,
}

/// The macros that a manifest lists.
pub(crate) fn used(manifest: &Value) -> Vec<MacroUse> {
    let listed = manifest.get("macros").cloned().unwrap_or_default();
    serde_json::from_value(listed).unwrap_or_default()
}

/// The macros that a release uses in both versions, of which the text changed.
pub(crate) fn changed(old: &[MacroUse], new: &[MacroUse]) -> Vec<String> {
    let differs = |one: &&MacroUse| {
        old.iter().any(|before| before.name == one.name && before.hash != one.hash)
    };
    new.iter().filter(differs).map(|one| one.name.clone()).collect()
}

/// The services that each changed macro reaches.
pub(crate) fn reach<'a>(
    services: impl Iterator<Item = (&'a ServicePath, &'a [String])>,
) -> Vec<MacroChange> {
    let mut reached: BTreeMap<(&str, Option<&TenantName>), Vec<ServicePath>> = BTreeMap::new();
    for (service, macros) in services {
        for name in macros {
            let tenant = name.starts_with(OF_THE_TEAM).then_some(&service.tenant);
            reached.entry((name.as_str(), tenant)).or_default().push(service.clone());
        }
    }
    let reached = reached.into_iter().map(|((name, tenant), reaches)| MacroChange {
        name: name.to_owned(),
        tenant: tenant.cloned(),
        reaches,
    });
    reached.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cameo_domain::Sha256;
    use serde_json::json;

    fn paths() -> [ServicePath; 2] {
        ["crm/clv", "marketing/gender"].map(|path| path.parse().expect("a path"))
    }

    #[test]
    fn a_changed_macro_is_listed_with_all_who_use_it() {
        let manifest = |text: &str| {
            let one = |name: &str, text: &str| json!({"name": name, "hash": Sha256::of(text), "origin": "standard"});
            used(&json!({"macros": [one("std.rfm", text), one("std.tier", "same")]}))
        };
        let (old, new) = (manifest("1"), manifest("2"));
        let names = changed(&old, &new);
        assert_eq!(names, ["std.rfm"]);
        assert!(changed(&[], &new).is_empty(), "a macro that is new to a release did not change");
        let paths = paths();
        let reached = reach(paths.iter().map(|path| (path, names.as_slice())));
        let name = "std.rfm".to_owned();
        assert_eq!(reached, [MacroChange { name, tenant: None, reaches: paths.to_vec() }]);
        assert!(used(&json!({})).is_empty());
    }

    #[test]
    fn macros_of_one_name_are_those_of_their_tenants() {
        let (paths, names) = (paths(), ["team.basket".to_owned()]);
        let reached = reach(paths.iter().map(|path| (path, names.as_slice())));
        let tenants: Vec<_> =
            reached.iter().map(|change| change.tenant.as_ref().map(TenantName::as_str)).collect();
        assert_eq!(tenants, [Some("crm"), Some("marketing")]);
    }
}
