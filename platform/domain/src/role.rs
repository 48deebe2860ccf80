//! What groups of people may do with a tenant.
//!
//! An identity provider says of which groups a person is; a tenant says what each group may do. Nothing
//! is kept of a person, so there is no membership that could be out of date.

use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// What a group of people may do. Each role may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything of the tenant's services but sensitive predictions.
    Viewer,
    /// Asks for runs and defines segments as well.
    Member,
    /// Registers bundles and decides what is in production as well.
    Operator,
    /// Erases customers and manages keys as well.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Operator, Self::Admin];

    /// The scopes of the role.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        const ADMIN: [Scope; 7] = [
            Scope::Read,
            Scope::Run,
            Scope::Segment,
            Scope::Deploy,
            Scope::Promote,
            Scope::Erase,
            Scope::Manage,
        ];
        match self {
            Self::Viewer => &ADMIN[..1],
            Self::Member => &ADMIN[..3],
            Self::Operator => &ADMIN[..5],
            Self::Admin => &ADMIN,
        }
    }

    /// The spelling in `tenant.yaml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "VIEWER",
            Self::Member => "MEMBER",
            Self::Operator => "OPERATOR",
            Self::Admin => "ADMIN",
        }
    }
}

/// Which groups of people may do what with a tenant: `ACCESS` of its `tenant.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub struct GroupAccess {
    /// Groups that are [`Role::Viewer`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub viewer: Vec<String>,
    /// Groups that are [`Role::Member`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub member: Vec<String>,
    /// Groups that are [`Role::Operator`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operator: Vec<String>,
    /// Groups that are [`Role::Admin`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admin: Vec<String>,
    /// Groups that see sensitive predictions, whatever their role is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
}

/// The key of the groups that see sensitive predictions.
pub const SENSITIVE: &str = "SENSITIVE";

impl GroupAccess {
    /// Each key with its groups and what it gives them.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[String], &'static [Scope]); 5] {
        let of = |role: Role, groups| (role.as_str(), groups, role.scopes());
        [
            of(Role::Viewer, self.viewer.as_slice()),
            of(Role::Member, &self.member),
            of(Role::Operator, &self.operator),
            of(Role::Admin, &self.admin),
            (SENSITIVE, &self.sensitive, &[Scope::Sensitive]),
        ]
    }

    /// What some groups may do that they may not do according to `before`, each scope once.
    #[must_use]
    pub fn granted_beyond(&self, before: &Self) -> Vec<Scope> {
        let mut granted = Vec::new();
        for ((_, groups, scopes), (_, known, _)) in self.lists().into_iter().zip(before.lists()) {
            if groups.iter().any(|group| !known.contains(group)) {
                granted.extend(
                    scopes
                        .iter()
                        .filter(|scope| !granted.contains(*scope))
                        .copied()
                        .collect::<Vec<_>>(),
                );
            }
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_more_than_the_one_before_and_none_sees_what_is_sensitive() {
        for (less, more) in Role::ALL.into_iter().zip(Role::ALL.into_iter().skip(1)) {
            assert!(more.scopes().starts_with(less.scopes()) && more > less);
        }
        let beyond: Vec<_> =
            Scope::ALL.into_iter().filter(|scope| !Role::Admin.scopes().contains(scope)).collect();
        assert_eq!(beyond, [Scope::Sensitive], "an admin may do everything else");
    }

    #[test]
    fn what_is_granted_anew_is_what_a_role_gives_to_groups_that_had_not_got_it() {
        let group = |name: &str| vec![name.to_owned()];
        let before = GroupAccess { viewer: group("crm"), ..GroupAccess::default() };
        let same = GroupAccess { viewer: group("crm"), ..GroupAccess::default() };
        assert_eq!(same.granted_beyond(&before), []);
        assert_eq!(GroupAccess::default().granted_beyond(&before), [], "less is nobody's harm");
        let more = GroupAccess { member: group("crm"), sensitive: group("crm"), ..before.clone() };
        let granted = more.granted_beyond(&before);
        assert_eq!(granted, [Scope::Read, Scope::Run, Scope::Segment, Scope::Sensitive]);
    }

    #[test]
    fn it_is_kept_under_the_keys_of_the_file() {
        let access = GroupAccess { admin: vec!["platform".to_owned()], ..GroupAccess::default() };
        let json = serde_json::to_value(&access).expect("JSON");
        assert_eq!(json, serde_json::json!({"ADMIN": ["platform"]}));
        assert_eq!(serde_json::from_value::<GroupAccess>(json).expect("reads back"), access);
    }
}
