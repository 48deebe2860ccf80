//! From the attributes of a node to a checked model.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::{TractError, TractResult};

use super::Model;
use super::finish::{Aggregate, Finish};
use super::listed::Attributes;
use super::split::SplitAttributes;
use super::structure::Precision;
use crate::error::ModelError;
use crate::graph::node_error;
use crate::scores::{Labels, PostTransform};

/// Names of [`Aggregate`]s by the number that operator set 5 gives them.
const AGGREGATES: [&str; 4] = ["AVERAGE", "SUM", "MIN", "MAX"];
/// Transforms by the number that operator set 5 gives them, as ONNX Runtime counts them: the
/// specification has SOFTMAX before LOGISTIC.
const TRANSFORMS: [PostTransform; 5] = [
    PostTransform::None,
    PostTransform::Logistic,
    PostTransform::Softmax,
    PostTransform::SoftmaxZero,
    PostTransform::Probit,
];

/// Whether an operator is a tree ensemble that [`read`] understands.
pub(crate) fn is_ensemble(operator: &str) -> bool {
    matches!(operator, "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor")
}

/// Reads and checks a `TreeEnsemble`, `TreeEnsembleClassifier` or `TreeEnsembleRegressor`.
///
/// Its precision is that of its attributes; [`Model::for_double_input`] makes it that of the input.
pub(crate) fn read(node: &NodeProto) -> Result<Model, ModelError> {
    let model = match node.op_type.as_str() {
        "TreeEnsemble" => split_model(node),
        "TreeEnsembleClassifier" => {
            labels(node).and_then(|labels| listed_model(node, Some(labels)))
        }
        _ => listed_model(node, None),
    };
    model
        .map_err(|error: TractError| node_error(node, format!("{error:#}")))?
        .map_err(|problem| node_error(node, problem))
}

fn labels(node: &NodeProto) -> TractResult<Labels> {
    let strings = node.get_attr_opt_vec::<String>("classlabels_strings")?.unwrap_or_default();
    if !strings.is_empty() {
        return Ok(Labels::Strings(strings));
    }
    Ok(Labels::Integers(node.get_attr_opt_vec("classlabels_int64s")?.unwrap_or_default()))
}

/// A model of operator sets 1 to 4. The outer error is a missing or mistyped attribute.
fn listed_model(node: &NodeProto, labels: Option<Labels>) -> TractResult<Result<Model, String>> {
    let prefix = if labels.is_some() { "class" } else { "target" };
    let post = node.get_attr_opt::<&str>("post_transform")?.unwrap_or("NONE");
    let aggregate = node.get_attr_opt::<&str>("aggregate_function")?.unwrap_or("SUM");
    let values = reals(node, "nodes_values")?;
    let weights = reals(node, &format!("{prefix}_weights"))?;
    let base = reals(node, "base_values")?;
    let attributes = Attributes {
        tree_ids: node.get_attr_vec("nodes_treeids")?,
        node_ids: node.get_attr_vec("nodes_nodeids")?,
        feature_ids: node.get_attr_vec("nodes_featureids")?,
        modes: node.get_attr_vec("nodes_modes")?,
        values: vec![],
        true_ids: node.get_attr_vec("nodes_truenodeids")?,
        false_ids: node.get_attr_vec("nodes_falsenodeids")?,
        missing_true: node.get_attr_opt_vec("nodes_missing_value_tracks_true")?.unwrap_or_default(),
        weight_tree_ids: node.get_attr_vec(&format!("{prefix}_treeids"))?,
        weight_node_ids: node.get_attr_vec(&format!("{prefix}_nodeids"))?,
        weight_targets: node.get_attr_vec(&format!("{prefix}_ids"))?,
        weights: vec![],
        targets: match &labels {
            Some(labels) => labels.len(),
            None => node.get_attr_opt::<usize>("n_targets")?.unwrap_or(1),
        },
    };
    Ok((|| {
        let (values, weights, base) = (values?, weights?, base?);
        let precision = precision([&values, &weights, &base]);
        if !(base.values.len() <= 1 || base.values.len() == attributes.targets) {
            return Err(format!(
                "base_values has {} entries; expected none, 1 or {}",
                base.values.len(),
                attributes.targets
            ));
        }
        let post = PostTransform::parse(post).ok_or_else(|| {
            format!("post_transform is `{post}`; expected one of the specification")
        })?;
        let aggregate = aggregate_of(aggregate)?;
        let ensemble = Attributes { values: values.values, weights: weights.values, ..attributes }
            .check(precision)?;
        let finish = match labels {
            Some(labels) => Finish::classifier(&ensemble, labels, base.values, post),
            None => Finish::regressor(&ensemble, aggregate, base.values, post),
        };
        Ok(Model::new(ensemble, finish))
    })())
}

