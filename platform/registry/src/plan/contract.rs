//! What a release promises its consumers: the columns of its answers and of its table.

use std::fmt;

use cameo_domain::{Column, ColumnName, DataType, PredictionSchema};
use serde::{Deserialize, Serialize};

/// One difference between what consumers read now and what they would read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SchemaChange {
    /// Another key, or the same of another type.
    Key {
        /// The key that consumers ask by.
        old: Column,
        /// The key that they would have to ask by.
        new: Column,
    },
    /// A prediction that is no longer given.
    Removed {
        /// Which.
        column: Column,
    },
    /// A prediction of the same name and another type.
    Retyped {
        /// Which.
        name: ColumnName,
        /// Its type now.
        old: DataType,
        /// Its type then.
        new: DataType,
    },
    /// A prediction that is kept sealed from now on, or no longer.
    Sealed {
        /// Which.
        name: ColumnName,
        /// Whether it will be.
        sensitive: bool,
    },
    /// A prediction that is new.
    Added {
        /// Which.
        column: Column,
    },
    /// The same predictions in another order.
    Reordered {
        /// The new order.
        order: Vec<ColumnName>,
    },
    /// Another number of rows per key; none where each key has one row.
    RowsPerKey {
        /// How many now.
        old: Option<u32>,
        /// How many then.
        new: Option<u32>,
    },
}

impl SchemaChange {
    /// Whether a consumer that works now may fail.
    #[must_use]
    pub fn breaks(&self) -> bool {
        match self {
            Self::Key { .. }
            | Self::Removed { .. }
            | Self::Retyped { .. }
            | Self::Sealed { .. } => true,
            Self::Added { .. } | Self::Reordered { .. } => false,
            Self::RowsPerKey { old, new } => old.is_some() != new.is_some(),
        }
    }

    /// What consumers notice.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::Key { .. } => "look-ups by the old key find nothing",
            Self::Removed { .. } => "answers lack it, and SQL that names it fails",
            Self::Retyped { .. } => "consumers are given another type",
            Self::Sealed { sensitive: true, .. } => {
                "callers without the scope `sensitive` get null, and SQL gets a sealed text"
            }
            Self::Sealed { sensitive: false, .. } => {
                "every caller sees it, and SQL gets another type"
            }
            Self::Added { .. } => "answers have one more field",
            Self::Reordered { .. } => "only who reads columns by their place notices",
            Self::RowsPerKey { .. } if self.breaks() => {
                "answers change between an object and a list"
            }
            Self::RowsPerKey { .. } => "answers have another length",
        }
    }
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = |rows: &Option<u32>| rows.map_or("1".to_owned(), |rows| format!("up to {rows}"));
        match self {
            Self::Key { old, new } => {
                write!(f, "key {} {} → {} {}", old.name, old.data_type, new.name, new.data_type)
            }
            Self::Removed { column } => {
                write!(f, "prediction {} {} removed", column.name, column.data_type)
            }
            Self::Retyped { name, old, new } => write!(f, "prediction {name} {old} → {new}"),
            Self::Sealed { name, sensitive: true } => {
                write!(f, "prediction {name} becomes sensitive")
            }
            Self::Sealed { name, sensitive: false } => {
                write!(f, "prediction {name} is no longer sensitive")
            }
            Self::Added { column } => {
                write!(f, "prediction {} {} added", column.name, column.data_type)
            }
            Self::Reordered { order } => {
                let names: Vec<&str> = order.iter().map(ColumnName::as_str).collect();
                write!(f, "order of predictions is now {}", names.join(", "))
            }
            Self::RowsPerKey { old, new } => {
                write!(f, "rows per key {} → {}", rows(old), rows(new))
            }
        }
    }
}

/// What differs, what breaks consumers first.
#[must_use]
pub fn schema_changes(old: &PredictionSchema, new: &PredictionSchema) -> Vec<SchemaChange> {
    let mut changes = Vec::new();
    let sensitive = new.predictions().iter().filter(|column| {
        let name = column.name.as_str();
        let known = old.predictions().iter().any(|old| old.name == column.name);
        known && old.is_sensitive(name) != new.is_sensitive(name)
    });
    changes.extend(sensitive.map(|column| SchemaChange::Sealed {
        name: column.name.clone(),
        sensitive: new.is_sensitive(column.name.as_str()),
    }));
    // What is inside counts, sealed or not.
    let (old, new) = (&old.opened(), &new.opened());
    if old.key() != new.key() {
        changes.push(SchemaChange::Key { old: old.key().clone(), new: new.key().clone() });
    }
    if old.top_n() != new.top_n() {
        changes.push(SchemaChange::RowsPerKey { old: old.top_n(), new: new.top_n() });
    }
    let find = |schema: &PredictionSchema, name: &ColumnName| {
        schema.predictions().iter().find(|column| column.name == *name).cloned()
    };
    for column in old.predictions() {
        match find(new, &column.name) {
            None => changes.push(SchemaChange::Removed { column: column.clone() }),
            Some(kept) if kept.data_type != column.data_type => {
                changes.push(SchemaChange::Retyped {
                    name: kept.name,
                    old: column.data_type,
                    new: kept.data_type,
                });
            }
            Some(_) => {}
        }
    }
    for column in new.predictions() {
        if find(old, &column.name).is_none() {
            changes.push(SchemaChange::Added { column: column.clone() });
        }
    }
    let kept = |of: &PredictionSchema, beside: &PredictionSchema| -> Vec<ColumnName> {
        let names = of.predictions().iter().map(|column| column.name.clone());
        names.filter(|name| find(beside, name).is_some()).collect()
    };
    if kept(old, new) != kept(new, old) {
        let order = new.predictions().iter().map(|column| column.name.clone()).collect();
        changes.push(SchemaChange::Reordered { order });
    }
    changes.sort_by_key(|change| !change.breaks());
    changes
}

