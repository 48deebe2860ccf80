//! Macros of the shared SQL library: whom a change of one reaches.

use std::collections::BTreeMap;

use cameo_domain::ServicePath;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A macro that the queries of a release use, as its manifest records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacroUse {
    /// Such as `std/rfm`.
    pub name: String,
    /// Of its text.
    pub hash: String,
    /// The standard library, or the file of the tenant.
    pub origin: Value,
}

/// A macro that changed, and the services that are rendered anew because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacroChange {
    /// Such as `std/rfm`.
    pub name: String,
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
    let mut reached: BTreeMap<&str, Vec<ServicePath>> = BTreeMap::new();
    for (service, macros) in services {
        for name in macros {
            reached.entry(name).or_default().push(service.clone());
        }
    }
    let change =
        |(name, reaches): (&str, Vec<ServicePath>)| MacroChange { name: name.to_owned(), reaches };
    reached.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_macro_is_listed_with_all_who_use_it() {
        let manifest = |hash: &str| {
            let rfm = json!({"name": "std/rfm", "hash": hash, "origin": "standard"});
            let tiers = json!({"name": "std/tiers", "hash": "same", "origin": "standard"});
            used(&json!({"macros": [rfm, tiers]}))
        };
        let (old, new) = (manifest("1"), manifest("2"));
        let names = changed(&old, &new);
        assert_eq!(names, ["std/rfm"]);
        assert!(changed(&[], &new).is_empty(), "a macro that is new to a release did not change");
        let paths: [ServicePath; 2] =
            ["crm/clv", "marketing/gender"].map(|path| path.parse().expect("a path"));
        let reached = reach(paths.iter().map(|path| (path, names.as_slice())));
        assert_eq!(reached, [MacroChange { name: "std/rfm".to_owned(), reaches: paths.to_vec() }]);
        assert!(used(&json!({})).is_empty());
    }
}
