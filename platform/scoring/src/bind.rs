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
/// Of several inputs, those of one value take the column of their name without regard to case, and
/// matrices share what is left in the order of the SQL.
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
        several => self::several(several, features),
    }
}

/// Gives bound columns the values that stand for their nulls; every value must find its column.
pub(crate) fn defaults(
    inputs: &mut [BoundInput],
    declared: &NullDefaults,
    features: &Schema,
) -> Result<(), ModelError> {
    for name in declared.keys() {
        let mut columns = inputs.iter().flat_map(|input| &input.columns);
        if !columns.any(|column| column.name.eq_ignore_ascii_case(name)) {
            return Err(ModelError::NullDefault {
                column: name.clone(),
                problem: format!(
                    "the model reads no feature column of that name; the columns are {}",
                    names(features)
                ),
            });
        }
    }
    defaults_of_part(inputs, declared)
}

/// As [`defaults`] for a part of a model, which may read fewer columns than have a value.
pub(crate) fn defaults_of_part(
    inputs: &mut [BoundInput],
    declared: &NullDefaults,
) -> Result<(), ModelError> {
    // A column may stand in two places; a null of it is the same value in both.
    for column in inputs.iter_mut().flat_map(|input| &mut input.columns) {
        let own = declared.iter().find(|(name, _)| column.name.eq_ignore_ascii_case(name));
        let Some((_, default)) = own else { continue };
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
    bound(port, &[find(port, &port.name, features)?], features)
}

fn several(ports: &[Port], features: &Schema) -> Result<Vec<BoundInput>, ModelError> {
    let named = ports
        .iter()
        .map(|port| match port.width {
            Some(1) => Ok(vec![find(port, &port.name, features)?]),
            // Its width is open: one value when there is a column of its name.
            None => Ok(find(port, &port.name, features).into_iter().collect()),
            Some(_) => Ok(Vec::new()),
        })
        .collect::<Result<Vec<Vec<usize>>, ModelError>>()?;
    let left: Vec<usize> = (0..features.fields().len())
        .filter(|column| !named.iter().flatten().any(|taken| taken == column))
        .collect();
    let widths = matrix_widths(ports, &named, left.len())
        .map_err(|wanted| not_shared(ports, &named, &left, features, &wanted))?;
    let mut left = left.as_slice();
    ports
        .iter()
        .zip(&named)
        .zip(widths)
        .map(|((port, named), width)| {
            let (own, rest) = left.split_at(width);
            left = rest;
            bound(port, if named.is_empty() { own } else { named }, features)
        })
        .collect()
}

/// How many of the columns that no name takes go to each input; an error says how many are wanted.
fn matrix_widths(ports: &[Port], named: &[Vec<usize>], left: usize) -> Result<Vec<usize>, String> {
    let matrices = || ports.iter().zip(named).filter(|(_, named)| named.is_empty());
    let wanted: usize = matrices().filter_map(|(port, _)| port.width).sum();
    let open = matrices().filter(|(port, _)| port.width.is_none()).count();
    let spare = left.saturating_sub(wanted);
    match open {
        0 if matrices().next().is_none() => {}
        0 if wanted == left => {}
        1 if spare > 0 => {}
        0 => return Err(format!("{wanted}")),
        1 => return Err(format!("more than {wanted}")),
        _ => return Err("a fixed number of columns for all but one of them".to_owned()),
    }
    Ok(ports
        .iter()
        .zip(named)
        .map(|(port, named)| if named.is_empty() { port.width.unwrap_or(spare) } else { 0 })
        .collect())
}

fn not_shared(
    ports: &[Port],
    named: &[Vec<usize>],
    left: &[usize],
    features: &Schema,
    wanted: &str,
) -> ModelError {
    let matrices: Vec<&Port> = ports
        .iter()
        .zip(named)
        .filter(|(_, named)| named.is_empty())
        .map(|(port, _)| port)
        .collect();
    let inputs: Vec<String> =
        matrices.iter().map(|port| format!("`{}` {port}", port.name)).collect();
    let columns: Vec<&str> =
        left.iter().map(|&column| features.field(column).name().as_str()).collect();
    ModelError::Input {
        input: matrices[0].name.clone(),
        kind: matrices[0].to_string(),
        problem: format!(
            "the matrices {} share the feature columns that no other input is named after, in the order of the \
             SQL; expected {wanted}, found {} ({}); select exactly those columns, in that order",
            inputs.join(", "),
            left.len(),
            columns.join(", ")
        ),
    }
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn port(name: &str, kind: PortKind, width: Option<usize>) -> Port {
        Port { name: name.to_owned(), kind, width, vector: false, classes: None }
    }

    fn features(columns: &[(&str, DataType)]) -> Schema {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    fn shop() -> Schema {
        features(&[
            ("region", DataType::Utf8),
            ("spend", DataType::Float64),
            ("plan", DataType::Utf8),
            ("visits", DataType::Int64),
            ("tenure", DataType::Float64),
        ])
    }

    fn taken(bound: &[BoundInput]) -> Vec<Vec<&str>> {
        bound
            .iter()
            .map(|input| input.columns.iter().map(|column| column.name.as_str()).collect())
            .collect()
    }

    #[test]
    fn matrices_share_the_columns_that_no_input_is_named_after() {
        let ports = [
            port("numbers", PortKind::Float32, Some(3)),
            port("PLAN", PortKind::String, Some(1)),
            port("region", PortKind::String, None),
        ];
        let bound = inputs(&ports, None, &shop()).expect("five columns");
        assert_eq!(
            taken(&bound),
            [vec!["spend", "visits", "tenure"], vec!["plan"], vec!["region"]]
        );
    }

    #[test]
    fn a_matrix_of_open_width_takes_what_the_others_leave() {
        let ports = [port("a", PortKind::String, Some(1)), port("b", PortKind::Float32, None)];
        let columns = [("x", DataType::Float64), ("a", DataType::Utf8), ("y", DataType::Float64)];
        let bound = inputs(&ports, None, &features(&columns)).expect("bound");
        assert_eq!(taken(&bound), [vec!["a"], vec!["x", "y"]]);
        assert_eq!(bound[1].port.width, Some(2));
    }

    #[test]
    fn matrices_that_leave_columns_over_are_refused_with_the_columns() {
        let ports =
            [port("words", PortKind::String, Some(2)), port("numbers", PortKind::Float32, Some(2))];
        let error = inputs(&ports, None, &shop()).expect_err("one too many");
        assert_eq!(
            error.to_string(),
            "model input `words` (string[N, 2]): the matrices `words` string[N, 2], `numbers` float32[N, 2] share \
             the feature columns that no other input is named after, in the order of the SQL; expected 4, found 5 \
             (region, spend, plan, visits, tenure); select exactly those columns, in that order"
        );
    }

    #[test]
    fn a_matrix_in_the_wrong_order_is_refused_by_the_types() {
        let ports =
            [port("words", PortKind::String, Some(2)), port("numbers", PortKind::Float32, Some(3))];
        let error = inputs(&ports, None, &shop()).expect_err("spend is no string");
        assert!(
            error.to_string().contains("feature column `spend` (Float64) cannot feed"),
            "{error}"
        );
    }
}
