//! `ZipMap` turns a score matrix into one dictionary per row. Columns need only its class names,
//! so the node becomes an identity and the names move to the output.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::node_error;
use crate::error::ModelError;

/// Operator name.
const ZIP_MAP: &str = "ZipMap";

/// Replaces every `ZipMap` and returns the class names by output.
pub(super) fn replace(graph: &mut GraphProto) -> Result<HashMap<String, Vec<String>>, ModelError> {
    let mut classes = HashMap::new();
    for node in &mut graph.node {
        if node.op_type != ZIP_MAP {
            continue;
        }
        let names = class_names(node)?;
        let [output] = &node.output[..] else {
            return Err(node_error(
                node,
                format!("expected one output, found {}", node.output.len()),
            ));
        };
        classes.insert(output.clone(), names);
        "Identity".clone_into(&mut node.op_type);
        node.domain.clear();
        node.attribute.clear();
    }
    for node in &graph.node {
        if let Some(read) = node.input.iter().find(|input| classes.contains_key(*input)) {
            return Err(node_error(
                node,
                format!(
                    "it reads `{read}`, a sequence of dictionaries made by a ZipMap; expected a tensor, \
                     so export the classifier with `options={{'zipmap': False}}`"
                ),
            ));
        }
    }
    Ok(classes)
}

fn class_names(node: &NodeProto) -> Result<Vec<String>, ModelError> {
    let read = |error: tract_onnx::prelude::TractError| node_error(node, format!("{error:#}"));
    let strings = node.get_attr_opt_vec::<String>("classlabels_strings").map_err(read)?;
    let integers = node.get_attr_opt_vec::<i64>("classlabels_int64s").map_err(read)?;
    let names: Vec<String> = match (strings, integers) {
        (Some(names), _) if !names.is_empty() => names,
        (_, Some(labels)) => labels.iter().map(i64::to_string).collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return Err(node_error(
            node,
            "it has no class labels; expected classlabels_strings or classlabels_int64s",
        ));
    }
    Ok(names)
}
