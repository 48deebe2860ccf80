//! `ACCESS` of `tenant.yaml`: which groups of people may do what with the tenant.

use cameo_domain::{GroupAccess, Role, role::SENSITIVE};
use schemars::JsonSchema;

use crate::{
    code::Code,
    reader::{Key, Reader, Section, optional},
    yaml::Node,
};

/// Most groups of a role.
const GROUPS_MAX: usize = 100;
/// Longest name of a group, in bytes: longer ones in a token count for nothing.
const GROUP_BYTES_MAX: usize = 256;

/// The keys of the section.
pub(crate) const KEYS: &[Key] = &[
    optional(Role::Viewer.as_str()),
    optional(Role::Member.as_str()),
    optional(Role::Operator.as_str()),
    optional(Role::Admin.as_str()),
    optional(SENSITIVE),
];

/// The section as a JSON Schema is made from it; a test holds its keys to those that the reader knows.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AccessDocument {
    /// Groups that see everything of the services but sensitive predictions.
    #[schemars(default, length(max = GROUPS_MAX), inner(length(min = 1, max = GROUP_BYTES_MAX)))]
    viewer: Vec<String>,
    /// Groups that ask for runs and define segments as well.
    #[schemars(default, length(max = GROUPS_MAX), inner(length(min = 1, max = GROUP_BYTES_MAX)))]
    member: Vec<String>,
    /// Groups that register bundles and decide what is in production as well.
    #[schemars(default, length(max = GROUPS_MAX), inner(length(min = 1, max = GROUP_BYTES_MAX)))]
    operator: Vec<String>,
    /// Groups that erase customers and manage API keys as well.
    #[schemars(default, length(max = GROUPS_MAX), inner(length(min = 1, max = GROUP_BYTES_MAX)))]
    admin: Vec<String>,
    /// Groups that see sensitive predictions, beside what their role lets them do.
    #[schemars(default, length(max = GROUPS_MAX), inner(length(min = 1, max = GROUP_BYTES_MAX)))]
    sensitive: Vec<String>,
}

pub(crate) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> GroupAccess {
    let mut groups =
        |key: &str| section.get(key).map(|node| list(reader, node, key)).unwrap_or_default();
    GroupAccess {
        viewer: groups(Role::Viewer.as_str()),
        member: groups(Role::Member.as_str()),
        operator: groups(Role::Operator.as_str()),
        admin: groups(Role::Admin.as_str()),
        sensitive: groups(SENSITIVE),
    }
}

fn list(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<String> {
    let Some(found) = reader.list(node) else { return Vec::new() };
    if let Some(beyond) = found.get(GROUPS_MAX) {
        let message = format!("found {} groups", found.len());
        let problem = reader
            .problem(Code::ValueOutOfRange, beyond.span, message)
            .expected(format!("at most {GROUPS_MAX}"));
        reader.report(problem);
    }
    let mut groups: Vec<String> = Vec::new();
    for item in found.iter().take(GROUPS_MAX) {
        let Some(group) = reader.filled_text(item, key) else { continue };
        let length = group.value.len();
        if length > GROUP_BYTES_MAX || group.value.contains(char::is_control) {
            let message = format!("found a group of {length} bytes");
            let problem = reader
                .problem(Code::ValueOutOfRange, group.span, message)
                .expected(format!("at most {GROUP_BYTES_MAX} bytes of text in one line"));
            reader.report(problem);
        } else if !groups.contains(&group.value) {
            groups.push(group.value);
        }
    }
    groups
}
