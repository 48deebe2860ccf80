//! A product with 1 after trees, which converters of boosted classifiers write, passes its scores on
//! unchanged. As an identity it lets the ensemble be recognised as what it is.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, TensorProto};

/// Replaces every such product.
pub(super) fn replace(graph: &mut GraphProto) {
    // A matrix of one value could give vectors another rank.
    let ones = graph.initializer.iter().filter(|one| one.dims.len() <= 1 && is_one(one));
    let ones: HashSet<String> = ones.map(|one| one.name.clone()).collect();
    // Values that an ensemble gives, under every name that identities give them.
    let mut scores: HashSet<String> = HashSet::new();
    let mut readers: HashMap<String, String> = HashMap::new();
    for node in &graph.node {
        let from_trees = node.input.iter().any(|input| scores.contains(input));
        if node.op_type.starts_with("TreeEnsemble") || (node.op_type == "Identity" && from_trees) {
            scores.extend(node.output.iter().cloned());
        }
        if node.op_type == "Mul"
            && let ([a, b], [to]) = (&node.input[..], &node.output[..])
        {
            for (value, one) in [(a, b), (b, a)] {
                if scores.contains(value) && ones.contains(one) {
                    readers.insert(to.clone(), value.clone());
                    scores.insert(to.clone());
                }
            }
        }
    }
    for node in &mut graph.node {
        if let Some(value) = node.output.first().and_then(|output| readers.get(output)) {
            "Identity".clone_into(&mut node.op_type);
            node.input = vec![value.clone()];
        }
    }
}

/// Whether a constant is the single number 1, of any rank.
pub(crate) fn is_one(tensor: &TensorProto) -> bool {
    use tract_onnx::pb::tensor_proto::DataType;
    tensor.dims.iter().all(|dim| *dim == 1)
        && tensor.data_type == DataType::Float as i32
        && (tensor.float_data == [1.0] || tensor.raw_data[..] == 1f32.to_le_bytes())
}
