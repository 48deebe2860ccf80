//! What a condition may name.

use std::collections::BTreeMap;

use cameo_domain::{Column, ColumnName, DataType, PredictionSchema, ServiceName};

use super::node::ColumnRef;

/// The services of a tenant with their predictions, as conditions see them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    services: BTreeMap<ServiceName, PredictionSchema>,
    home: Option<ServiceName>,
    open: bool,
}

/// A name that the catalogue does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    /// What was expected and what was found.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// A column that a condition names.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) column: ColumnRef,
    /// `None` where another service, of which nothing is known here, has it.
    pub(crate) data_type: Option<DataType>,
}

impl Catalog {
    /// All of a tenant's services.
    #[must_use]
    pub fn new(services: BTreeMap<ServiceName, PredictionSchema>) -> Self {
        Self { services, home: None, open: false }
    }

    /// One service alone, as its bundle is checked: columns without a service are its own, and what
    /// other services have is taken on trust until all are known.
    #[must_use]
    pub fn of_bundle(service: ServiceName, schema: PredictionSchema) -> Self {
        let services = BTreeMap::from([(service.clone(), schema)]);
        Self { services, home: Some(service), open: true }
    }

    /// The same services, where columns without a service are those of `service`.
    #[must_use]
    pub fn at_home(self, service: ServiceName) -> Self {
        Self { home: Some(service), ..self }
    }

    pub(crate) fn schema(&self, service: &ServiceName) -> Option<&PredictionSchema> {
        self.services.get(service)
    }

    /// Finds `service.column`, or `column` where it can only mean one.
    pub(crate) fn find(&self, parts: &[&str]) -> Result<Found, Unnamed> {
        match parts {
            [column] => self.bare(column),
            [service, column] => self.qualified(service, column),
            _ => Err(Unnamed {
                message: format!("expected `service.column`, found `{}`", parts.join(".")),
                help: Some("a segment is over the services of one tenant".to_owned()),
            }),
        }
    }

    fn bare(&self, column: &str) -> Result<Found, Unnamed> {
        if let Some(home) = &self.home {
            return self.qualified(home.as_str(), column);
        }
        let mut having = self.services.iter().filter_map(|(service, schema)| {
            column_of(schema, column).map(|found| (service, found))
        });
        match (having.next(), having.next()) {
            (Some((service, _)), None) => self.qualified(service.as_str(), column),
            (Some((one, _)), Some((other, _))) => Err(Unnamed {
                message: format!("both `{one}` and `{other}` have a column `{column}`"),
                help: Some(format!("write `{one}.{column}` or `{other}.{column}`")),
            }),
            (None, _) => {
                let names = self.services.values().flat_map(PredictionSchema::columns);
                let near = nearest(column, names.map(|column| column.name.as_str()));
                Err(Unnamed {
                    message: format!("no service has a column `{column}`"),
                    help: near.map(|near| format!("did you mean `{near}`?")),
                })
            }
        }
    }

    fn qualified(&self, service: &str, column: &str) -> Result<Found, Unnamed> {
        let entry = self.services.iter().find(|(name, _)| name.as_str() == service);
        let Some((service, schema)) = entry else {
            return self.elsewhere(service, column);
        };
        let found = column_of(schema, column).ok_or_else(|| {
            let names: Vec<&str> = schema.columns().map(|column| column.name.as_str()).collect();
            let help = match nearest(column, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", names.join(", ")),
            };
            Unnamed {
                message: format!("the service `{service}` has no column `{column}`"),
                help: Some(help),
            }
        })?;
        if found.data_type == DataType::Json {
            return Err(Unnamed {
                message: format!("`{service}.{column}` is an explanation, not a prediction"),
                help: None,
            });
        }
        if schema.is_sensitive(found.name.as_str()) {
            return Err(Unnamed {
                message: format!("`{service}.{column}` is sensitive, and kept sealed"),
                help: Some("name predictions that are not: being a member would tell".to_owned()),
            });
        }
        Ok(known(service, found))
    }

    /// A service that the catalogue does not list.
    fn elsewhere(&self, service: &str, column: &str) -> Result<Found, Unnamed> {
        let names = self.services.keys().map(ServiceName::as_str);
        let unknown = || Unnamed {
            message: format!("no service is called `{service}`"),
            help: match nearest(service, names.clone()) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None if self.services.is_empty() => None,
                None => Some(format!("there are {}", names.clone().collect::<Vec<_>>().join(", "))),
            },
        };
        if !self.open {
            return Err(unknown());
        }
        let service: ServiceName = service.parse().map_err(|_| unknown())?;
        let column: ColumnName = column.parse().map_err(|_| unknown())?;
        Ok(Found { column: ColumnRef { service, column }, data_type: None })
    }
}

fn known(service: &ServiceName, column: &Column) -> Found {
    let data_type = Some(column.data_type);
    Found { column: ColumnRef { service: service.clone(), column: column.name.clone() }, data_type }
}

/// SQL ignores the case of names.
fn column_of<'a>(schema: &'a PredictionSchema, name: &str) -> Option<&'a Column> {
    schema.columns().find(|column| column.name.as_str().eq_ignore_ascii_case(name))
}

/// The name closest to `wanted`, when one is close: a fifth of the letters differ, and of a short one two.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let limit = match lower.chars().count() {
        ..=3 => 1,
        4..=9 => 2,
        length => length / 5,
    };
    names
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
