//! Names that tenants choose.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest tenant or service name, in bytes: a generation table's name (`<service>_g<id>`) must fit
/// the 63 bytes of a Postgres identifier.
pub const NAME_BYTES_MAX: usize = 40;
/// Longest column name, in bytes: Postgres' limit for an identifier.
pub const COLUMN_BYTES_MAX: usize = 63;

/// What tenants' and services' names look like, as a regular expression.
pub const NAME_PATTERN: &str = "[a-z][a-z0-9_]{0,39}";

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a valid {what}: expected {expected}")]
pub struct NameError {
    what: &'static str,
    expected: &'static str,
    found: String,
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    text.len() <= NAME_BYTES_MAX
        && characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_column(text: &str) -> bool {
    let mut characters = text.chars();
    text.len() <= COLUMN_BYTES_MAX
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:path, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                if $valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(NameError { what: $what, expected: $expected, found: text })
                }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A team: the unit of isolation, quota and access.
    TenantName,
    "tenant name",
    is_name,
    "a lower-case letter, then up to 39 lower-case letters, digits or underscores"
);
name!(
    /// One model that a tenant hosts.
    ServiceName,
    "service name",
    is_name,
    "a lower-case letter, then up to 39 lower-case letters, digits or underscores"
);
name!(
    /// A segment of a tenant's customers.
    SegmentName,
    "segment name",
    is_name,
    "a lower-case letter, then up to 39 lower-case letters, digits or underscores"
);
name!(
    /// Who follows the changes of a segment.
    ConsumerName,
    "consumer name",
    is_name,
    "a lower-case letter, then up to 39 lower-case letters, digits or underscores"
);
name!(
    /// A place that a tenant wants to be told of changes.
    WebhookName,
    "webhook name",
    is_name,
    "a lower-case letter, then up to 39 lower-case letters, digits or underscores"
);
name!(
    /// A column of features or predictions.
    ColumnName,
    "column name",
    is_column,
    "a letter or underscore, then up to 62 letters, digits or underscores"
);

impl ColumnName {
    /// [`EXPLANATION_COLUMN`](crate::EXPLANATION_COLUMN) as a name.
    #[must_use]
    pub fn explanation() -> Self {
        Self(crate::EXPLANATION_COLUMN.to_owned())
    }
}

/// A service together with its tenant, written `tenant/service`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServicePath {
    /// Whose service it is.
    pub tenant: TenantName,
    /// Which of the tenant's services.
    pub service: ServiceName,
}

impl ServicePath {
    /// Joins a tenant and one of its services.
    #[must_use]
    pub fn new(tenant: TenantName, service: ServiceName) -> Self {
        Self { tenant, service }
    }
}

impl FromStr for ServicePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, service) = text.split_once('/').ok_or_else(|| NameError {
            what: "service path",
            expected: "tenant/service",
            found: text.to_owned(),
        })?;
        Ok(Self { tenant: tenant.parse()?, service: service.parse()? })
    }
}

impl fmt::Display for ServicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_identifiers_that_fit_a_table_name() {
        assert!("gender".parse::<ServiceName>().is_ok());
        assert!("clv_12m".parse::<ServiceName>().is_ok());
        for bad in ["", "Gender", "1st", "a-b", "a b", "ü", "x\";drop", &"a".repeat(41)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_service_path_needs_both_halves() {
        let path: ServicePath = "marketing/gender".parse().expect("a valid path");
        assert_eq!(path.to_string(), "marketing/gender");
        assert!("marketing".parse::<ServicePath>().is_err());
        assert!("marketing/gender/x".parse::<ServicePath>().is_err());
    }

    #[test]
    fn deserialising_checks_the_name() {
        assert!(serde_json::from_str::<TenantName>("\"crm\"").is_ok());
        assert!(serde_json::from_str::<TenantName>("\"CRM\"").is_err());
    }
}