/// The reason that a ledger keeps for a breaking release that somebody accepted; none where nothing
/// breaks.
#[must_use]
pub fn acknowledgement(changes: &[SchemaChange]) -> Option<String> {
    let breaking: Vec<String> =
        changes.iter().filter(|change| change.breaks()).map(ToString::to_string).collect();
    (!breaking.is_empty()).then(|| format!("accepted as breaking: {}", breaking.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> PredictionSchema {
        let column = |(name, data_type): &(&str, DataType)| Column {
            name: name.parse().expect("a name"),
            data_type: *data_type,
        };
        PredictionSchema::new(columns.iter().map(column).collect()).expect("a schema")
    }

    fn told(old: &[(&str, DataType)], new: &[(&str, DataType)]) -> Vec<(String, bool)> {
        let changes = schema_changes(&schema(old), &schema(new));
        changes.iter().map(|change| (change.to_string(), change.breaks())).collect()
    }

    #[test]
    fn a_prediction_that_becomes_sensitive_breaks_whoever_reads_it() {
        let clear = schema(&[("id", DataType::Int), ("risk", DataType::Float64)]);
        let name: ColumnName = "risk".parse().expect("a name");
        let sealed = clear.clone().sealing([&name]).expect("a prediction");
        let told = |old, new| {
            let changes = schema_changes(old, new);
            assert!(changes.iter().all(SchemaChange::breaks));
            changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&clear, &sealed), ["prediction risk becomes sensitive"]);
        assert_eq!(told(&sealed, &clear), ["prediction risk is no longer sensitive"]);
        assert!(told(&sealed, &sealed).is_empty());
    }

    const OLD: [(&str, DataType); 3] =
        [("id", DataType::Int), ("clv", DataType::Float64), ("tier", DataType::String)];

    #[test]
    fn what_breaks_consumers_is_told_apart_from_what_does_not() {
        let (id, clv, tier) = (OLD[0], OLD[1], OLD[2]);
        let is_high = ("is_high", DataType::Bool);
        assert!(told(&OLD, &OLD).is_empty());
        assert_eq!(
            told(&OLD, &[id, is_high, clv]),
            [
                ("prediction tier STRING removed".to_owned(), true),
                ("prediction is_high BOOL added".to_owned(), false)
            ]
        );
        assert_eq!(
            told(&OLD, &[id, ("clv", DataType::Int), tier]),
            [("prediction clv FLOAT64 → INT".to_owned(), true)]
        );
        assert_eq!(
            told(&OLD, &[("id", DataType::String), clv, tier]),
            [("key id INT → id STRING".to_owned(), true)]
        );
        assert_eq!(
            told(&OLD, &[id, tier, clv]),
            [("order of predictions is now tier, clv".to_owned(), false)]
        );
    }

    #[test]
    fn a_list_in_place_of_an_object_breaks_consumers_and_a_longer_list_does_not() {
        let ranked = |top_n| {
            schema(&[("id", DataType::Int), ("rank", DataType::Int)]).ranked(top_n).expect("a rank")
        };
        let one = schema(&[("id", DataType::Int), ("rank", DataType::Int)]);
        let [to_list] = &schema_changes(&one, &ranked(3))[..] else { panic!("one change") };
        let [longer] = &schema_changes(&ranked(3), &ranked(5))[..] else { panic!("one change") };
        assert!(to_list.breaks() && !longer.breaks());
        assert_eq!(longer.to_string(), "rows per key up to 3 → up to 5");
    }

    #[test]
    fn the_ledger_is_told_what_was_accepted() {
        let changes = schema_changes(&schema(&OLD), &schema(&OLD[..2]));
        let reason = acknowledgement(&changes).expect("it breaks consumers");
        assert_eq!(reason, "accepted as breaking: prediction tier STRING removed");
        assert_eq!(acknowledgement(&[]), None);
    }
}
