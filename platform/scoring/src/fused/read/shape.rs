//! Operators that pick, join and reshape columns, and change the type of their values.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::constant::Values;
use super::{Choice, Element, Matrix, Reader, Shape, Value, is_number};
use crate::scores::Labels;
use crate::signature::PortKind;
use std::rc::Rc;

impl Reader<'_> {
    pub(super) fn cast(&self, node: &NodeProto) -> Option<Value> {
        let to = node.get_attr_opt::<i64>("to").ok()??;
        let to = DataType::try_from(i32::try_from(to).ok()?).ok()?;
        match self.alias(&node.input)?.0 {
            Value::Matrix(matrix) => {
                // A column of doubles reads as the nearest float, which is what the cast gives.
                let rounds = is_number(matrix.kind) || matrix.kind == PortKind::Float64;
                let keeps = to == DataType::String && matrix.kind == PortKind::String;
                if keeps {
                    return Some(Value::Matrix(matrix));
                }
                (to == DataType::Float && rounds)
                    .then_some(Value::Matrix(Matrix { kind: PortKind::Float32, ..matrix }))
            }
            Value::Choice(choice) => {
                let kind = match (choice.labels.as_ref(), to) {
                    (Labels::Integers(_), DataType::Int64) => PortKind::Int64,
                    (Labels::Strings(_), DataType::String) => PortKind::String,
                    _ => return None,
                };
                Some(Value::Choice(Choice { kind, ..choice }))
            }
            Value::Forest(source, kind) => {
                let kept = match (kind, to) {
                    (PortKind::Float32, DataType::Float)
                    | (PortKind::Float64, DataType::Double)
                    | (PortKind::Int64, DataType::Int64)
                    | (PortKind::String, DataType::String) => kind,
                    (PortKind::Float32, DataType::Double) => PortKind::Float64,
                    _ => return None,
                };
                Some(Value::Forest(source, kept))
            }
            Value::Constant(_) => None,
        }
    }

    pub(super) fn concat(&mut self, node: &NodeProto) -> Option<Value> {
        let axis = node.get_attr_opt::<i64>("axis").ok()??;
        let parts = (0..node.input.len())
            .map(|index| self.input(node, index))
            .collect::<Option<Vec<_>>>()?;
        let first = parts.first()?;
        let (shape, kind) = (first.shape, first.kind);
        let joins = match shape {
            Shape::Matrix => axis == 1 || axis == -1,
            // Only one row of categories per customer joins by its last axis to a flat row.
            Shape::Cube => (axis == 2 || axis == -1) && parts.iter().all(|part| part.inner == 1),
            Shape::Vector | Shape::Row => false,
        };
        if !joins || parts.iter().any(|part| part.shape != shape || part.kind != kind) {
            return None;
        }
        let elements = parts.iter().flat_map(|part| part.elements.iter().cloned()).collect();
        Some(Value::Matrix(self.matrix(elements, shape, kind)?))
    }

    /// Reshape, Flatten, Squeeze and Unsqueeze that keep one row per customer.
    pub(super) fn reshape(&self, node: &NodeProto) -> Option<Value> {
        let (value, _) = self.alias(&node.input)?;
        let (width, shape) = match &value {
            Value::Matrix(matrix) => (matrix.elements.len(), matrix.shape),
            Value::Choice(choice) => (1, choice.shape),
            _ => return None,
        };
        let becomes = match node.op_type.as_str() {
            "Reshape" => {
                let keeps_zero = node.get_attr_opt::<i64>("allowzero").ok()?.unwrap_or(0) != 0;
                let target = self.constant(node, 1)?;
                // 0 keeps the dimension of the rows.
                match (target.integers()?, shape) {
                    ([-1], _) if width == 1 => Shape::Vector,
                    ([0], Shape::Vector) if !keeps_zero => Shape::Vector,
                    (&[-1, columns], _) if usize::try_from(columns) == Ok(width) => Shape::Matrix,
                    (&[0, columns], Shape::Vector | Shape::Matrix | Shape::Cube)
                        if !keeps_zero
                            && (columns == -1 || usize::try_from(columns) == Ok(width)) =>
                    {
                        Shape::Matrix
                    }
                    _ => return None,
                }
            }
            "Flatten" if shape == Shape::Matrix || shape == Shape::Cube => {
                let axis = node.get_attr_opt::<i64>("axis").ok()?.unwrap_or(1);
                if axis != 1 {
                    return None;
                }
                Shape::Matrix
            }
            "Squeeze" if width == 1 && shape == Shape::Matrix && self.axes(node)? == [1] => {
                Shape::Vector
            }
            "Unsqueeze" if shape == Shape::Vector && self.axes(node)? == [1] => Shape::Matrix,
            _ => return None,
        };
        Some(match value {
            Value::Matrix(matrix) => Value::Matrix(Matrix { shape: becomes, inner: 1, ..matrix }),
            Value::Choice(choice) => Value::Choice(Choice { shape: becomes, ..choice }),
            other => other,
        })
    }

    /// Axes are an attribute up to operator set 12 and a constant since 13.
    fn axes(&self, node: &NodeProto) -> Option<Vec<i64>> {
        match node.input.get(1) {
            Some(_) => Some(self.constant(node, 1)?.integers()?.to_vec()),
            None => node.get_attr_opt_vec::<i64>("axes").ok()?,
        }
    }

    /// Columns by constant indices, or labels by class index.
    pub(super) fn pick(&mut self, node: &NodeProto) -> Option<Value> {
        let extractor = node.op_type == "ArrayFeatureExtractor";
        if let Some(classes) = self.constant(node, 0) {
            let Value::Choice(choice) = self.values.get(node.input.get(1)?.as_str())?.clone()
            else {
                return None;
            };
            let axis = node.get_attr_opt::<i64>("axis").ok()?.unwrap_or(0);
            if classes.dims.len() != 1 || axis != 0 {
                return None;
            }
            let shape = if extractor { Shape::Row } else { choice.shape };
            return relabelled(&choice, &classes.values, shape);
        }
        let matrix = self.input(node, 0).filter(|matrix| matrix.shape == Shape::Matrix)?;
        let indices = self.constant(node, 1)?;
        let axis = node.get_attr_opt::<i64>("axis").ok()?.unwrap_or(0);
        let shape = match (extractor, indices.dims.len()) {
            (true, _) | (false, 1) => Shape::Matrix,
            (false, 0) => Shape::Vector,
            _ => return None,
        };
        let width = i64::try_from(matrix.elements.len()).ok()?;
        if !extractor && axis != 1 && axis != -1 {
            return None;
        }
        let elements = indices
            .integers()?
            .iter()
            .map(|index| {
                let index = if !extractor && *index < 0 { index + width } else { *index };
                matrix.elements.get(usize::try_from(index).ok()?).cloned()
            })
            .collect::<Option<Vec<Element>>>()?;
        Some(Value::Matrix(self.matrix(elements, shape, matrix.kind)?))
    }
}

/// The labels of class indices that are themselves what a choice stands for.
fn relabelled(choice: &Choice, classes: &Values, shape: Shape) -> Option<Value> {
    let Labels::Integers(indices) = choice.labels.as_ref() else { return None };
    let indices =
        indices.iter().map(|index| usize::try_from(*index).ok()).collect::<Option<Vec<usize>>>()?;
    let integers = |classes: &[i64]| -> Option<Labels> {
        let labels = indices.iter().map(|index| classes.get(*index).copied());
        Some(Labels::Integers(labels.collect::<Option<_>>()?))
    };
    let (labels, kind) = match classes {
        Values::Integers(classes) => (integers(classes)?, PortKind::Int64),
        Values::ShortIntegers(classes) => (integers(classes)?, PortKind::Int32),
        Values::Strings(classes) => {
            let labels = indices.iter().map(|index| classes.get(*index).cloned());
            (Labels::Strings(labels.collect::<Option<_>>()?), PortKind::String)
        }
        Values::Floats(_) => return None,
    };
    Some(Value::Choice(Choice { labels: Rc::new(labels), kind, shape, ..choice.clone() }))
}
