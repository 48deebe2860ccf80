//! Operators that work on each value by itself.

use tract_onnx::pb::NodeProto;

use super::constant::Constant;
use super::{Element, Matrix, Reader, Shape, Value, is_number};
use crate::forest_stage::Source;
use crate::fused::program::{Operation, Run};
use crate::fused::step::{Arithmetic, Step};
use crate::signature::PortKind;

impl Reader<'_> {
    pub(super) fn scaler(&mut self, node: &NodeProto) -> Option<Value> {
        let matrix = self.input(node, 0).filter(|matrix| is_number(matrix.kind))?;
        let width = matrix.elements.len();
        let offsets = per_column(node, "offset", 0.0, width)?;
        let scales = per_column(node, "scale", 1.0, width)?;
        let steps: Vec<Step> = offsets
            .iter()
            .zip(&scales)
            .map(|(offset, scale)| Step::Scale { offset: *offset, scale: *scale })
            .collect();
        if let Some(leaves) = self.on_leaves(&matrix, &steps) {
            return Some(leaves);
        }
        let Value::Matrix(shifted) = self.with_constants(&matrix, Arithmetic::Subtract, offsets)?
        else {
            return None;
        };
        self.with_constants(&shifted, Arithmetic::Multiply, scales)
    }

    pub(super) fn imputer(&mut self, node: &NodeProto) -> Option<Value> {
        let matrix = self.input(node, 0).filter(|matrix| matrix.kind == PortKind::Float32)?;
        let integers = node.get_attr_opt_vec::<i64>("imputed_value_int64s").ok()?;
        if integers.is_some_and(|integers| !integers.is_empty()) {
            return None;
        }
        let marker = node.get_attr_opt::<f32>("replaced_value_float").ok()?.unwrap_or(0.0);
        let values = per_column(node, "imputed_value_floats", f32::NAN, matrix.elements.len())?;
        let steps: Vec<Step> =
            values.iter().map(|value| Step::Impute { marker, value: *value }).collect();
        self.on_leaves(&matrix, &steps)
    }

    pub(super) fn batch_normalization(&mut self, node: &NodeProto) -> Option<Value> {
        let matrix = self
            .input(node, 0)
            .filter(|matrix| matrix.kind == PortKind::Float32 && matrix.shape == Shape::Matrix)?;
        let training = node.get_attr_opt::<i64>("training_mode").ok()?.unwrap_or(0) != 0;
        if training || node.output.len() != 1 || node.input.len() != 5 {
            return None;
        }
        let width = matrix.elements.len();
        let constants = (1..5)
            .map(|index| {
                let values = self.constant(node, index)?.floats()?.to_vec();
                (values.len() == width).then_some(values)
            })
            .collect::<Option<Vec<_>>>()?;
        let [scale, bias, mean, variance] = &constants[..] else { return None };
        let epsilon = node.get_attr_opt::<f32>("epsilon").ok()?.unwrap_or(1e-5);
        let scales: Vec<f32> = scale
            .iter()
            .zip(variance)
            .map(|(scale, variance)| scale / (variance + epsilon).sqrt())
            .collect();
        let offsets =
            bias.iter().zip(mean).zip(&scales).map(|((bias, mean), scale)| bias - mean * scale);
        let offsets: Vec<f32> = offsets.collect();
        let Value::Matrix(product) = self.with_constants(&matrix, Arithmetic::Multiply, scales)?
        else {
            return None;
        };
        self.with_constants(&product, Arithmetic::Add, offsets)
    }

    /// Add, Sub, Mul or Div of columns with constants or of columns with columns.
    pub(super) fn arithmetic(&mut self, node: &NodeProto) -> Option<Value> {
        let [_, _] = &node.input[..] else { return None };
        if let Some(scores) = self.unchanged_scores(node) {
            return Some(scores);
        }
        let (forward, backward) = match node.op_type.as_str() {
            "Add" => (Arithmetic::Add, Arithmetic::Add),
            "Sub" => (Arithmetic::Subtract, Arithmetic::SubtractFrom),
            "Mul" => (Arithmetic::Multiply, Arithmetic::Multiply),
            _ => (Arithmetic::Divide, Arithmetic::DivideInto),
        };
        if let Some(constant) = self.constant(node, 1) {
            let matrix = self.floats(node, 0)?;
            let matrix = self.widened(matrix, constant.width()?)?;
            let constants = constant.per_column(matrix.elements.len())?;
            return self.with_constants(&matrix, forward, constants);
        }
        if let Some(constant) = self.constant(node, 0) {
            let matrix = self.floats(node, 1)?;
            let matrix = self.widened(matrix, constant.width()?)?;
            let constants = constant.per_column(matrix.elements.len())?;
            return self.with_constants(&matrix, backward, constants);
        }
        let (left, right) = (self.floats(node, 0)?, self.floats(node, 1)?);
        if left.shape != right.shape {
            return None;
        }
        let left = self.widened(left, right.elements.len())?;
        let right = self.widened(right, left.elements.len())?;
        let (left_run, right_run) = (self.registers(&left)?, self.registers(&right)?);
        let run = self.allocate(left_run.count)?;
        self.program.operations.push(Operation::Combine {
            kind: forward,
            left: registers(left_run),
            right: registers(right_run),
            to: run.first,
        });
        self.matrix_of(run, left.shape)
    }

    /// The scores of an ensemble times one, as LightGBM's converter writes them.
    fn unchanged_scores(&self, node: &NodeProto) -> Option<Value> {
        let one = |constant: &Constant| {
            let ones = constant.floats()?.iter().all(|value| value.to_bits() == 1f32.to_bits());
            (ones && constant.width()? == 1).then_some(())
        };
        [(0, 1), (1, 0)].into_iter().find_map(|(scores, constant)| {
            let value = self.values.get(node.input[scores].as_str())?;
            one(self.constant(node, constant)?.as_ref())?;
            let keeps = node.op_type == "Mul" || (node.op_type == "Div" && constant == 1);
            (keeps && matches!(value, Value::Forest(Source::Scores, PortKind::Float32)))
                .then(|| value.clone())
        })
    }

    fn floats(&self, node: &NodeProto, index: usize) -> Option<Matrix> {
        self.input(node, index).filter(|matrix| {
            matrix.kind == PortKind::Float32
                && matches!(matrix.shape, Shape::Vector | Shape::Matrix)
        })
    }

    /// Repeats a lone column so that it meets `width` values per row.
    fn widened(&mut self, matrix: Matrix, width: usize) -> Option<Matrix> {
        let found = matrix.elements.len();
        if width == 1 || width == found {
            return Some(matrix);
        }
        if found != 1 || matrix.shape != Shape::Matrix {
            return None;
        }
        let elements: Vec<Element> = vec![matrix.elements[0].clone(); width];
        self.matrix(elements, matrix.shape, matrix.kind)
    }

    /// Functions of one value, activations among them.
    pub(super) fn function(&mut self, node: &NodeProto) -> Option<Value> {
        let number = |name: &str, default: f32| -> Option<f32> {
            Some(node.get_attr_opt::<f32>(name).ok()?.unwrap_or(default))
        };
        let step = match node.op_type.as_str() {
            "Relu" => Step::Relu,
            "LeakyRelu" => Step::LeakyRelu { slope: number("alpha", 0.01)? },
            "Elu" => Step::Elu { alpha: number("alpha", 1.0)?, scale: 1.0 },
            "Selu" => Step::Elu {
                alpha: number("alpha", 1.673_263_2)?,
                scale: number("gamma", 1.050_701)?,
            },
            "HardSigmoid" => {
                Step::HardSigmoid { slope: number("alpha", 0.2)?, offset: number("beta", 0.5)? }
            }
            "Sigmoid" => Step::Sigmoid,
            "Tanh" => Step::Tanh,
            "Exp" => Step::Exp,
            "Neg" => Step::Negate,
            "Abs" => Step::Absolute,
            "Sqrt" => Step::SquareRoot,
            "Binarizer" => Step::Binarize { threshold: number("threshold", 0.0)? },
            "Clip" => self.clip(node)?,
            _ => return None,
        };
        let matrix = self.input(node, 0).filter(|matrix| matrix.kind == PortKind::Float32)?;
        self.apply(&matrix, step)
    }

    /// Bounds are attributes up to operator set 6 and constants since 11.
    fn clip(&self, node: &NodeProto) -> Option<Step> {
        let bound = |index: usize, name: &str, default: f32| -> Option<f32> {
            match node.input.get(index).filter(|name| !name.is_empty()) {
                None => Some(node.get_attr_opt::<f32>(name).ok()?.unwrap_or(default)),
                Some(_) => self.constant(node, index)?.per_column(1)?.first().copied(),
            }
        };
        let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
        (low <= high).then_some(Step::Clip { low, high })
    }
}

fn registers(run: Run) -> Vec<usize> {
    (run.first..run.first + run.count).collect()
}

/// A list attribute with one entry per column, or one for all.
fn per_column(node: &NodeProto, name: &str, default: f32, width: usize) -> Option<Vec<f32>> {
    let given = node.get_attr_opt_vec::<f32>(name).ok()?.unwrap_or_else(|| vec![default]);
    match given[..] {
        [one] => Some(vec![one; width]),
        _ if given.len() == width => Some(given),
        _ => None,
    }
}
