//! Macros of the shared SQL library: whom a change of one reaches.

use std::collections::BTreeMap;

use cameo_bundle::MacroUse;
use cameo_domain::ServicePath;
use serde::{Deserialize, Serialize};

/// A macro that changed, and the services that are rendered anew because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacroChange {
    /// As templates call it, such as `std.rfm`.
    pub name: String,
    /// All services of this plan that use it, directly or through another macro.
    pub reaches: Vec<ServicePath>,
}

/// The macros that a release uses in both versions, of which the text changed.
pub(crate) fn changed(old: &[MacroUse], new: &[MacroUse]) -> Vec<String> {
    let differs = |one: &&MacroUse| {
        old.iter().any(|before| before.name == one.name && before.hash != one.hash)
    };
    new.iter().filter(differs).map(|one| one.name.clone()).collect()
}

/// The services that each changed macro reaches. A tenant's macros have the names of its own `team`.
pub(crate) fn reach<'a>(
    services: impl Iterator<Item = (&'a ServicePath, &'a [String])>,
) -> Vec<MacroChange> {
    let mut reached: BTreeMap<(&str, Option<&str>), Vec<ServicePath>> = BTreeMap::new();
    for (service, macros) in services {
        for name in macros {
            let team = name.starts_with("team.").then(|| service.tenant.as_str());
            reached.entry((name, team)).or_default().push(service.clone());
        }
    }
    let reached = reached.into_iter();
    reached.map(|((name, _), reaches)| MacroChange { name: name.to_owned(), reaches }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_of_two_teams_with_one_name_are_two_and_the_standard_library_is_one() {
        let names = ["std.rfm", "team.basket"].map(str::to_owned);
        let paths: [ServicePath; 3] = ["crm/clv", "marketing/gender", "marketing/reach"]
            .map(|path| path.parse().expect("a path"));
        let reached = reach(paths.iter().map(|path| (path, names.as_slice())));
        let told: Vec<(&str, usize)> =
            reached.iter().map(|change| (change.name.as_str(), change.reaches.len())).collect();
        assert_eq!(told, [("std.rfm", 3), ("team.basket", 1), ("team.basket", 2)]);
    }
}
