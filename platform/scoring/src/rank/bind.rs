//! Which column of a customer or an item feeds which model input.

use arrow::datatypes::Schema;

use crate::error::ModelError;
use crate::signature::{Port, PortKind};

/// Names of a matrix input that takes every customer column.
const CUSTOMER_INPUTS: [&str; 4] = ["customer", "customers", "user", "users"];
/// Names of a matrix input that takes every item column.
const ITEM_INPUTS: [&str; 2] = ["item", "items"];
/// Start of the metadata key that lists the columns of one of several matrix inputs.
pub(super) const FEATURE_NAMES_KEY: &str = "feature_names.";

/// Whom a column is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Customer,
    Item,
}

/// A column on its side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) side: Side,
    pub(super) column: String,
}

/// A model input and the columns that feed it, left to right.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: PortKind,
    pub(super) vector: bool,
    pub(super) sources: Vec<Source>,
}

impl Entry {
    /// The side that all columns are on.
    pub(super) fn side(&self) -> Option<Side> {
        let first = self.sources.first()?.side;
        self.sources.iter().all(|source| source.side == first).then_some(first)
    }
}

/// The feature columns of both sides.
pub(super) struct Columns<'a> {
    pub(super) customers: &'a Schema,
    pub(super) items: &'a Schema,
}

impl Columns<'_> {
    /// Refuses names that both sides give: which one a model means would be a guess.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        for customer in self.customers.fields() {
            if self
                .items
                .fields()
                .iter()
                .any(|item| item.name().eq_ignore_ascii_case(customer.name()))
            {
                return Err(ModelError::Graph {
                    problem: format!(
                        "both the customers' and the items' SQL give a column `{}`; rename one of them, since \
                         model inputs are found by name on either side",
                        customer.name()
                    ),
                });
            }
        }
        Ok(())
    }

    fn of(&self, side: Side) -> Vec<Source> {
        let schema = match side {
            Side::Customer => self.customers,
            Side::Item => self.items,
        };
        let source = |name: &String| Source { side, column: name.clone() };
        schema.fields().iter().map(|field| source(field.name())).collect()
    }

    fn all(&self) -> Vec<Source> {
        [self.of(Side::Customer), self.of(Side::Item)].concat()
    }

    fn find(&self, name: &str) -> Option<Source> {
        self.all().into_iter().find(|source| source.column.eq_ignore_ascii_case(name))
    }

    fn described(&self) -> String {
        let names = |side| {
            let columns = self.of(side).into_iter().map(|source| source.column);
            columns.collect::<Vec<_>>().join(", ")
        };
        format!("customers have {}; items have {}", names(Side::Customer), names(Side::Item))
    }
}

/// Binds every input.
///
/// An input of one value takes the column of its name. A matrix takes the columns that the model's
/// metadata lists (`feature_names` for a lone input, `feature_names.<input>` for one of several); without
/// such a list a lone matrix takes the customer columns and then the item columns in the order of the
/// SQL, and one of several takes all columns of the side that it is named for.
pub(super) fn entries(
    ports: &[Port],
    metadata: impl Fn(&str) -> Option<Vec<String>>,
    columns: &Columns<'_>,
) -> Result<Vec<Entry>, ModelError> {
    columns.check()?;
    ports
        .iter()
        .map(|port| {
            let refused = |problem: String| ModelError::Input {
                input: port.name.clone(),
                kind: port.to_string(),
                problem,
            };
            let lone = ports.len() == 1;
            let key = format!("{FEATURE_NAMES_KEY}{}", port.name);
            let listed = metadata(&key).or_else(|| metadata("feature_names").filter(|_| lone));
            let is_named = |names: &[&str]| names.iter().any(|name| port.name.eq_ignore_ascii_case(name));
            let sources = if let Some(names) = listed {
                let found = names.iter().map(|name| {
                    columns.find(name).ok_or_else(|| {
                        refused(format!(
                            "the model's metadata wants a column `{name}`; {}; add it to one of the queries",
                            columns.described()
                        ))
                    })
                });
                found.collect::<Result<Vec<_>, _>>()?
            } else if let Some(source) =
                columns.find(&port.name).filter(|_| port.width.is_none_or(|width| width == 1))
            {
                vec![source]
            } else if lone {
                columns.all()
            } else if is_named(&CUSTOMER_INPUTS) {
                columns.of(Side::Customer)
            } else if is_named(&ITEM_INPUTS) {
                columns.of(Side::Item)
            } else {
                return Err(refused(format!(
                    "no column feeds it: {}; select a column of that name, name a matrix input `customer` or `item` \
                     to give it all columns of that side, or list its columns in the model's metadata under \
                     `{key}`",
                    columns.described()
                )));
            };
            if sources.is_empty() || port.width.is_some_and(|width| width != sources.len()) {
                return Err(refused(format!(
                    "expected {} columns, found {}: {}; select exactly the columns that the model was trained on, in \
                     that order, or list them in the model's metadata under `{key}`",
                    port.width.unwrap_or(1),
                    sources.len(),
                    columns.described()
                )));
            }
            Ok(Entry { name: port.name.clone(), kind: port.kind, vector: port.vector, sources })
        })
        .collect()
}
