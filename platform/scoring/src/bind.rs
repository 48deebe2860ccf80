//! Which feature column feeds which model input.

use arrow::datatypes::Schema;

use crate::columns;
use crate::defaults::{NullDefault, NullDefaults};
use crate::error::ModelError;
use crate::signature::{Port, PortKind};

/// A column that the model reads.
#[derive(Debug, Clone)]
pub(crate) struct BoundColumn {
    pub(crate) name: String,
    pub(crate) data_type: arrow::datatypes::DataType,
    /// Position in the feature schema.
    pub(crate) position: usize,
    pub(crate) kind: PortKind,
    /// What stands for a null.
    pub(crate) default: Option<NullDefault>,
}

/// An input and the columns that feed it, left to right.
#[derive(Debug, Clone)]
pub(crate) struct BoundInput {
    pub(crate) port: Port,
    pub(crate) columns: Vec<BoundColumn>,
}

/// Binds every input of a graph to feature columns.
///
/// A lone input takes the columns by the names that the model carries, else in the order of the SQL.
/// Several inputs take one column each, by name without regard to case.
pub(crate) fn inputs(
    ports: &[Port],
    feature_names: Option<&[String]>,
    features: &Schema,
) -> Result<Vec<BoundInput>, ModelError> {
    match ports {
        [] => Err(ModelError::Graph {
            problem: "the model has no input; expected at least one that takes features".to_owned(),
        }),
        [port] => Ok(vec![lone(port, feature_names, features)?]),
        several => several.iter().map(|port| by_name(port, features)).collect(),
    }
}

/// Gives bound columns the values that stand for their nulls.
pub(crate) fn defaults(
    inputs: &mut [BoundInput],
    declared: &NullDefaults,
    features: &Schema,
) -> Result<(), ModelError> {
    for (name, default) in declared {
        let columns = inputs.iter_mut().flat_map(|input| &mut input.columns);
        let Some(column) =
            columns.into_iter().find(|column| column.name.eq_ignore_ascii_case(name))
        else {
            return Err(ModelError::NullDefault {
                column: name.clone(),
                problem: format!(
                    "the model reads no feature column of that name; the columns are {}",
                    names(features)
                ),
            });
        };
        default.check(&column.name, &column.data_type, column.kind)?;
        column.default = Some(default.clone());
    }
    Ok(())
}

fn lone(
    port: &Port,
    feature_names: Option<&[String]>,
    features: &Schema,
) -> Result<BoundInput, ModelError> {
    if let Some(names) = feature_names {
        let positions =
            names.iter().map(|name| find(port, name, features)).collect::<Result<Vec<_>, _>>()?;
        return bound(port, &positions, features);
    }
    let count = features.fields().len();
    match port.width {
        Some(width) if width == count => {}
        None if count > 0 => {}
        // One value per row, and a column of its name among several.
        Some(1) if find(port, &port.name, features).is_ok() => return by_name(port, features),
        width => {
            return Err(ModelError::Input {
                input: port.name.clone(),
                kind: port.to_string(),
                problem: format!(
                    "expected {} feature columns, found {count} ({}); select exactly the columns that the model \
                     was trained on, in that order, or store their names in the model's metadata as `feature_names`",
                    width.unwrap_or(1),
                    names(features)
                ),
            });
        }
    }
    bound(port, &(0..count).collect::<Vec<_>>(), features)
}

fn by_name(port: &Port, features: &Schema) -> Result<BoundInput, ModelError> {
    if let Some(width) = port.width.filter(|width| *width > 1) {
        return Err(ModelError::Input {
            input: port.name.clone(),
            kind: port.to_string(),
            problem: format!(
                "it takes {width} values per row beside other inputs; export with one matrix input or one input per column"
            ),
        });
    }
    bound(port, &[find(port, &port.name, features)?], features)
}

fn find(port: &Port, name: &str, features: &Schema) -> Result<usize, ModelError> {
    let matches: Vec<usize> = features
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name().eq_ignore_ascii_case(name))
        .map(|(position, _)| position)
        .collect();
    match matches[..] {
        [position] => Ok(position),
        _ => Err(ModelError::Input {
            input: port.name.clone(),
            kind: port.to_string(),
            problem: format!(
                "expected one feature column `{name}`, found {} of that name among {}; add it to features.sql",
                matches.len(),
                names(features)
            ),
        }),
    }
}

fn bound(port: &Port, positions: &[usize], features: &Schema) -> Result<BoundInput, ModelError> {
    if let Some(width) = port.width.filter(|width| *width != positions.len()) {
        return Err(ModelError::Input {
            input: port.name.clone(),
            kind: port.to_string(),
            problem: format!(
                "expected {width} columns, the model's metadata names {}",
                positions.len()
            ),
        });
    }
    let columns = positions
        .iter()
        .map(|&position| {
            let field = features.field(position);
            columns::accepts(field.data_type(), port.kind).map_err(|cure| ModelError::Column {
                column: field.name().clone(),
                found: field.data_type().to_string(),
                input: port.name.clone(),
                kind: port.to_string(),
                cure: cure.to_owned(),
            })?;
            Ok(BoundColumn {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                position,
                kind: port.kind,
                default: None,
            })
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    let mut port = port.clone();
    port.width = Some(columns.len());
    Ok(BoundInput { port, columns })
}

fn names(features: &Schema) -> String {
    let names: Vec<&str> = features.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}
