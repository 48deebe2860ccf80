//! A part of a model as a scorer of its own.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::DataType as TensorType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor as TensorInfo, Value as TypeValue};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

use crate::error::{ModelError, ScoreError};
use crate::graph::Graph;
use crate::limits::ScoringLimits;
use crate::scorer::{Scored, Scorer};
use crate::signature::PortKind;

/// First operator set in which `Slice` takes its bounds as inputs.
const SLICE_INPUTS_OPSET: i64 = 10;
/// Name of the input into which float inputs are merged.
const MERGED: &str = "cameo.merged";
/// `AttributeProto::type` of an integer.
const ATTRIBUTE_INT: i32 = 2;

/// An input of a part: the tensor that its nodes read, and the columns that make it.
#[derive(Debug, Clone)]
pub(super) struct PartInput {
    pub(super) tensor: String,
    pub(super) columns: Vec<String>,
    pub(super) kind: PortKind,
    pub(super) vector: bool,
}

/// A scorer over some columns of a batch.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) scorer: Scorer,
    /// The columns that the scorer takes, in its order.
    pub(super) columns: Vec<String>,
}

impl Part {
    /// Compiles nodes whose inputs are made from columns of `schema`.
    ///
    /// Several float inputs are merged into one matrix that the nodes take slices of: one pass lays
    /// all columns out. Other inputs become one input per column.
    pub(super) fn compile(
        model: &ModelProto,
        inputs: &[PartInput],
        body: Body,
        schema: &Schema,
        limits: &ScoringLimits,
    ) -> Result<Self, ModelError> {
        let opset = opset(model);
        let Body { nodes, constants, outputs } = body;
        let floats = inputs.iter().all(|input| input.kind == PortKind::Float32);
        let mut head = match inputs {
            [one] => Head::lone(one),
            several if floats && opset >= SLICE_INPUTS_OPSET => Head::merged(several),
            several => Head::scalars(several)?,
        };
        let graph = GraphProto {
            name: "part".to_owned(),
            node: head.nodes.into_iter().chain(nodes).collect(),
            initializer: head.constants.drain(..).chain(constants).collect(),
            input: head.inputs,
            output: outputs
                .into_iter()
                .map(|name| ValueInfoProto { name, ..ValueInfoProto::default() })
                .collect(),
            ..GraphProto::default()
        };
        let proto = ModelProto {
            ir_version: model.ir_version,
            opset_import: model.opset_import.clone(),
            graph: Some(graph),
            ..ModelProto::default()
        };
        let fields =
            head.columns.iter().map(|name| field(schema, name)).collect::<Result<Vec<_>, _>>()?;
        let graph = Graph::of(proto, limits)?;
        let scorer = Scorer::of(&graph, None, &Schema::new(fields), limits)?;
        Ok(Self { scorer, columns: head.columns })
    }

    /// Scores the part's columns of a batch.
    pub(super) fn score(&self, batch: &RecordBatch) -> Result<Scored, ScoreError> {
        let columns = self.columns.iter().map(|name| {
            batch.column_by_name(name).cloned().ok_or_else(|| ScoreError::MissingColumn {
                column: name.clone(),
                found: names(batch.schema_ref()),
            })
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
        let fields = self.columns.iter().zip(&columns);
        let fields: Vec<Field> = fields
            .map(|(name, column)| Field::new(name.as_str(), column.data_type().clone(), true))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        self.scorer.score(&batch)
    }
}

/// The nodes of a part, the constants that they read, and what they give.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) constants: Vec<TensorProto>,
    pub(super) outputs: Vec<String>,
}

/// What stands before the nodes of a part: from columns to the tensors that they read.
#[derive(Default)]
struct Head {
    inputs: Vec<ValueInfoProto>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    columns: Vec<String>,
}

impl Head {
    fn lone(input: &PartInput) -> Self {
        let info = value_info(&input.tensor, input.kind, input.columns.len(), input.vector);
        Self { inputs: vec![info], columns: input.columns.clone(), ..Self::default() }
    }

