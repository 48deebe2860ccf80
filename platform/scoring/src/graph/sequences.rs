//! Sequences of tensors, as classifiers of several targets give them, become their items.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::{node_error, tensor};
use crate::error::ModelError;

/// Most items of one sequence.
const ITEMS_MAX: usize = 2_048;

/// Resolves `SequenceConstruct`, `SequenceAt` and `ConcatFromSequence`, and turns an output that is a
/// sequence into one output per item, `<output>_<item>`.
pub(super) fn replace(graph: &mut GraphProto) -> Result<(), ModelError> {
    let constants: HashMap<String, TensorProto> = graph
        .initializer
        .iter()
        .filter(|value| tensor::values(&value.dims) == Some(1))
        .map(|value| (value.name.clone(), value.clone()))
        .collect();
    let mut sequences: HashMap<String, Vec<String>> = HashMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        match node.op_type.as_str() {
            "SequenceConstruct" => {
                let [output] = &node.output[..] else {
                    return Err(node_error(&node, "expected one output; the file is damaged"));
                };
                if node.input.len() > ITEMS_MAX {
                    return Err(node_error(
                        &node,
                        format!("expected at most {ITEMS_MAX} items, found {}", node.input.len()),
                    ));
                }
                sequences.insert(output.clone(), node.input);
                continue;
            }
            "SequenceAt" => pick(&mut node, &sequences, &constants)?,
            "ConcatFromSequence" => concat(&mut node, &sequences)?,
            _ => {
                if let Some(read) = node.input.iter().find(|name| sequences.contains_key(*name)) {
                    let problem = format!(
                        "it reads the sequence `{read}`; expected a tensor, so export the estimators one by one"
                    );
                    return Err(node_error(&node, problem));
                }
            }
        }
        nodes.push(node);
    }
    graph.output = std::mem::take(&mut graph.output)
        .into_iter()
        .flat_map(|output| match sequences.get(&output.name) {
            None => vec![output],
            Some(items) => outputs(&output.name, items, &mut nodes),
        })
        .collect();
    graph.node = nodes;
    Ok(())
}

fn items<'a>(
    node: &NodeProto,
    sequences: &'a HashMap<String, Vec<String>>,
) -> Result<&'a Vec<String>, ModelError> {
    node.input.first().and_then(|name| sequences.get(name)).ok_or_else(|| {
        node_error(
            node,
            "it reads a sequence that no SequenceConstruct makes; export the model with tensor inputs",
        )
    })
}

/// `SequenceAt` with a fixed place.
fn pick(
    node: &mut NodeProto,
    sequences: &HashMap<String, Vec<String>>,
    constants: &HashMap<String, TensorProto>,
) -> Result<(), ModelError> {
    let items = items(node, sequences)?;
    let place = node.input.get(1).and_then(|name| constants.get(name)).and_then(tensor::integers);
    let Some([place]) = place.as_deref() else {
        return Err(node_error(
            node,
            "expected a fixed place in the sequence; export it as a constant",
        ));
    };
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_start = if *place < 0 { *place + count } else { *place };
    let item =
        usize::try_from(from_start).ok().and_then(|place| items.get(place)).ok_or_else(|| {
            node_error(node, format!("place {place} is outside of the sequence of {count} items"))
        })?;
    node.input = vec![item.clone()];
    "Identity".clone_into(&mut node.op_type);
    Ok(())
}

fn concat(
    node: &mut NodeProto,
    sequences: &HashMap<String, Vec<String>>,
) -> Result<(), ModelError> {
    let items = items(node, sequences)?.clone();
    let is_new = |attribute: &AttributeProto| attribute.name == "new_axis" && attribute.i != 0;
    if node.attribute.iter().any(is_new) {
        return Err(node_error(
            node,
            "it stacks its items along a new axis; expected them side by side, so export with new_axis=0",
        ));
    }
    node.attribute.retain(|attribute| attribute.name != "new_axis");
    node.input = items;
    "Concat".clone_into(&mut node.op_type);
    Ok(())
}

fn outputs(name: &str, items: &[String], nodes: &mut Vec<NodeProto>) -> Vec<ValueInfoProto> {
    let mut found = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let output = format!("{name}_{index}");
        nodes.push(NodeProto {
            name: format!("{output}.item"),
            op_type: "Identity".to_owned(),
            input: vec![item.clone()],
            output: vec![output.clone()],
            ..NodeProto::default()
        });
        found.push(ValueInfoProto { name: output, ..ValueInfoProto::default() });
    }
    found
}
