//! Writes out what the specification leaves to defaults and the runtime takes otherwise.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Recurrent operators and the inputs that hold their states before the first step.
const RECURRENT: [(&str, &[usize]); 3] = [("GRU", &[5]), ("LSTM", &[5, 6]), ("RNN", &[5])];
/// Most hidden values of a recurrent operator; beyond it the checks find nothing useful anyway.
const HIDDEN_MAX: i64 = 1024 * 1024;

/// Gives `ConstantOfShape` its value (a 32-bit 0) and recurrent operators their first states (zeros).
pub(super) fn write_out(graph: &mut GraphProto) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        if node.op_type == "ConstantOfShape" && node.attribute.is_empty() {
            node.attribute.push(float_zero());
        }
        if let Some((_, states)) = RECURRENT.iter().find(|(name, _)| *name == node.op_type) {
            first_states(&mut node, states, graph, &mut nodes);
        }
        nodes.push(node);
    }
    graph.node = nodes;
}

fn float_zero() -> AttributeProto {
    AttributeProto {
        name: "value".to_owned(),
        r#type: AttributeType::Tensor.into(),
        t: Some(TensorProto {
            dims: vec![1],
            data_type: DataType::Float.into(),
            float_data: vec![0.0],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    }
}

/// Computes zeros of shape `[directions, rows, hidden]` in front of a node that has no first states.
fn first_states(
    node: &mut NodeProto,
    states: &[usize],
    graph: &mut GraphProto,
    nodes: &mut Vec<NodeProto>,
) {
    let integer = |name: &str| {
        node.attribute.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.i)
    };
    let given = |place: &usize| node.input.get(*place).is_some_and(|name| !name.is_empty());
    let (Some(hidden), Some(sequence)) = (integer("hidden_size"), node.input.first().cloned())
    else {
        return;
    };
    if states.iter().any(given)
        || integer("layout").unwrap_or(0) != 0
        || !(1..=HIDDEN_MAX).contains(&hidden)
    {
        return;
    }
    let both = |attribute: &AttributeProto| {
        attribute.name == "direction" && attribute.s == b"bidirectional"
    };
    let directions = if node.attribute.iter().any(both) { 2 } else { 1 };
    let stem = format!(
        "{}.first_state",
        node.output.iter().find(|name| !name.is_empty()).map_or("", String::as_str)
    );
    let mut constant = |suffix: &str, value: i64| {
        let name = format!("{stem}.{suffix}");
        graph.initializer.push(TensorProto {
            name: name.clone(),
            dims: vec![1],
            data_type: DataType::Int64.into(),
            int64_data: vec![value],
            ..TensorProto::default()
        });
        name
    };
    // The sequence is `[steps, rows, features]`.
    let (rows_at, directions, hidden) =
        (constant("rows_at", 1), constant("directions", directions), constant("hidden", hidden));
    let mut add = |operator: &str, input: Vec<String>, attribute: Vec<AttributeProto>| {
        let name = format!("{stem}.{operator}");
        nodes.push(NodeProto {
            name: name.clone(),
            op_type: operator.to_owned(),
            input,
            output: vec![name.clone()],
            attribute,
            ..NodeProto::default()
        });
        name
    };
    let first_axis = AttributeProto {
        name: "axis".to_owned(),
        r#type: AttributeType::Int.into(),
        ..AttributeProto::default()
    };
    let shape = add("Shape", vec![sequence], vec![]);
    let rows = add("Gather", vec![shape, rows_at], vec![first_axis.clone()]);
    let shape = add("Concat", vec![directions, rows, hidden], vec![first_axis]);
    let zeros = add("ConstantOfShape", vec![shape], vec![float_zero()]);
    for place in states {
        while node.input.len() <= *place {
            node.input.push(String::new());
        }
        node.input[*place].clone_from(&zeros);
    }
}
