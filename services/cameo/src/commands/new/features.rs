//! What the model takes: the columns of `features.sql`.

use anyhow::bail;
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use cameo_registry::inspection::arrow_kind;
use cameo_scoring::{Anatomy, Port, PortKind};
use serde::Serialize;

use super::answers::{Key, Table};

/// Longest name of a feature, in bytes: beyond it nobody reads the query any more.
const NAME_BYTES_MAX: usize = 300;

/// The features of a model in the order in which it takes them.
#[derive(Debug, Clone)]
pub(super) struct Takes {
    pub(super) features: Vec<Feature>,
    pub(super) found_by: FoundBy,
}

/// One column that the model takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Feature {
    pub(super) name: String,
    #[serde(skip)]
    pub(super) kind: PortKind,
    pub(super) source: Source,
}

/// Where a feature comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// A column of the table that was named.
    Column(String),
    /// Whoever knows the tables says it.
    Unknown,
}

/// How the model finds its features among the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundBy {
    Name,
    Order,
}

impl FoundBy {
    /// What to keep when the query is edited.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Name => "the model finds its features by them",
            Self::Order => "the model takes them from left to right, in the order of its training",
        }
    }
}

/// The columns that `entry` takes, called `names` where the model leaves that open.
pub(super) fn of_model(
    entry: &Anatomy,
    names: Option<&[String]>,
    key: &Key,
) -> anyhow::Result<Takes> {
    let signature = &entry.signature;
    let takes = match (&signature.inputs[..], &signature.feature_names) {
        ([], _) => {
            bail!("the model takes no input; expected one input per feature, or one for all")
        }
        ([port], Some(known)) => {
            refuse_names(names, "its metadata names the features")?;
            Takes { features: named(known, port.kind), found_by: FoundBy::Name }
        }
        ([port], None) => {
            let features = named(&of_lone(entry, port, names)?, port.kind);
            Takes { features, found_by: FoundBy::Order }
        }
        (ports, _) => {
            refuse_names(names, "each of its inputs takes the column of its name")?;
            Takes { features: of_ports(ports)?, found_by: FoundBy::Name }
        }
    };
    check(&takes.features, key)?;
    Ok(takes)
}

fn refuse_names(names: Option<&[String]>, reason: &str) -> anyhow::Result<()> {
    match names {
        Some(_) => bail!("the model needs no --features: {reason}; leave the option out"),
        None => Ok(()),
    }
}

fn named(names: &[String], kind: PortKind) -> Vec<Feature> {
    let feature = |name: &String| Feature { name: name.clone(), kind, source: Source::Unknown };
    names.iter().map(feature).collect()
}

/// The names of a matrix, left to right.
fn of_lone(entry: &Anatomy, port: &Port, names: Option<&[String]>) -> anyhow::Result<Vec<String>> {
    // Trees tell the width that a file leaves open.
    let compared = entry.ensembles.iter().map(|ensemble| ensemble.features).max();
    match (names, port.width) {
        (Some(names), Some(width)) if names.len() != width => bail!(
            "the model's input `{}` takes {width} features, --features names {}; name all of them, in the order \
             of the training",
            port.name,
            names.len()
        ),
        (Some(names), _) => Ok(names.to_vec()),
        (None, Some(1)) => Ok(vec![port.name.clone()]),
        (None, width) => match width.or(compared.filter(|width| *width > 0)) {
            Some(width) => Ok((0..width).map(|index| format!("feature_{index}")).collect()),
            None => bail!(
                "the model's input `{}` leaves open how many features it takes; name them with --features, in \
                 the order of the training",
                port.name
            ),
        },
    }
}

/// The columns of several inputs; matrices among them take columns in order, named after them.
fn of_ports(ports: &[Port]) -> anyhow::Result<Vec<Feature>> {
    let mut features = Vec::new();
    for port in ports {
        let names = match port.width {
            Some(1) => vec![port.name.clone()],
            Some(width) => (0..width).map(|index| format!("{}_{index}", port.name)).collect(),
            None => bail!(
                "the model's input `{}` leaves open how many features it takes; export it with a fixed number",
                port.name
            ),
        };
        features.extend(named(&names, port.kind));
    }
    Ok(features)
}

/// Whether a query can give these columns.
fn check(features: &[Feature], key: &Key) -> anyhow::Result<()> {
    for (index, feature) in features.iter().enumerate() {
        let name = &feature.name;
        let is_writable = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.contains(|c: char| c.is_control() || matches!(c, '`' | '\\'));
        if !is_writable {
            bail!(
                "the model's feature `{}` cannot be a column; export the model with names of up to \
                 {NAME_BYTES_MAX} bytes without quotes, backslashes and line ends",
                name.escape_debug()
            );
        }
        if name.eq_ignore_ascii_case(key.name.as_str()) {
            bail!(
                "the model takes a feature `{name}`, which is also the key; choose another key with --key, such as \
                 --key user_id:INT"
            );
        }
        if features[..index].iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
            bail!(
                "the model takes two features `{name}`, and SQL ignores case; export it with names that differ"
            );
        }
    }
    Ok(())
}

impl Takes {
    /// The features as Arrow columns, to load the model with.
    pub(super) fn schema(&self) -> Schema {
        let field = |feature: &Feature| Field::new(&feature.name, arrow_kind(feature.kind), true);
        Schema::new(self.features.iter().map(field).collect::<Vec<_>>())
    }

    /// Takes the columns of a table that have the name of a feature and fit its type.
    pub(super) fn find_in(
        &mut self,
        table: &Table,
        columns: &Schema,
        key: &Key,
    ) -> anyhow::Result<()> {
        let find = |name: &str| {
            columns.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name))
        };
        if find(key.name.as_str()).is_none() {
            let names: Vec<&str> =
                columns.fields().iter().map(|field| field.name().as_str()).collect();
            bail!(
                "{table} has no column `{}`; name the key with --key, one of {}",
                key.name,
                names.join(", ")
            );
        }
        for feature in &mut self.features {
            if let Some(field) = find(&feature.name).filter(|f| fits(f.data_type(), feature.kind)) {
                feature.source = Source::Column(field.name().clone());
            }
        }
        Ok(())
    }

    /// The features that nobody has said the source of.
    pub(super) fn unknown(&self) -> Vec<&str> {
        let unknown = self.features.iter().filter(|feature| feature.source == Source::Unknown);
        unknown.map(|feature| feature.name.as_str()).collect()
    }
}

/// Whether an input takes a column as it is.
fn fits(column: &ArrowType, kind: PortKind) -> bool {
    match kind {
        PortKind::Float32 | PortKind::Float64 => {
            column.is_numeric() || matches!(column, ArrowType::Boolean | ArrowType::Date32)
        }
        PortKind::Int64 | PortKind::Int32 => {
            column.is_integer() || matches!(column, ArrowType::Boolean | ArrowType::Date32)
        }
        PortKind::Bool => *column == ArrowType::Boolean,
        PortKind::String => column.is_string(),
    }
}
