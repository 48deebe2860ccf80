//! Linear models, layers of networks, and what turns their sums into scores and labels.

use std::rc::Rc;

use tract_onnx::pb::NodeProto;

use super::{Choice, Matrix, Reader, Shape, Value, is_number};
use crate::fused::dense::Dense;
use crate::fused::program::{Norm, Operation, Run};
use crate::fused::step::{Arithmetic, Step};
use crate::scores::{Labels, PostTransform};
use crate::signature::PortKind;

impl<'g> Reader<'g> {
    pub(super) fn gemm(&mut self, node: &NodeProto) -> Option<Value> {
        let integer =
            |name: &str| node.get_attr_opt::<i64>(name).ok().map(Option::unwrap_or_default);
        let factor =
            |name: &str| node.get_attr_opt::<f32>(name).ok().map(|given| given.unwrap_or(1.0));
        let plain = |factor: f32| factor.to_bits() == 1f32.to_bits();
        if integer("transA")? != 0 || !plain(factor("alpha")?) || !plain(factor("beta")?) {
            return None;
        }
        let intercepts = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => None,
            Some(_) => Some(self.constant(node, 2)?),
        };
        let transposed = integer("transB")? != 0;
        self.product(node, transposed, |outputs| match &intercepts {
            None => Some(None),
            Some(constant) => constant.per_column(outputs).map(Some),
        })
    }

    pub(super) fn matrix_product(&mut self, node: &NodeProto) -> Option<Value> {
        self.product(node, false, |_| Some(None))
    }

    fn product(
        &mut self,
        node: &NodeProto,
        transposed: bool,
        intercepts: impl FnOnce(usize) -> Option<Option<Vec<f32>>>,
    ) -> Option<Value> {
        let matrix = self
            .input(node, 0)
            .filter(|matrix| matrix.kind == PortKind::Float32 && matrix.shape == Shape::Matrix)?;
        let weights = self.constant(node, 1)?;
        let [rows, columns] = weights.dims[..] else { return None };
        let (features, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        if features != matrix.elements.len() || outputs == 0 {
            return None;
        }
        let weights = weights.floats()?;
        let weight = |output: usize, feature: usize| {
            let at =
                if transposed { output * columns + feature } else { feature * columns + output };
            weights[at]
        };
        let dense = Dense::new(features, outputs, weight, intercepts(outputs)?);
        let run = self.dense(&matrix, dense)?;
        self.matrix_of(run, Shape::Matrix)
    }

    fn dense(&mut self, matrix: &Matrix, dense: Dense) -> Option<Run> {
        let from = self.registers(matrix)?;
        let to = self.allocate(dense.outputs())?;
        let operation = Operation::Dense { dense, from: from.first, to: to.first };
        self.program.operations.push(operation);
        Some(to)
    }

    /// The sums of a linear model with `targets` rows of coefficients.
    fn linear(&mut self, node: &NodeProto, targets: usize) -> Option<Run> {
        let matrix = self
            .input(node, 0)
            .filter(|matrix| is_number(matrix.kind) && matrix.shape == Shape::Matrix)?;
        let coefficients = node.get_attr_opt_vec::<f32>("coefficients").ok()??;
        let features = matrix.elements.len();
        let intercepts = node.get_attr_opt_vec::<f32>("intercepts").ok()?.unwrap_or_default();
        let intercepts = match intercepts.len() {
            0 => None,
            count if count == targets => Some(intercepts),
            _ => return None,
        };
        if targets == 0 || Some(coefficients.len()) != features.checked_mul(targets) {
            return None;
        }
        let weight = |output: usize, feature: usize| coefficients[output * features + feature];
        let dense = Dense::new(features, targets, weight, intercepts);
        self.dense(&matrix, dense)
    }

    pub(super) fn linear_regressor(&mut self, node: &NodeProto) -> Option<Value> {
        let targets = node.get_attr_opt::<usize>("targets").ok()?.unwrap_or(1);
        let post = post_transform(node)?;
        let run = self.linear(node, targets)?;
        // A single target goes through PROBIT alone: so ONNX Runtime.
        if targets > 1 || post == PostTransform::Probit {
            self.post_transform(post, run);
        }
        self.matrix_of(run, Shape::Matrix)
    }

    pub(super) fn linear_classifier(&mut self, node: &'g NodeProto) -> Option<()> {
        let strings =
            node.get_attr_opt_vec::<String>("classlabels_strings").ok()?.unwrap_or_default();
        let (labels, kind) = if strings.is_empty() {
            let integers = node.get_attr_opt_vec("classlabels_ints").ok()??;
            (Labels::Integers(integers), PortKind::Int64)
        } else {
            (Labels::Strings(strings), PortKind::String)
        };
        let post = post_transform(node)?;
        let intercepts = node.get_attr_opt_vec::<f32>("intercepts").ok()?.unwrap_or_default().len();
        let targets = if intercepts > 0 { intercepts } else { labels.len() };
        let chosen = self.allocate(1)?.first;
        let scores = if targets == 1 && labels.len() == 2 {
            self.one_for_two(node, post, chosen)?
        } else if targets == labels.len() {
            let run = self.linear(node, targets)?;
            self.program.operations.push(Operation::Largest { run, to: chosen });
            self.post_transform(post, run);
            run
        } else {
            return None;
        };
        let choice =
            Choice { register: chosen, labels: Rc::new(labels), kind, shape: Shape::Vector };
        self.define(node, 0, Value::Choice(choice))?;
        let scores = self.matrix_of(scores, Shape::Matrix)?;
        self.define(node, 1, scores)
    }

    /// One row of coefficients for two classes: the sum belongs to the second.
    fn one_for_two(&mut self, node: &NodeProto, post: PostTransform, chosen: usize) -> Option<Run> {
        let sum = self.linear(node, 1)?;
        let scores = self.allocate(2)?;
        let (negative, positive) = (scores.first, scores.first + 1);
        let operations = &mut self.program.operations;
        operations.push(Operation::Positive { from: sum.first, to: chosen });
        operations.push(Operation::Copy { from: sum.first, to: positive });
        if post == PostTransform::Logistic {
            let run = Run { first: positive, count: 1 };
            let complement = Arithmetic::SubtractFrom;
            operations.push(Operation::Step { step: Step::Logistic, run });
            operations.push(Operation::Copy { from: positive, to: negative });
            operations.push(Operation::Arithmetic {
                kind: complement,
                first: negative,
                constants: vec![1.0],
            });
        } else {
            operations.push(Operation::TwoScores { post, first: negative });
        }
        Some(scores)
    }

    fn post_transform(&mut self, post: PostTransform, run: Run) {
        self.program.operations.push(match post {
            PostTransform::None => return,
            PostTransform::Logistic => Operation::Step { step: Step::Logistic, run },
            PostTransform::Softmax => Operation::Softmax { run },
            PostTransform::SoftmaxZero | PostTransform::Probit => {
                Operation::PostTransform { post, run }
            }
        });
    }

    pub(super) fn softmax(&mut self, node: &NodeProto) -> Option<Value> {
        let axis = node.get_attr_opt::<i64>("axis").ok()?;
        let matrix = self
            .input(node, 0)
            .filter(|matrix| matrix.kind == PortKind::Float32 && matrix.shape == Shape::Matrix)?;
        if !matches!(axis, None | Some(1 | -1)) {
            return None;
        }
        let run = self.own(&matrix)?;
        self.program.operations.push(Operation::Softmax { run });
        self.matrix_of(run, Shape::Matrix)
    }

    pub(super) fn normalizer(&mut self, node: &NodeProto) -> Option<Value> {
        let norm = match node.get_attr_opt::<&str>("norm").ok()?.unwrap_or("MAX") {
            "MAX" => Norm::Max,
            "L1" => Norm::L1,
            "L2" => Norm::L2,
            _ => return None,
        };
        let matrix = self
            .input(node, 0)
            .filter(|matrix| is_number(matrix.kind) && matrix.shape == Shape::Matrix)?;
        let run = self.own(&matrix)?;
        self.program.operations.push(Operation::Normalize { norm, run });
        self.matrix_of(run, Shape::Matrix)
    }

    pub(super) fn largest(&mut self, node: &NodeProto) -> Option<Value> {
        let integer = |name: &str, default: i64| {
            node.get_attr_opt::<i64>(name).ok().map(|given| given.unwrap_or(default))
        };
        let matrix = self
            .input(node, 0)
            .filter(|matrix| matrix.kind == PortKind::Float32 && matrix.shape == Shape::Matrix)?;
        let axis = integer("axis", 0)?;
        if (axis != 1 && axis != -1) || integer("select_last_index", 0)? != 0 {
            return None;
        }
        let keeps = integer("keepdims", 1)? != 0;
        let run = self.registers(&matrix)?;
        let register = self.allocate(1)?.first;
        self.program.operations.push(Operation::Largest { run, to: register });
        let labels = (0..i64::try_from(run.count).ok()?).collect();
        Some(Value::Choice(Choice {
            register,
            labels: Rc::new(Labels::Integers(labels)),
            kind: PortKind::Int64,
            shape: if keeps { Shape::Matrix } else { Shape::Vector },
        }))
    }
}

fn post_transform(node: &NodeProto) -> Option<PostTransform> {
    PostTransform::parse(node.get_attr_opt::<&str>("post_transform").ok()?.unwrap_or("NONE"))
}
