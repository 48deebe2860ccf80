//! Of which services of a tenant something holds.

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;

/// All services of a tenant, also those that come later, or some.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Option<Vec<ServiceName>>", from = "Option<Vec<ServiceName>>")]
pub enum Services {
    /// Every one.
    #[default]
    All,
    /// These alone.
    Only(Vec<ServiceName>),
}

impl Services {
    /// Whether the service of this name is among them. It takes text rather than a [`ServiceName`],
    /// because a text that is no name must not be told from a service that is hidden.
    #[must_use]
    pub fn contain(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name.as_str() == service),
        }
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(_), Self::Only(names)) => {
                names.iter().all(|name| self.contain(name.as_str()))
            }
        }
    }

    /// The names, where not all are meant.
    #[must_use]
    pub fn names(&self) -> Option<&[ServiceName]> {
        match self {
            Self::All => None,
            Self::Only(names) => Some(names),
        }
    }
}

impl From<Services> for Option<Vec<ServiceName>> {
    fn from(services: Services) -> Self {
        match services {
            Services::All => None,
            Services::Only(names) => Some(names),
        }
    }
}

impl From<Option<Vec<ServiceName>>> for Services {
    fn from(names: Option<Vec<ServiceName>>) -> Self {
        names.map_or(Self::All, Self::Only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Services {
        Services::Only(names.iter().map(|name| name.parse().expect("a name")).collect())
    }

    #[test]
    fn some_services_never_cover_all() {
        assert!(Services::All.cover(&only(&["clv"])) && Services::All.contain("anything at all"));
        assert!(!only(&["clv"]).cover(&Services::All));
        assert!(only(&["clv", "churn"]).cover(&only(&["churn"])));
        assert!(!only(&["clv"]).cover(&only(&["clv", "churn"])));
        assert!(!only(&["clv"]).contain("cl"));
    }
}
