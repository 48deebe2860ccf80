//! Operators that turn categories into numbers.

use std::sync::Arc;

use tract_onnx::pb::{NodeProto, TensorProto};

use super::constant::{Constant, Values};
use super::{Element, Matrix, Reader, Shape, Value};
use crate::fused::encode::{Encoder, Keys};
use crate::fused::leaf::{Leaf, Source};
use crate::signature::PortKind;

impl Reader<'_> {
    pub(super) fn one_hot_encoder(&mut self, node: &NodeProto) -> Option<Value> {
        let matrix = self.input(node, 0)?;
        let strings = node.get_attr_opt_vec::<String>("cats_strings").ok()?.unwrap_or_default();
        let integers = node.get_attr_opt_vec::<i64>("cats_int64s").ok()?.unwrap_or_default();
        let count = strings.len().max(integers.len());
        let strict = node.get_attr_opt::<i64>("zeros").ok()?.unwrap_or(1) == 0;
        let by_text = !strings.is_empty();
        // Floats are cut to integers first, which only the operator itself does.
        if count == 0 || by_text != (matrix.kind == PortKind::String) || matrix.kind.is_float() {
            return None;
        }
        let mut elements = Vec::new();
        for column in raw_columns(&matrix)? {
            let keys =
                if by_text { Keys::strings(strings.clone()) } else { Keys::integers(&integers) };
            let encoder = self.encoder(column, keys, strict);
            self.elements += count;
            for code in 0..u32::try_from(count).ok()? {
                let source = Source::Category { encoder, code };
                elements.push(Element::Leaf(Leaf { source, steps: Vec::new() }));
            }
        }
        let inner = matrix.elements.len();
        let shape = if matrix.shape == Shape::Vector { Shape::Matrix } else { Shape::Cube };
        let hot = self.matrix(elements, shape, PortKind::Float32)?;
        Some(Value::Matrix(Matrix { inner, ..hot }))
    }

    pub(super) fn label_encoder(&mut self, node: &NodeProto) -> Option<Value> {
        let matrix = self.input(node, 0)?;
        let keys = match (list(node, "keys")?, matrix.kind) {
            (Values::Strings(keys), PortKind::String) => Keys::strings(keys),
            (Values::Integers(keys), PortKind::Int64) => Keys::integers(&keys),
            _ => return None,
        };
        let (mut values, default, kind) = match list(node, "values")? {
            Values::Floats(values) => {
                (values, node.get_attr_opt::<f32>("default_float").ok()?, PortKind::Float32)
            }
            Values::Integers(values) => {
                let default = node.get_attr_opt::<i64>("default_int64").ok()?.unwrap_or(-1);
                let floats = values.iter().map(|value| nearest(*value)).collect();
                (floats, Some(nearest(default)), PortKind::Int64)
            }
            Values::ShortIntegers(_) | Values::Strings(_) => return None,
        };
        let tensor = node.attribute.iter().any(|attribute| attribute.name == "default_tensor");
        if tensor || values.is_empty() {
            return None;
        }
        values.push(default.unwrap_or(-0.0));
        let values: Arc<[f32]> = values.into();
        let elements = raw_columns(&matrix)?
            .into_iter()
            .map(|column| {
                let keys = match &keys {
                    Keys::Strings(codes) => Keys::Strings(codes.clone()),
                    Keys::Integers(codes) => Keys::Integers(codes.clone()),
                };
                let encoder = self.encoder(column, keys, false);
                let source = Source::Table { encoder, values: Arc::clone(&values) };
                Element::Leaf(Leaf { source, steps: Vec::new() })
            })
            .collect();
        Some(Value::Matrix(self.matrix(elements, matrix.shape, kind)?))
    }

    /// An encoder of a column; two operators that look the same keys up share it.
    fn encoder(&mut self, column: usize, keys: Keys, strict: bool) -> usize {
        let same = |encoder: &Encoder| {
            encoder.column == column && encoder.strict == strict && encoder.keys == keys
        };
        if let Some(found) = self.encoders.iter().position(same) {
            return found;
        }
        self.encoders.push(Encoder { column, keys, strict });
        self.encoders.len() - 1
    }
}

/// The bound columns of a value that nothing has changed yet.
fn raw_columns(matrix: &Matrix) -> Option<Vec<usize>> {
    matrix
        .elements
        .iter()
        .map(|element| match element {
            Element::Leaf(Leaf { source: Source::Number { column }, steps })
                if steps.is_empty() =>
            {
                Some(*column)
            }
            _ => None,
        })
        .collect()
}

/// A list attribute of any type: `keys_strings`, `keys_int64s`, `keys_floats` or `keys_tensor`.
fn list(node: &NodeProto, prefix: &str) -> Option<Values> {
    let name = |kind: &str| format!("{prefix}_{kind}");
    if let Some(strings) = node.get_attr_opt_vec::<String>(&name("strings")).ok()? {
        return Some(Values::Strings(strings));
    }
    if let Some(integers) = node.get_attr_opt_vec::<i64>(&name("int64s")).ok()? {
        return Some(Values::Integers(integers));
    }
    if let Some(floats) = node.get_attr_opt_vec::<f32>(&name("floats")).ok()? {
        return Some(Values::Floats(floats));
    }
    let tensor = node.get_attr_opt::<&TensorProto>(&name("tensor")).ok()??;
    Some(Constant::read(tensor)?.values)
}

/// An integer as the cast that must follow gives it.
fn nearest(value: i64) -> f32 {
    value as f32
}