    fn merged(inputs: &[PartInput]) -> Self {
        let mut head = Self::default();
        for input in inputs {
            let from = head.columns.len();
            head.columns.extend(input.columns.iter().cloned());
            let bounds =
                [("from", from), ("to", head.columns.len()), ("axis", 1)].map(|(what, value)| {
                    let name = format!("cameo.{what}.{}", input.tensor);
                    head.constants
                        .push(integers(&name, &[i64::try_from(value).unwrap_or(i64::MAX)]));
                    name
                });
            let slice = if input.vector {
                format!("cameo.slice.{}", input.tensor)
            } else {
                input.tensor.clone()
            };
            let [from, to, axis] = bounds;
            head.nodes.push(node("Slice", vec![MERGED.to_owned(), from, to, axis], &slice));
            if input.vector {
                head.flatten(slice, &input.tensor);
            }
        }
        head.inputs = vec![value_info(MERGED, PortKind::Float32, head.columns.len(), false)];
        head
    }

    fn scalars(inputs: &[PartInput]) -> Result<Self, ModelError> {
        let mut head = Self::default();
        let mut kinds: Vec<PortKind> = Vec::new();
        for input in inputs {
            let mut parts = Vec::new();
            for column in &input.columns {
                match head.columns.iter().position(|known| known == column) {
                    Some(at) if kinds[at] == input.kind => {}
                    Some(_) => {
                        return Err(ModelError::Graph {
                            problem: format!(
                                "column `{column}` feeds two inputs of different types; select it twice under two names"
                            ),
                        });
                    }
                    None => {
                        head.inputs.push(value_info(column, input.kind, 1, false));
                        head.columns.push(column.clone());
                        kinds.push(input.kind);
                    }
                }
                parts.push(column.clone());
            }
            match (input.vector, &mut parts[..]) {
                (true, [column]) => head.flatten(std::mem::take(column), &input.tensor),
                (_, [column]) if *column == input.tensor => {}
                (_, [column]) => {
                    head.nodes.push(node("Identity", vec![std::mem::take(column)], &input.tensor));
                }
                _ => {
                    let mut concat = node("Concat", parts, &input.tensor);
                    concat.attribute.push(AttributeProto {
                        name: "axis".to_owned(),
                        r#type: ATTRIBUTE_INT,
                        i: 1,
                        ..AttributeProto::default()
                    });
                    head.nodes.push(concat);
                }
            }
        }
        Ok(head)
    }

    /// `[N, 1]` to `[N]`.
    fn flatten(&mut self, from: String, to: &str) {
        let shape = format!("cameo.shape.{to}");
        self.constants.push(integers(&shape, &[-1]));
        self.nodes.push(node("Reshape", vec![from, shape], to));
    }
}

/// Version of the default operator set.
pub(super) fn opset(model: &ModelProto) -> i64 {
    let default = |domain: &str| matches!(domain, "" | "ai.onnx");
    model.opset_import.iter().find(|set| default(&set.domain)).map_or(1, |set| set.version)
}

/// A node without attributes.
pub(super) fn node(operator: &str, inputs: Vec<String>, output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        name: format!("cameo.{operator}.{output}"),
        input: inputs,
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![i64::try_from(values.len()).unwrap_or(i64::MAX)],
        data_type: TensorType::Int64 as i32,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn value_info(name: &str, kind: PortKind, width: usize, vector: bool) -> ValueInfoProto {
    let elem_type = match kind {
        PortKind::Float32 => TensorType::Float,
        PortKind::Float64 => TensorType::Double,
        PortKind::Int64 => TensorType::Int64,
        PortKind::Int32 => TensorType::Int32,
        PortKind::Bool => TensorType::Bool,
        PortKind::String => TensorType::String,
    } as i32;
    let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
    let mut dims = vec![dim(dimension::Value::DimParam("N".to_owned()))];
    if !vector {
        dims.push(dim(dimension::Value::DimValue(i64::try_from(width).unwrap_or(i64::MAX))));
    }
    let shape = Some(TensorShapeProto { dim: dims });
    let value = Some(TypeValue::TensorType(TensorInfo { elem_type, shape }));
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value, ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

fn field(schema: &Schema, name: &str) -> Result<Field, ModelError> {
    schema.field_with_name(name).cloned().map_err(|_| ModelError::Graph {
        problem: format!("there is no column `{name}` among {}", names(schema)),
    })
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
