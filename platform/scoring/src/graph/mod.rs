//! A decoded and checked graph, before anything evaluates it.

mod check;
mod defaults;
mod distances;
mod growth;
pub(crate) mod neutral;
mod sequences;
mod tensor;
mod zip_map;

use std::collections::{BTreeMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType as TensorType;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto,
};
use tract_onnx::prelude::Framework;

use crate::error::ModelError;
use crate::limits::ScoringLimits;
use crate::signature::{ModelSignature, Port, PortKind};

/// Metadata key under which a model may carry the names of its features, separated by commas.
const FEATURE_NAMES_KEY: &str = "feature_names";

/// A model that passed every check which needs no evaluation.
///
/// Invariants: nodes come after what they read; every operator is one that this crate runs; every
/// constant's data is inside the file and as long as its dimensions say; every tree ensemble is
/// finite and in range; no `ZipMap` is left (its class names are in [`Graph::outputs`]).
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) proto: ModelProto,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) feature_names: Option<Vec<String>>,
    operators: BTreeMap<String, usize>,
}

impl Graph {
    pub(crate) fn read(model: &[u8], limits: &ScoringLimits) -> Result<Self, ModelError> {
        if model.len() > limits.model_bytes_max {
            return Err(ModelError::Limit {
                what: "the size of the model in bytes".to_owned(),
                found: model.len() as u64,
                limit: limits.model_bytes_max as u64,
            });
        }
        Self::of(decode(model)?, limits)
    }

    /// Checks a decoded model.
    pub(crate) fn of(mut proto: ModelProto, limits: &ScoringLimits) -> Result<Self, ModelError> {
        check::model(&proto, limits)?;
        let feature_names = proto
            .metadata_props
            .iter()
            .find(|entry| entry.key == FEATURE_NAMES_KEY)
            .map(|entry| entry.value.split(',').map(|name| name.trim().to_owned()).collect());
        let graph = proto.graph.as_mut().ok_or_else(|| ModelError::Malformed {
            problem: "the file holds no graph".to_owned(),
        })?;
        let operators = count_operators(graph);
        sequences::replace(graph)?;
        distances::replace(graph);
        defaults::write_out(graph);
        check::graph(graph, limits)?;
        let constants: HashSet<&str> =
            graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph
            .input
            .iter()
            .filter(|input| !constants.contains(input.name.as_str()))
            .map(input_port)
            .collect::<Result<Vec<_>, _>>()?;
        let classes = zip_map::replace(graph)?;
        neutral::replace(graph);
        let mut outputs: Vec<Port> = graph.output.iter().map(output_port).collect();
        for output in &mut outputs {
            if let Some(names) = classes.get(&output.name) {
                output.kind = PortKind::Float32;
                output.vector = false;
                output.width = Some(names.len());
                output.classes = Some(names.clone());
            }
        }
        // The declared types of the outputs have served their purpose; exporters get them wrong
        // often enough that the runtime should not be held to them.
        for output in &mut graph.output {
            output.r#type = None;
        }
        graph.value_info.clear();
        Ok(Self { proto, inputs, outputs, feature_names, operators })
    }

    pub(crate) fn signature(&self) -> ModelSignature {
        ModelSignature {
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            feature_names: self.feature_names.clone().filter(|_| self.inputs.len() == 1),
            operators: self.operators.clone(),
        }
    }

    /// Number of values in all constants, those of trees not counted.
    pub(crate) fn constant_values(&self) -> usize {
        let constants = self.proto.graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
        constants
            .iter()
            .filter_map(|constant| tensor::values(&constant.dims))
            .fold(0, usize::saturating_add)
    }

    pub(crate) fn nodes(&self) -> &[NodeProto] {
        self.proto.graph.as_ref().map_or(&[], |graph| &graph.node)
    }
}

/// Decodes the bytes of a model file.
pub(crate) fn decode(model: &[u8]) -> Result<ModelProto, ModelError> {
    tract_onnx::onnx()
        .proto_model_for_read(&mut &*model)
        .map_err(|error| ModelError::Malformed { problem: format!("{error:#}") })
}

/// Name by which a message refers to a node: its own, else that of its first output.
pub(crate) fn node_name(node: &NodeProto) -> String {
    if node.name.is_empty() {
        node.output.first().cloned().unwrap_or_else(|| "(unnamed)".to_owned())
    } else {
        node.name.clone()
    }
}

/// An error at a node.
pub(crate) fn node_error(node: &NodeProto, problem: impl Into<String>) -> ModelError {
    ModelError::Node {
        node: node_name(node),
        operator: node.op_type.clone(),
        problem: problem.into(),
    }
}

fn count_operators(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    operators
}

fn input_port(info: &ValueInfoProto) -> Result<Port, ModelError> {
    let refused = |problem: String| ModelError::Input {
        input: info.name.clone(),
        kind: "unknown".to_owned(),
        problem,
    };
    let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_ref().and_then(|declared| declared.value.as_ref())
    else {
        return Err(refused(
            "expected a tensor; export the model with tensor inputs instead of maps or sequences"
                .to_owned(),
        ));
    };
    let kind = port_kind(tensor.elem_type).ok_or_else(|| {
        refused(format!(
            "its values have ONNX type {}; expected float, double, int64, int32, bool or string, \
             so cast inside the model or export with one of these",
            tensor.elem_type
        ))
    })?;
    let dims: Vec<Option<usize>> = match &tensor.shape {
        None => vec![None, None],
        Some(shape) => shape.dim.iter().map(|dim| dim_value(dim.value.as_ref())).collect(),
    };
    match dims[..] {
        [_] => {
            Ok(Port { name: info.name.clone(), kind, width: Some(1), vector: true, classes: None })
        }
        [_, width] => {
            Ok(Port { name: info.name.clone(), kind, width, vector: false, classes: None })
        }
        _ => Err(refused(format!(
            "it has {} dimensions; expected one value or one row of values per customer, [N] or [N, F]",
            dims.len()
        ))),
    }
}

fn output_port(info: &ValueInfoProto) -> Port {
    let mut port = Port {
        name: info.name.clone(),
        kind: PortKind::Float32,
        width: None,
        vector: false,
        classes: None,
    };
    if let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_ref().and_then(|declared| declared.value.as_ref())
    {
        port.kind = port_kind(tensor.elem_type).unwrap_or(PortKind::Float32);
        if let Some(shape) = &tensor.shape {
            match &shape.dim[..] {
                [_] => {
                    port.vector = true;
                    port.width = Some(1);
                }
                [_, width] => port.width = dim_value(width.value.as_ref()),
                _ => {}
            }
        }
    }
    port
}

fn dim_value(value: Option<&dimension::Value>) -> Option<usize> {
    match value {
        Some(dimension::Value::DimValue(width)) if *width > 0 => usize::try_from(*width).ok(),
        _ => None,
    }
}

fn port_kind(elem_type: i32) -> Option<PortKind> {
    Some(match TensorType::try_from(elem_type).ok()? {
        TensorType::Float => PortKind::Float32,
        TensorType::Double => PortKind::Float64,
        TensorType::Int64 => PortKind::Int64,
        TensorType::Int32 => PortKind::Int32,
        TensorType::Bool => PortKind::Bool,
        TensorType::String => PortKind::String,
        _ => return None,
    })
}
