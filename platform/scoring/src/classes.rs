//! The class labels of a classifier, wherever its graph carries them.

use tract_onnx::pb::tensor_proto::DataType as TensorType;
use tract_onnx::pb::{NodeProto, TensorProto};

use crate::graph::Graph;

/// Attributes that hold labels: classifiers, and what a classifier calls labels that are no strings.
const ATTRIBUTES: [&str; 2] = ["classlabels_int64s", "classlabels_ints"];
/// The operator with which exporters look a label up in a constant list.
const LOOK_UP: &str = "ArrayFeatureExtractor";

/// The labels, in the order of the scores; `None` for a model that decides between no classes, or
/// that names none.
pub(crate) fn of(graph: &Graph) -> Option<Vec<String>> {
    let of_outputs = graph.outputs.iter().find_map(|output| output.classes.clone());
    of_outputs
        .or_else(|| graph.nodes().iter().find_map(declared))
        .or_else(|| graph.nodes().iter().find_map(|node| looked_up(graph, node)))
}

/// Labels that a classifier declares as an attribute.
fn declared(node: &NodeProto) -> Option<Vec<String>> {
    let strings = node.get_attr_opt_vec::<String>("classlabels_strings").ok().flatten();
    let integers = ATTRIBUTES
        .iter()
        .find_map(|name| node.get_attr_opt_vec::<i64>(name).ok().flatten())
        .map(|labels| labels.iter().map(i64::to_string).collect());
    [strings, integers].into_iter().flatten().find(|labels: &Vec<String>| !labels.is_empty())
}

/// Labels that stand in a constant, from which the index of the greatest score picks one.
fn looked_up(graph: &Graph, node: &NodeProto) -> Option<Vec<String>> {
    if node.op_type != LOOK_UP {
        return None;
    }
    let list = node.input.first()?;
    let constants = &graph.proto.graph.as_ref()?.initializer;
    values(constants.iter().find(|constant| constant.name == *list)?)
}

/// The values of a list of integers or strings.
fn values(list: &TensorProto) -> Option<Vec<String>> {
    let texts: Vec<String> = if list.data_type == TensorType::String as i32 {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).ok();
        list.string_data.iter().map(text).collect::<Option<_>>()?
    } else if list.data_type == TensorType::Int64 as i32 {
        let (raw, _) = list.raw_data.as_chunks::<8>();
        let raw = raw.iter().map(|bytes| i64::from_le_bytes(*bytes));
        list.int64_data.iter().copied().chain(raw).map(|label| label.to_string()).collect()
    } else if list.data_type == TensorType::Int32 as i32 {
        let (raw, _) = list.raw_data.as_chunks::<4>();
        let raw = raw.iter().map(|bytes| i32::from_le_bytes(*bytes));
        list.int32_data.iter().copied().chain(raw).map(|label| label.to_string()).collect()
    } else {
        return None;
    };
    Some(texts).filter(|texts| !texts.is_empty())
}
