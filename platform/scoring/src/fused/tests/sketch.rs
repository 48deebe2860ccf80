//! Graphs built by hand.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use crate::graph::Graph;
use crate::limits::ScoringLimits;

/// A graph in the making. Each node's first output is its number, `v0`, `v1`, ….
#[derive(Debug, Clone, Default)]
pub(super) struct Sketch {
    graph: GraphProto,
}

pub(super) enum Attribute {
    Float(f32),
    Floats(Vec<f32>),
    Integer(i64),
    Integers(Vec<i64>),
    Text(&'static str),
    Texts(Vec<String>),
}

impl Sketch {
    pub(super) fn input(&mut self, name: &str, kind: DataType, width: i64) -> String {
        let dimension = |value| Dimension { value, ..Dimension::default() };
        let shape = TensorShapeProto {
            dim: vec![dimension(None), dimension(Some(dimension::Value::DimValue(width)))],
        };
        let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(shape) };
        let declared = TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        };
        self.graph.input.push(ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(declared),
            ..ValueInfoProto::default()
        });
        name.to_owned()
    }

    pub(super) fn floats(&mut self, dims: &[usize], values: Vec<f32>) -> String {
        self.constant(
            dims,
            TensorProto {
                data_type: DataType::Float as i32,
                float_data: values,
                ..TensorProto::default()
            },
        )
    }

    pub(super) fn integers(&mut self, dims: &[usize], values: Vec<i64>) -> String {
        self.constant(
            dims,
            TensorProto {
                data_type: DataType::Int64 as i32,
                int64_data: values,
                ..TensorProto::default()
            },
        )
    }

    fn constant(&mut self, dims: &[usize], tensor: TensorProto) -> String {
        let name = format!("c{}", self.graph.initializer.len());
        let dims = dims.iter().map(|dim| i64::try_from(*dim).expect("small")).collect();
        self.graph.initializer.push(TensorProto { name: name.clone(), dims, ..tensor });
        name
    }

    pub(super) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> String {
        let first = format!("v{}", self.graph.node.len());
        let second = format!("{first}_scores");
        let outputs = if operator.ends_with("Classifier") {
            vec![first.clone(), second]
        } else {
            vec![first.clone()]
        };
        self.graph.node.push(NodeProto {
            op_type: operator.to_owned(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: outputs,
            attribute: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
            ..NodeProto::default()
        });
        first
    }

    pub(super) fn output(&mut self, name: &str) {
        self.graph
            .output
            .push(ValueInfoProto { name: name.to_owned(), ..ValueInfoProto::default() });
    }

    pub(super) fn graph(self) -> Graph {
        let set = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![set("", 18), set("ai.onnx.ml", 3)],
            graph: Some(GraphProto { name: "sketch".to_owned(), ..self.graph }),
            ..ModelProto::default()
        };
        Graph::of(model, &ScoringLimits::default()).expect("a sound graph")
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    // Numbers of the types in the protocol buffer.
    let base = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Float(f) => AttributeProto { r#type: 1, f, ..base },
        Attribute::Integer(i) => AttributeProto { r#type: 2, i, ..base },
        Attribute::Text(text) => AttributeProto { r#type: 3, s: text.into(), ..base },
        Attribute::Floats(floats) => AttributeProto { r#type: 6, floats, ..base },
        Attribute::Integers(ints) => AttributeProto { r#type: 7, ints, ..base },
        Attribute::Texts(texts) => {
            let strings = texts.into_iter().map(String::into_bytes).collect();
            AttributeProto { r#type: 8, strings, ..base }
        }
    }
}
