//! From which feature column each value of a tensor comes.

use std::collections::HashMap;

use tract_onnx::pb::{NodeProto, TensorProto};

use crate::graph::Graph;

/// Operators that compute each value from the values at its place.
const ELEMENTWISE: [&str; 41] = [
    "Abs",
    "Add",
    "And",
    "Binarizer",
    "Cast",
    "Ceil",
    "Clip",
    "Div",
    "Dropout",
    "Equal",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Imputer",
    "IsInf",
    "IsNaN",
    "LabelEncoder",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Reciprocal",
    "Relu",
    "Reshape",
    "Round",
    "Scaler",
    "Sigmoid",
    "Sign",
    "Sqrt",
    "Squeeze",
];
/// As [`ELEMENTWISE`], the rest of the alphabet.
const ELEMENTWISE_TOO: [&str; 6] = ["Sub", "Tanh", "Unsqueeze", "Where", "Xor", "Softplus"];

/// Where the values of each row of a tensor come from; `None` stands for a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lineage {
    /// All from one feature column, however many they are.
    Uniform(Option<usize>),
    /// One feature column for each value.
    Values(Vec<Option<usize>>),
    /// Some value comes from several feature columns.
    Mixed,
}

impl Lineage {
    pub(super) fn of_columns(columns: Vec<Option<usize>>) -> Self {
        match columns[..] {
            [one] => Self::Uniform(one),
            _ => Self::Values(columns),
        }
    }

    /// The column behind each of `width` values, `None` when they are mixed or their number differs.
    pub(super) fn columns(&self, width: usize) -> Option<Vec<Option<usize>>> {
        match self {
            Self::Uniform(column) => Some(vec![*column; width]),
            Self::Values(columns) if columns.len() == width => Some(columns.clone()),
            _ => None,
        }
    }

    /// What an operation on both gives, value by value.
    fn with(&self, other: &Self) -> Self {
        let merge = |left: Option<usize>, right: Option<usize>| match (left, right) {
            (None, column) | (column, None) => Some(column),
            (Some(left), Some(right)) => (left == right).then_some(Some(left)),
        };
        let values = match (self, other) {
            (Self::Uniform(left), Self::Uniform(right)) => {
                return merge(*left, *right).map_or(Self::Mixed, Self::Uniform);
            }
            (Self::Values(many), Self::Uniform(one)) | (Self::Uniform(one), Self::Values(many)) => {
                many.iter().map(|column| merge(*column, *one)).collect()
            }
            (Self::Values(left), Self::Values(right)) if left.len() == right.len() => {
                left.iter().zip(right).map(|(left, right)| merge(*left, *right)).collect()
            }
            _ => None,
        };
        values.map_or(Self::Mixed, Self::Values)
    }
}

