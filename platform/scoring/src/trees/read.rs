//! From the attributes of a node to a checked model.

use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::{TractError, TractResult};

use super::finish::{Aggregate, Finish};
use super::structure::Ensemble;
use super::{Attributes, Model};
use crate::error::ModelError;
use crate::graph::node_error;
use crate::scores::{Labels, PostTransform};

/// Reads and checks a `TreeEnsembleClassifier` or `TreeEnsembleRegressor`.
pub(crate) fn read(node: &NodeProto) -> Result<Model, ModelError> {
    let refused = |problem: String| node_error(node, problem);
    let malformed = |error: TractError| node_error(node, format!("{error:#}"));
    let labels = if node.op_type == "TreeEnsembleClassifier" {
        Some(labels(node).map_err(malformed)?)
    } else {
        None
    };
    let attributes = attributes(node, labels.as_ref()).map_err(malformed)?.map_err(refused)?;
    let base = floats(node, "base_values").map_err(malformed)?.map_err(refused)?;
    if !(base.len() <= 1 || base.len() == attributes.targets) {
        return Err(refused(format!(
            "base_values has {} entries; expected none, 1 or {}",
            base.len(),
            attributes.targets
        )));
    }
    let post = node.get_attr_opt::<&str>("post_transform").map_err(malformed)?.unwrap_or("NONE");
    let post = PostTransform::parse(post).ok_or_else(|| {
        refused(format!("post_transform is `{post}`; expected one of the specification"))
    })?;
    let aggregate =
        node.get_attr_opt::<&str>("aggregate_function").map_err(malformed)?.unwrap_or("SUM");
    let aggregate = Aggregate::parse(aggregate).ok_or_else(|| {
        refused(format!("aggregate_function is `{aggregate}`; expected SUM, AVERAGE, MIN or MAX"))
    })?;
    let ensemble = Ensemble::check(&attributes).map_err(refused)?;
    let finish = match labels {
        Some(labels) => Finish::classifier(&ensemble, labels, base, post),
        None => Finish::regressor(&ensemble, aggregate, base, post),
    };
    Ok(Model::new(ensemble, finish))
}

fn labels(node: &NodeProto) -> TractResult<Labels> {
    let strings = node.get_attr_opt_vec::<String>("classlabels_strings")?.unwrap_or_default();
    if !strings.is_empty() {
        return Ok(Labels::Strings(strings));
    }
    Ok(Labels::Integers(node.get_attr_opt_vec("classlabels_int64s")?.unwrap_or_default()))
}

fn attributes(
    node: &NodeProto,
    labels: Option<&Labels>,
) -> TractResult<Result<Attributes, String>> {
    let prefix = if labels.is_some() { "class" } else { "target" };
    let (values, weights) =
        match (floats(node, "nodes_values")?, floats(node, &format!("{prefix}_weights"))?) {
            (Ok(values), Ok(weights)) => (values, weights),
            (Err(problem), _) | (_, Err(problem)) => return Ok(Err(problem)),
        };
    Ok(Ok(Attributes {
        tree_ids: node.get_attr_vec("nodes_treeids")?,
        node_ids: node.get_attr_vec("nodes_nodeids")?,
        feature_ids: node.get_attr_vec("nodes_featureids")?,
        modes: node.get_attr_vec("nodes_modes")?,
        values,
        true_ids: node.get_attr_vec("nodes_truenodeids")?,
        false_ids: node.get_attr_vec("nodes_falsenodeids")?,
        missing_true: node.get_attr_opt_vec("nodes_missing_value_tracks_true")?.unwrap_or_default(),
        weight_tree_ids: node.get_attr_vec(&format!("{prefix}_treeids"))?,
        weight_node_ids: node.get_attr_vec(&format!("{prefix}_nodeids"))?,
        weight_targets: node.get_attr_vec(&format!("{prefix}_ids"))?,
        weights,
        targets: match labels {
            Some(labels) => labels.len(),
            None => node.get_attr_opt::<usize>("n_targets")?.unwrap_or(1),
        },
    }))
}

/// A list of floats, or the tensor that operator set 3 allows in its place.
fn floats(node: &NodeProto, name: &str) -> TractResult<Result<Vec<f32>, String>> {
    if let Some(listed) = node.get_attr_opt_vec::<f32>(name)?
        && !listed.is_empty()
    {
        return Ok(Ok(listed));
    }
    let name = format!("{name}_as_tensor");
    Ok(match node.get_attr_opt::<&TensorProto>(&name)? {
        None => Ok(Vec::new()),
        Some(tensor) => tensor_floats(tensor).map_err(|problem| format!("{name}: {problem}")),
    })
}

fn tensor_floats(tensor: &TensorProto) -> Result<Vec<f32>, String> {
    use tract_onnx::pb::tensor_proto::DataType;
    if tensor.data_type == DataType::Float as i32 {
        if tensor.raw_data.is_empty() {
            return Ok(tensor.float_data.clone());
        }
        let (chunks, _) = tensor.raw_data.as_chunks::<4>();
        return Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect());
    }
    if tensor.data_type != DataType::Double as i32 {
        return Err("expected float or double values".to_owned());
    }
    let doubles = if tensor.raw_data.is_empty() {
        tensor.double_data.clone()
    } else {
        let (chunks, _) = tensor.raw_data.as_chunks::<8>();
        chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
    };
    // Rounding a threshold would move rows across it.
    doubles
        .into_iter()
        .map(|double| {
            #[allow(clippy::cast_possible_truncation, reason = "checked in the next line")]
            let float = double as f32;
            if f64::from(float).to_bits() == double.to_bits() || double.is_nan() {
                Ok(float)
            } else {
                Err(format!("{double} is no 32-bit float; export the ensemble with float inputs"))
            }
        })
        .collect()
}
