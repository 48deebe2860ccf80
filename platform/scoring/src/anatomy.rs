//! What a model is made of, for a person who wants to see it before it runs.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tract_onnx::pb::tensor_proto::DataType as TensorType;
use tract_onnx::pb::{GraphProto, TensorProto};

use crate::classes;
use crate::error::ModelError;
use crate::graph::{Graph, node_name};
use crate::limits::ScoringLimits;
use crate::ops;
use crate::signature::ModelSignature;
use crate::trees;

/// Everything about a model that can be told without feature columns.
#[derive(Debug, Clone, Serialize)]
pub struct Anatomy {
    /// Inputs, outputs and the features that the model names.
    #[serde(flatten)]
    pub signature: ModelSignature,
    /// Labels of a classifier in the order of its scores, where the graph carries them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Size of the file.
    pub bytes: usize,
    /// Program that wrote it, with its version where the file says so.
    pub producer: String,
    /// Version of each operator set by domain.
    pub operator_sets: BTreeMap<String, i64>,
    /// Operators in alphabetical order.
    pub operator_uses: Vec<OperatorUse>,
    /// Tree ensembles in the order of the graph.
    pub ensembles: Vec<EnsembleShape>,
    /// Number of values in all constants, those of trees not counted.
    pub constant_values: usize,
    /// What is allowed and yet probably not meant.
    pub warnings: Vec<String>,
    /// Nodes in the order of the graph; left out of JSON, where a large graph would drown the rest.
    #[serde(skip)]
    pub nodes: Vec<NodeView>,
}

/// An operator and who runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorUse {
    /// Name.
    pub name: String,
    /// Number of nodes.
    pub count: usize,
    /// Whether this crate implements it; otherwise tract does.
    pub native: bool,
}

/// Size of a tree ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnsembleShape {
    /// Name of its node.
    pub node: String,
    /// Number of trees.
    pub trees: usize,
    /// Number of leaves of all trees.
    pub leaves: usize,
    /// Most leaves of one tree.
    pub leaves_max: usize,
    /// Most comparisons between a root and a leaf.
    pub depth_max: usize,
    /// Largest feature index that is compared, plus one.
    pub features: usize,
    /// Scores per row.
    pub targets: usize,
    /// Kernel that runs batches of it on this machine.
    pub kernel: String,
}

/// A node of the graph.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its name, or that of its first output.
    pub name: String,
    /// Operator.
    pub operator: String,
    /// Positions of the nodes whose results it reads.
    pub reads: Vec<usize>,
    /// Positions of the graph's inputs that it reads.
    pub inputs: Vec<usize>,
    /// Positions of the graph's outputs that it gives.
    pub outputs: Vec<usize>,
}

/// Takes a model apart without compiling it.
///
/// # Errors
/// [`ModelError`] as for [`crate::inspect`].
pub fn anatomy(model: &[u8], limits: &ScoringLimits) -> Result<Anatomy, ModelError> {
    let graph = Graph::read(model, limits)?;
    let signature = graph.signature();
    let ensembles = graph
        .nodes()
        .iter()
        .filter(|node| trees::is_ensemble(&node.op_type))
        .map(|node| {
            let model = trees::read(node)?;
            Ok(model.shape(node_name(node)))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    Ok(Anatomy {
        classes: classes::of(&graph),
        bytes: model.len(),
        producer: format!("{} {}", graph.proto.producer_name, graph.proto.producer_version)
            .trim()
            .to_owned(),
        operator_sets: graph
            .proto
            .opset_import
            .iter()
            .map(|import| {
                let domain = if import.domain.is_empty() { "ai.onnx" } else { &import.domain };
                (domain.to_owned(), import.version)
            })
            .collect(),
        operator_uses: operator_uses(&signature.operators),
        ensembles,
        constant_values: graph.constant_values(),
        warnings: warnings(&graph, &signature),
        nodes: graph.proto.graph.as_ref().map_or_else(Vec::new, |proto| views(proto, &signature)),
        signature,
    })
}

/// Who runs each operator: this crate where its front end differs from tract's own.
fn operator_uses(operators: &BTreeMap<String, usize>) -> Vec<OperatorUse> {
    let (ours, stock) = (ops::register(), tract_onnx::onnx().op_register);
    operators
        .iter()
        .map(|(name, count)| OperatorUse {
            name: name.clone(),
            count: *count,
            native: match (ours.0.get(name), stock.0.get(name)) {
                (Some(ours), Some(stock)) => !std::ptr::fn_addr_eq(*ours, *stock),
                _ => true,
            },
        })
        .collect()
}

fn warnings(graph: &Graph, signature: &ModelSignature) -> Vec<String> {
    let mut warnings = Vec::new();
    let constants = graph.proto.graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
    for constant in constants.iter().filter(|constant| holds_nan(constant)) {
        warnings.push(format!(
            "constant `{}` holds NaN; the training may have diverged, so look at the scores of a few customers",
            constant.name
        ));
    }
    if let [input] = &signature.inputs[..] {
        if let (Some(names), Some(width)) = (&signature.feature_names, input.width)
            && names.len() != width
        {
            warnings.push(format!(
                "its metadata names {} features and input `{}` takes {width}; such a model is refused, \
                 so correct `feature_names`",
                names.len(),
                input.name
            ));
        }
        if signature.feature_names.is_none() && input.width != Some(1) {
            warnings.push(format!(
                "input `{}` takes its columns in the order of features.sql, because the metadata names no \
                 `feature_names`; a query with another order scores wrongly and in silence",
                input.name
            ));
        }
    }
    warnings
}

fn holds_nan(tensor: &TensorProto) -> bool {
    if tensor.data_type == TensorType::Float as i32 {
        let (raw, _) = tensor.raw_data.as_chunks::<4>();
        raw.iter().any(|value| f32::from_le_bytes(*value).is_nan())
            || tensor.float_data.iter().any(|value| value.is_nan())
    } else if tensor.data_type == TensorType::Double as i32 {
        let (raw, _) = tensor.raw_data.as_chunks::<8>();
        raw.iter().any(|value| f64::from_le_bytes(*value).is_nan())
            || tensor.double_data.iter().any(|value| value.is_nan())
    } else {
        false
    }
}

fn views(graph: &GraphProto, signature: &ModelSignature) -> Vec<NodeView> {
    let inputs: HashMap<&str, usize> = signature
        .inputs
        .iter()
        .enumerate()
        .map(|(position, port)| (port.name.as_str(), position))
        .collect();
    let mut makers: HashMap<&str, usize> = HashMap::new();
    let mut views = Vec::with_capacity(graph.node.len());
    for (position, node) in graph.node.iter().enumerate() {
        let read = || node.input.iter().map(String::as_str);
        views.push(NodeView {
            name: node_name(node),
            operator: node.op_type.clone(),
            reads: read().filter_map(|name| makers.get(name).copied()).collect(),
            inputs: read().filter_map(|name| inputs.get(name).copied()).collect(),
            outputs: signature
                .outputs
                .iter()
                .enumerate()
                .filter(|(_, port)| node.output.contains(&port.name))
                .map(|(position, _)| position)
                .collect(),
        });
        makers.extend(node.output.iter().map(|output| (output.as_str(), position)));
    }
    views
}