/// Tensors whose widths [`trace`] has to know: the parts of a concatenation and of a split.
pub(super) fn asks_width(graph: &Graph) -> Vec<String> {
    let constants = constants(graph);
    let mut names: Vec<String> = Vec::new();
    for node in graph.nodes() {
        let asked = match node.op_type.as_str() {
            "Concat" | "FeatureVectorizer" => &node.input,
            "Split" => &node.output,
            _ => continue,
        };
        names.extend(asked.iter().filter(|name| !constants.contains_key(name.as_str())).cloned());
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// The lineage of every tensor of a graph, from that of its inputs. What cannot be followed is mixed.
pub(super) fn trace(
    graph: &Graph,
    inputs: HashMap<String, Lineage>,
    widths: &HashMap<String, usize>,
) -> HashMap<String, Lineage> {
    let constants = constants(graph);
    let mut known = inputs;
    known.extend(constants.keys().map(|name| ((*name).to_owned(), Lineage::Uniform(None))));
    for node in graph.nodes() {
        let inputs: Vec<Lineage> = node
            .input
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| known.get(name).cloned().unwrap_or(Lineage::Mixed))
            .collect();
        let outputs = of_node(node, &inputs, widths, &constants);
        for (name, lineage) in node.output.iter().zip(outputs) {
            known.insert(name.clone(), lineage);
        }
    }
    known
}

fn of_node(
    node: &NodeProto,
    inputs: &[Lineage],
    widths: &HashMap<String, usize>,
    constants: &HashMap<&str, &TensorProto>,
) -> Vec<Lineage> {
    let all = || inputs.iter().fold(Lineage::Uniform(None), |all, input| all.with(input));
    let operator = node.op_type.as_str();
    let lone = match operator {
        // The shape of a tensor depends on no value.
        "Shape" | "Constant" => Lineage::Uniform(None),
        _ if ELEMENTWISE.contains(&operator) || ELEMENTWISE_TOO.contains(&operator) => all(),
        "Concat" | "FeatureVectorizer" => join(node, inputs, widths, constants),
        "ArrayFeatureExtractor" | "Gather" => pick(node, inputs, constants),
        "Split" => return split(node, &inputs[0], widths),
        _ => match all() {
            Lineage::Uniform(column) => Lineage::Uniform(column),
            _ => Lineage::Mixed,
        },
    };
    vec![lone; node.output.len()]
}

fn axis(node: &NodeProto, default: i64) -> i64 {
    node.get_attr_opt::<i64>("axis").ok().flatten().unwrap_or(default)
}

fn join(
    node: &NodeProto,
    inputs: &[Lineage],
    widths: &HashMap<String, usize>,
    constants: &HashMap<&str, &TensorProto>,
) -> Lineage {
    if node.op_type == "Concat" && !matches!(axis(node, 1), 1 | -1) {
        return Lineage::Mixed;
    }
    let parts = node.input.iter().zip(inputs).map(|(name, lineage)| {
        let constant = constants
            .get(name.as_str())
            .map(|tensor| tensor.dims.iter().skip(1).product::<i64>().try_into().unwrap_or(0));
        lineage.columns(constant.or_else(|| widths.get(name).copied())?)
    });
    parts
        .collect::<Option<Vec<_>>>()
        .map_or(Lineage::Mixed, |parts| Lineage::of_columns(parts.concat()))
}

fn pick(node: &NodeProto, inputs: &[Lineage], constants: &HashMap<&str, &TensorProto>) -> Lineage {
    let Some(Lineage::Values(columns)) = inputs.first() else {
        return inputs.first().cloned().unwrap_or(Lineage::Mixed);
    };
    if node.op_type == "Gather" && !matches!(axis(node, 0), 1 | -1) {
        return Lineage::Mixed;
    }
    let picked = node.input.get(1).and_then(|name| constants.get(name.as_str()));
    let picked = picked.and_then(|tensor| integers(tensor)).and_then(|indices| {
        indices
            .into_iter()
            .map(|index| columns.get(usize::try_from(index).ok()?).copied())
            .collect::<Option<Vec<_>>>()
    });
    picked.map_or(Lineage::Mixed, Lineage::of_columns)
}

fn split(node: &NodeProto, input: &Lineage, widths: &HashMap<String, usize>) -> Vec<Lineage> {
    let mut start = 0;
    let along = matches!(axis(node, 0), 1 | -1);
    node.output
        .iter()
        .map(|name| {
            let Lineage::Values(columns) = input else { return input.clone() };
            let part = widths.get(name).and_then(|width| columns.get(start..start + width));
            start += widths.get(name).copied().unwrap_or(0);
            match part {
                Some(part) if along => Lineage::of_columns(part.to_vec()),
                _ => Lineage::Mixed,
            }
        })
        .collect()
}

fn constants(graph: &Graph) -> HashMap<&str, &TensorProto> {
    let mut constants: HashMap<&str, &TensorProto> = HashMap::new();
    if let Some(graph) = &graph.proto.graph {
        constants.extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)));
    }
    for node in graph.nodes().iter().filter(|node| node.op_type == "Constant") {
        let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref());
        if let (Some(name), Some(value)) = (node.output.first(), value) {
            constants.insert(name, value);
        }
    }
    constants
}

/// The values of a constant of 64-bit integers.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != tract_onnx::pb::tensor_proto::DataType::Int64 as i32 {
        return None;
    }
    if tensor.raw_data.is_empty() {
        return Some(tensor.int64_data.clone());
    }
    let (values, _) = tensor.raw_data.as_chunks::<8>();
    Some(values.iter().map(|value| i64::from_le_bytes(*value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_column_stay_apart_from_those_of_another() {
        let both = Lineage::Values(vec![Some(0), Some(1)]);
        assert_eq!(both.with(&Lineage::Uniform(None)), both);
        assert_eq!(both.with(&both), both);
        assert_eq!(both.with(&Lineage::Uniform(Some(0))), Lineage::Mixed);
        assert_eq!(both.with(&Lineage::Values(vec![None, Some(1)])), both);
        let one = Lineage::Uniform(Some(3));
        assert_eq!(one.columns(2), Some(vec![Some(3); 2]));
        assert_eq!(one.with(&Lineage::Uniform(Some(3))), one);
        assert_eq!(one.with(&Lineage::Uniform(Some(4))), Lineage::Mixed);
    }
}
