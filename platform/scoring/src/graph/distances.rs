//! Pairwise distances that a converter wrote as a loop.
//!
//! skl2onnx writes nearest neighbours, Gaussian processes and kernels as a `Scan` whose body takes one
//! row off a table at a time: subtract, square or take the magnitude, sum. Graphs inside graphs are
//! refused, since their cost cannot be bounded; these few bodies are recognised and become one
//! operator, `CDist`, whose cost is that of the two tables.

use std::collections::HashMap;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::tensor;

/// Nodes of the longest body that is looked at.
const BODY_NODES_MAX: usize = 8;

/// What a body sums over the features.
#[derive(Debug, PartialEq)]
enum Distance {
    Squares,
    Magnitudes,
    /// Magnitudes to a power, without the root at the end.
    Powers(f32),
}

/// Replaces every `Scan` that computes distances; leaves all others for the checks to refuse.
pub(super) fn replace(graph: &mut GraphProto) {
    let constants: HashMap<String, TensorProto> =
        graph.initializer.iter().map(|value| (value.name.clone(), value.clone())).collect();
    graph.node = std::mem::take(&mut graph.node)
        .into_iter()
        .flat_map(|node| match distance(&node, &constants) {
            Some(distance) => without_loop(&node, &distance),
            None => vec![node],
        })
        .collect();
}

fn distance(node: &NodeProto, constants: &HashMap<String, TensorProto>) -> Option<Distance> {
    if node.op_type != "Scan" || node.input.len() != 2 || node.output.len() != 2 {
        return None;
    }
    let mut body = None;
    for attribute in &node.attribute {
        match attribute.name.as_str() {
            "body" => body = attribute.g.as_ref(),
            "num_scan_inputs" if attribute.i == 1 => {}
            // Rows are taken from the first axis, forwards, and stacked so: the defaults.
            "scan_input_axes"
            | "scan_output_axes"
            | "scan_input_directions"
            | "scan_output_directions"
                if attribute.ints.iter().all(|value| *value == 0) => {}
            _ => return None,
        }
    }
    Body::read(body?, constants)?.distance()
}

/// A body that carries its first input through and makes one value per row of it.
struct Body<'a> {
    table: &'a str,
    row: &'a str,
    result: &'a str,
    makers: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Body<'a> {
    fn read(body: &'a GraphProto, outside: &'a HashMap<String, TensorProto>) -> Option<Self> {
        let ([table, row], [carried, result]) = (&body.input[..], &body.output[..]) else {
            return None;
        };
        if body.node.len() > BODY_NODES_MAX {
            return None;
        }
        let makers: HashMap<&str, &NodeProto> = body
            .node
            .iter()
            .filter_map(|node| match &node.output[..] {
                [output] => Some((output.as_str(), node)),
                _ => None,
            })
            .collect();
        let mut constants: HashMap<&str, &TensorProto> =
            outside.iter().map(|(name, value)| (name.as_str(), value)).collect();
        constants.extend(body.initializer.iter().map(|value| (value.name.as_str(), value)));
        let body =
            Self { table: &table.name, row: &row.name, result: &result.name, makers, constants };
        (body.origin(&carried.name) == body.table).then_some(body)
    }

    /// The name under which a value was made, before any `Identity`.
    fn origin(&self, name: &'a str) -> &'a str {
        let mut name = name;
        for _ in 0..BODY_NODES_MAX {
            match self.makers.get(name) {
                Some(node) if node.op_type == "Identity" && node.input.len() == 1 => {
                    name = &node.input[0];
                }
                _ => break,
            }
        }
        name
    }

    fn maker(&self, name: &'a str, operator: &str) -> Option<&'a NodeProto> {
        self.makers.get(self.origin(name)).copied().filter(|node| node.op_type == operator)
    }

    fn distance(&self) -> Option<Distance> {
        if let Some(sum) = self.maker(self.result, "ReduceSumSquare") {
            return (self.sums_features(sum) && self.is_difference(sum.input.first()?))
                .then_some(Distance::Squares);
        }
        let sum = self.maker(self.result, "ReduceSum")?;
        if !self.sums_features(sum) {
            return None;
        }
        if let Some(power) = self.maker(sum.input.first()?, "Pow") {
            let magnitude = self.maker(power.input.first()?, "Abs")?;
            let exponent = tensor::lone_float(self.constants.get(power.input.get(1)?.as_str())?)?;
            return (self.is_difference(magnitude.input.first()?) && exponent > 0.0)
                .then_some(Distance::Powers(exponent));
        }
        let magnitude = self.maker(sum.input.first()?, "Abs")?;
        self.is_difference(magnitude.input.first()?).then_some(Distance::Magnitudes)
    }

    /// Whether a reduction is over the second axis alone, which it drops.
    fn sums_features(&self, node: &NodeProto) -> bool {
        let drops =
            node.attribute.iter().any(|attribute| attribute.name == "keepdims" && attribute.i == 0);
        let listed = node.attribute.iter().find(|attribute| attribute.name == "axes");
        let axes = match (listed, node.input.get(1)) {
            (Some(attribute), None) => Some(attribute.ints.clone()),
            (None, Some(name)) => {
                self.constants.get(name.as_str()).and_then(|axes| tensor::integers(axes))
            }
            _ => None,
        };
        drops && axes.is_some_and(|axes| axes == [1] || axes == [-1])
    }

    fn is_difference(&self, name: &'a str) -> bool {
        let Some(node) = self.maker(name, "Sub") else { return false };
        let [left, right] = &node.input[..] else { return false };
        let sides = (self.origin(left), self.origin(right));
        sides == (self.table, self.row) || sides == (self.row, self.table)
    }
}

/// `CDist` gives one row per row of the carried table, the loop one per row of the scanned one.
fn without_loop(node: &NodeProto, distance: &Distance) -> Vec<NodeProto> {
    let by_table = format!("{}.distances", node.output[1]);
    let mut cdist = NodeProto {
        name: node.name.clone(),
        op_type: "CDist".to_owned(),
        input: node.input.clone(),
        output: vec![by_table.clone()],
        ..NodeProto::default()
    };
    let metric = match distance {
        Distance::Squares => "sqeuclidean",
        Distance::Magnitudes => "cityblock",
        Distance::Powers(exponent) => {
            cdist.attribute.push(AttributeProto {
                name: "exponent".to_owned(),
                r#type: AttributeType::Float.into(),
                f: *exponent,
                ..AttributeProto::default()
            });
            "powers"
        }
    };
    cdist.attribute.push(AttributeProto {
        name: "metric".to_owned(),
        r#type: AttributeType::String.into(),
        s: metric.as_bytes().to_vec(),
        ..AttributeProto::default()
    });
    let one_to_one = |operator: &str, from: &str, to: &str| NodeProto {
        name: format!("{to}.of_distances"),
        op_type: operator.to_owned(),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..NodeProto::default()
    };
    let mut nodes = vec![cdist];
    if !node.output[0].is_empty() {
        nodes.push(one_to_one("Identity", &node.input[0], &node.output[0]));
    }
    if !node.output[1].is_empty() {
        nodes.push(one_to_one("Transpose", &by_table, &node.output[1]));
    }
    nodes
}