/// A model of operator set 5. The outer error is a missing or mistyped attribute.
fn split_model(node: &NodeProto) -> TractResult<Result<Model, String>> {
    let post = node.get_attr_opt::<i64>("post_transform")?.unwrap_or(0);
    let aggregate = node.get_attr_opt::<i64>("aggregate_function")?.unwrap_or(1);
    let tensor = |name: &str| node.get_attr_opt::<&TensorProto>(name);
    let splits = tensor_reals("nodes_splits", tensor("nodes_splits")?);
    let weights = tensor_reals("leaf_weights", tensor("leaf_weights")?);
    let members = tensor_reals("membership_values", tensor("membership_values")?);
    let modes = bytes("nodes_modes", tensor("nodes_modes")?);
    let attributes = SplitAttributes {
        roots: node.get_attr_vec("tree_roots")?,
        feature_ids: node.get_attr_vec("nodes_featureids")?,
        true_ids: node.get_attr_vec("nodes_truenodeids")?,
        true_leaves: node.get_attr_vec("nodes_trueleafs")?,
        false_ids: node.get_attr_vec("nodes_falsenodeids")?,
        false_leaves: node.get_attr_vec("nodes_falseleafs")?,
        missing_true: node.get_attr_opt_vec("nodes_missing_value_tracks_true")?.unwrap_or_default(),
        leaf_targets: node.get_attr_vec("leaf_targetids")?,
        targets: node.get_attr_opt::<usize>("n_targets")?.unwrap_or(1),
        ..SplitAttributes::default()
    };
    Ok((|| {
        let (splits, weights, members) = (splits?, weights?, members?);
        let precision = precision([&splits, &weights, &members]);
        let numbered = |number: i64| usize::try_from(number).ok();
        let post = *numbered(post)
            .and_then(|post| TRANSFORMS.get(post))
            .ok_or_else(|| format!("post_transform is {post}; expected 0 to 4"))?;
        let aggregate = numbered(aggregate)
            .and_then(|aggregate| AGGREGATES.get(aggregate))
            .ok_or_else(|| format!("aggregate_function is {aggregate}; expected 0 to 3"))?;
        let aggregate = aggregate_of(aggregate)?;
        let attributes = SplitAttributes {
            modes: modes?,
            splits: splits.values,
            leaf_weights: weights.values,
            members: members.values,
            ..attributes
        };
        let ensemble = attributes.check(precision)?;
        let finish = Finish::regressor(&ensemble, aggregate, vec![], post);
        let mut read = Model::new(ensemble, finish);
        read.gives_double = precision == Precision::Double;
        Ok(read)
    })())
}

fn aggregate_of(name: &str) -> Result<Aggregate, String> {
    Aggregate::parse(name)
        .ok_or_else(|| format!("aggregate_function is `{name}`; expected SUM, AVERAGE, MIN or MAX"))
}

/// Numbers of an attribute and whether they were given as doubles.
#[derive(Default)]
struct Reals {
    values: Vec<f64>,
    double: bool,
}

fn precision(attributes: [&Reals; 3]) -> Precision {
    if attributes.iter().any(|reals| reals.double) { Precision::Double } else { Precision::Single }
}

/// A list of floats, or the tensor that operator set 3 allows in its place.
fn reals(node: &NodeProto, name: &str) -> TractResult<Result<Reals, String>> {
    if let Some(listed) = node.get_attr_opt_vec::<f32>(name)?
        && !listed.is_empty()
    {
        return Ok(Ok(Reals { values: widened(&listed), double: false }));
    }
    let name = format!("{name}_as_tensor");
    Ok(tensor_reals(&name, node.get_attr_opt::<&TensorProto>(&name)?))
}

fn tensor_reals(name: &str, tensor: Option<&TensorProto>) -> Result<Reals, String> {
    let Some(tensor) = tensor else { return Ok(Reals::default()) };
    let raw = !tensor.raw_data.is_empty();
    if tensor.data_type == DataType::Float as i32 {
        let (chunks, _) = tensor.raw_data.as_chunks::<4>();
        let listed: Vec<f32> = if raw {
            chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
        } else {
            tensor.float_data.clone()
        };
        Ok(Reals { values: widened(&listed), double: false })
    } else if tensor.data_type == DataType::Double as i32 {
        let (chunks, _) = tensor.raw_data.as_chunks::<8>();
        let values = if raw {
            chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
        } else {
            tensor.double_data.clone()
        };
        Ok(Reals { double: !values.is_empty(), values })
    } else {
        Err(format!(
            "{name}: expected float or double values; export the ensemble again with one of them"
        ))
    }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// Small numbers that a tensor holds as bytes.
fn bytes(name: &str, tensor: Option<&TensorProto>) -> Result<Vec<i64>, String> {
    let Some(tensor) = tensor else { return Ok(vec![]) };
    if tensor.data_type != DataType::Uint8 as i32 {
        return Err(format!("{name}: expected a tensor of uint8"));
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.int32_data.iter().map(|value| i64::from(*value)).collect());
    }
    Ok(tensor.raw_data.iter().map(|value| i64::from(*value)).collect())
}
