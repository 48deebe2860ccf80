//! Everything that a tenant's services say about a customer.
//!
//! The services are asked at the same time, each through the path that a single look-up takes. One that cannot
//! answer now does not hide what the others say: its error is an answer of its own.

use std::sync::Arc;

use cameo_domain::{DataType, Key, ServiceName, ServicePath, TenantName};
use futures_util::future::join_all;

use crate::{current::Current, error::LookupError, predictions::Predictions, render::Rows};

/// Most services of one profile: a tenant that hosts more names those it wants.
pub const SERVICES_MAX: usize = 100;
/// Most customers of one batch. No service that ranks gives more rows for as many keys than one query may meet.
pub const CUSTOMERS_MAX: usize = 100;

/// A customer's key under each type that a service may declare for its own.
///
/// Services need not agree on the type: `17` names the same customer in one that counts and in one that has texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerKey {
    int: Option<i64>,
    text: Option<String>,
}

impl CustomerKey {
    /// Of a key that is an integer, and never the text of its digits.
    #[must_use]
    pub fn int(key: i64) -> Self {
        Self { int: Some(key), text: None }
    }

    /// Of a text as in a URL: the integer that it writes, where it writes one, and the text itself.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let int = match Key::parse(text, DataType::Int) {
            Ok(Key::Int(key)) => Some(key),
            _ => None,
        };
        let text = Key::parse(text, DataType::String).ok().map(|key| key.to_string());
        Self { int, text }
    }

    /// Whether no service could have such a key.
    #[must_use]
    pub fn is_impossible(&self) -> bool {
        self.int.is_none() && self.text.is_none()
    }

    /// The key for a service that declares this type; none where it does not fit.
    #[must_use]
    pub fn of_type(&self, declared: DataType) -> Option<Key> {
        match declared {
            DataType::Int => self.int.map(Key::Int),
            DataType::String => self.text.clone().map(Key::String),
            _ => None,
        }
    }
}

/// What one service says about one customer.
#[derive(Debug)]
pub enum Said {
    /// Predictions.
    Found {
        /// The key as the service declares it.
        key: Key,
        /// Its predictions.
        rows: Rows,
    },
    /// Nothing.
    Missing(Missing),
}

/// Why a service says nothing about a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It has no prediction for the key.
    UnknownKey,
    /// Its keys are of another type.
    KeyType,
    /// It has not published predictions yet.
    NotPublished,
}

/// What one service says about each of some customers, from one generation.
#[derive(Debug)]
pub struct ServiceAnswers {
    /// The generation.
    pub current: Arc<Current>,
    /// For each customer in the order asked; of a service that cannot answer now, why.
    pub said: Result<Vec<Said>, LookupError>,
}

/// The services that a profile is made from.
#[derive(Debug)]
pub struct Sources {
    /// What each of them shows, by name.
    pub published: Vec<Arc<Current>>,
    /// Those that were named and show nothing yet.
    pub unpublished: Vec<ServiceName>,
}

impl Predictions {
    /// The services of a tenant that a caller may read: all that show predictions, or those that are named.
    ///
    /// # Errors
    /// A named service that is unknown or may not be read, told in the same words; more than [`SERVICES_MAX`].
    pub async fn sources(
        &self,
        tenant: &TenantName,
        named: Option<&[ServiceName]>,
        may_read: impl Fn(&ServicePath) -> bool,
    ) -> Result<Sources, LookupError> {
        let Some(named) = named else {
            let published = self.published(tenant).await?;
            let published: Vec<_> =
                published.into_iter().filter(|current| may_read(&current.served.path)).collect();
            at_most(published.len())?;
            return Ok(Sources { published, unpublished: Vec::new() });
        };
        at_most(named.len())?;
        let mut sources = Sources { published: Vec::new(), unpublished: Vec::new() };
        for service in named {
            let path = ServicePath::new(tenant.clone(), service.clone());
            if !may_read(&path) {
                return Err(LookupError::NotFound(path.to_string()));
            }
            match self.current(tenant.as_str(), service.as_str()).await {
                Ok(current) => sources.published.push(current),
                Err(LookupError::NotPublished(_)) => sources.unpublished.push(service.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(sources)
    }

    /// What the sources say about a customer.
    pub async fn profile(
        &self,
        sources: Vec<Arc<Current>>,
        customer: &CustomerKey,
    ) -> Vec<ServiceAnswers> {
        join_all(sources.into_iter().map(|current| self.ask_for_one(current, customer))).await
    }

    /// What the sources say about up to [`CUSTOMERS_MAX`] customers; each source answers from one generation.
    pub async fn profiles(
        &self,
        sources: Vec<Arc<Current>>,
        customers: &[CustomerKey],
    ) -> Vec<ServiceAnswers> {
        join_all(sources.into_iter().map(|current| self.ask_for_many(current, customers))).await
    }

    async fn ask_for_one(&self, current: Arc<Current>, customer: &CustomerKey) -> ServiceAnswers {
        let Some(key) = key_for(&current, customer) else {
            return ServiceAnswers { current, said: Ok(vec![Said::Missing(Missing::KeyType)]) };
        };
        match self.one(current.clone(), key).await {
            Ok(found) => {
                let said = Said::Found { key: found.key, rows: found.rows };
                ServiceAnswers { current: found.current, said: Ok(vec![said]) }
            }
            Err(LookupError::UnknownKey { current, .. }) => {
                ServiceAnswers { current, said: Ok(vec![Said::Missing(Missing::UnknownKey)]) }
            }
            Err(error) => ServiceAnswers { current, said: Err(error) },
        }
    }

    async fn ask_for_many(
        &self,
        current: Arc<Current>,
        customers: &[CustomerKey],
    ) -> ServiceAnswers {
        let keys: Vec<Option<Key>> =
            customers.iter().map(|customer| key_for(&current, customer)).collect();
        let fitting: Vec<_> = keys.iter().flatten().map(Key::as_ref).collect();
        let found = match self.many(current.clone(), &fitting).await {
            Ok(found) => found,
            Err(error) => return ServiceAnswers { current, said: Err(error) },
        };
        let current = Arc::clone(&found.current);
        let mut rows = found.into_rows().into_iter();
        let said = keys.into_iter().map(|key| match key {
            None => Said::Missing(Missing::KeyType),
            Some(key) => match rows.next().flatten() {
                Some(rows) => Said::Found { key, rows },
                None => Said::Missing(Missing::UnknownKey),
            },
        });
        ServiceAnswers { said: Ok(said.collect()), current }
    }
}

fn key_for(current: &Current, customer: &CustomerKey) -> Option<Key> {
    customer.of_type(current.served.schema.key().data_type)
}

fn at_most(services: usize) -> Result<(), LookupError> {
    if services > SERVICES_MAX {
        return Err(LookupError::TooManyServices { limit: SERVICES_MAX, found: services });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_an_integer_and_itself_but_an_integer_is_no_text() {
        let both = CustomerKey::text("17");
        assert_eq!(both.of_type(DataType::Int), Some(Key::Int(17)));
        assert_eq!(both.of_type(DataType::String), Some(Key::String("17".into())));
        assert_eq!(CustomerKey::int(17).of_type(DataType::String), None);
        let text = CustomerKey::text("c/17");
        assert_eq!(text.of_type(DataType::Int), None);
        assert_eq!(text.of_type(DataType::String), Some(Key::String("c/17".into())));
        assert_eq!(text.of_type(DataType::Float64), None);
        assert!(CustomerKey::text("a\0b").is_impossible() && !both.is_impossible());
    }
}
