//! What a segment is defined to be.

use std::collections::BTreeSet;

use cameo_domain::{DataType, ServiceName};
use serde::{Deserialize, Serialize};

use crate::{Catalog, ColumnRef, Condition, ConditionError, Share};

/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 2_000;
/// Most attributes that members are handed on with.
pub const ATTRIBUTES_MAX: usize = 64;

/// A definition as somebody writes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The condition, as written.
    pub condition: String,
    /// What the segment is, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The columns that members are handed on with, as `service.column`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Only customers in this share are members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Share>,
    /// Customers in this share are no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<Share>,
}

/// A definition that was read against the predictions of the tenant's services. Its names are written out,
/// so that it means the same when another service comes to have a column of that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The condition in its canonical text.
    pub condition: String,
    /// What the segment is, in words.
    pub description: String,
    /// The columns that members are handed on with.
    pub attributes: Vec<ColumnRef>,
    /// Only customers in this share are members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Share>,
    /// Customers in this share are no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<Share>,
}

/// A definition with its condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// What is kept.
    pub definition: Definition,
    /// Its condition, to be evaluated.
    pub condition: Condition,
}

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DefinitionError {
    /// The condition.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// An attribute that no service has, or whose service cannot be joined.
    #[error("the attribute `{attribute}`: {message}")]
    Attribute {
        /// As it was written.
        attribute: String,
        /// What was expected, what was found, and what to write.
        message: String,
    },
    /// More than a named bound allows.
    #[error("expected at most {limit} {what}, found {found}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// How much there is.
        found: usize,
    },
    /// A sample and a hold-out by one salt are not independent: the one is a part of the other.
    #[error(
        "the sample and the hold-out have the same salt `{0}`, so that one lies within the other; \
         give one of them another salt"
    )]
    OneSalt(String),
}

impl Draft {
    /// Reads the definition against what the services predict now.
    pub fn read(&self, catalog: &Catalog) -> Result<Read, DefinitionError> {
        let limits = [
            ("bytes of description", DESCRIPTION_BYTES_MAX, self.description.len()),
            ("attributes", ATTRIBUTES_MAX, self.attributes.len()),
        ];
        if let Some((what, limit, found)) =
            limits.into_iter().find(|(_, limit, found)| found > limit)
        {
            return Err(DefinitionError::TooMuch { what, limit, found });
        }
        if let (Some(sample), Some(hold_out)) = (&self.sample, &self.hold_out)
            && sample.salt() == hold_out.salt()
        {
            return Err(DefinitionError::OneSalt(sample.salt().to_owned()));
        }
        let condition = Condition::parse(&self.condition, catalog)?;
        let mut attributes: Vec<ColumnRef> = Vec::with_capacity(self.attributes.len());
        for written in &self.attributes {
            let attribute = attribute_of(written, &condition, catalog)?;
            // Once is enough.
            if !attributes.contains(&attribute) {
                attributes.push(attribute);
            }
        }
        let definition = Definition {
            condition: condition.to_string(),
            description: self.description.clone(),
            attributes,
            sample: self.sample.clone(),
            hold_out: self.hold_out.clone(),
        };
        Ok(Read { definition, condition })
    }
}

fn attribute_of(
    written: &str,
    condition: &Condition,
    catalog: &Catalog,
) -> Result<ColumnRef, DefinitionError> {
    let refused =
        |message: String| DefinitionError::Attribute { attribute: written.to_owned(), message };
    let parts: Vec<&str> = written.trim().split('.').collect();
    let found = catalog.find(&parts).map_err(|unnamed| {
        refused(match unnamed.help {
            Some(help) => format!("{}; {help}", unnamed.message),
            None => unnamed.message,
        })
    })?;
    let key = |service: &ServiceName| -> Option<DataType> {
        Some(catalog.schema(service)?.key().data_type)
    };
    let own = key(&found.column.service);
    let other = condition
        .services()
        .into_iter()
        .find(|service| key(service).zip(own).is_some_and(|(other, own)| other != own));
    match other {
        None => Ok(found.column),
        Some(other) => Err(refused(format!(
            "the customers of `{}` have keys of another type than those of `{other}`: they cannot \
             be joined",
            found.column.service
        ))),
    }
}

impl Definition {
    /// The services of the condition and of the attributes, as far as its text says.
    #[must_use]
    pub fn services(&self, condition: &Condition) -> BTreeSet<ServiceName> {
        let named = condition.services().into_iter();
        named.chain(self.attributes.iter().map(|attribute| &attribute.service)).cloned().collect()
    }

    /// Reads it again, against what the services predict now.
    pub fn read(&self, catalog: &Catalog) -> Result<Read, DefinitionError> {
        let draft = Draft {
            condition: self.condition.clone(),
            description: self.description.clone(),
            attributes: self.attributes.iter().map(ColumnRef::to_string).collect(),
            sample: self.sample.clone(),
            hold_out: self.hold_out.clone(),
        };
        draft.read(catalog)
    }
}
