//! Linear models.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, Tensor, ToDim, TractResult, ensure};

use super::kernel::{Built, Kernel, ValueType, batch, dot, expect_width, float_rows, host, tensor};
use super::labels::{label_tensor, label_type, labels, post_transform};
use crate::scores::{Labels, PostTransform, largest};

/// Rows of coefficients, one per target, and an intercept for each.
#[derive(Debug)]
struct Coefficients {
    weights: Vec<f32>,
    intercepts: Vec<f32>,
    features: usize,
}

impl Coefficients {
    fn read(node: &NodeProto, targets: usize) -> TractResult<Self> {
        let coefficients = node.get_attr_vec::<f32>("coefficients")?;
        let mut intercepts = node.get_attr_opt_vec::<f32>("intercepts")?.unwrap_or_default();
        ensure!(
            targets > 0 && !coefficients.is_empty() && coefficients.len().is_multiple_of(targets),
            "expected {targets} rows of coefficients, found {} numbers",
            coefficients.len()
        );
        if intercepts.is_empty() {
            intercepts.resize(targets, 0.0);
        }
        ensure!(
            intercepts.len() == targets,
            "expected {targets} intercepts, found {}",
            intercepts.len()
        );
        Ok(Self { features: coefficients.len() / targets, weights: coefficients, intercepts })
    }

    fn targets(&self) -> usize {
        self.intercepts.len()
    }

    /// Sums of every row, row by row.
    fn sums(&self, input: &Tensor) -> TractResult<Vec<f32>> {
        let width = self.features;
        let rows = float_rows(input, width)?;
        let mut sums = Vec::with_capacity(rows.len() / width * self.targets());
        for row in rows.chunks_exact(width) {
            for (weights, intercept) in self.weights.chunks_exact(width).zip(&self.intercepts) {
                sums.push(dot(row, weights) + intercept);
            }
        }
        Ok(sums)
    }
}

#[derive(Debug)]
struct LinearRegressor {
    linear: Coefficients,
    post: PostTransform,
}

pub(super) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let targets = node.get_attr_opt::<usize>("targets")?.unwrap_or(1);
    host(
        LinearRegressor { linear: Coefficients::read(node, targets)?, post: post_transform(node)? },
        1,
    )
}

impl Kernel for LinearRegressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        expect_width(&inputs[0], self.linear.features)?;
        Ok(vec![(f32::datum_type(), vec![batch(&inputs[0]), self.linear.targets().to_dim()])])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let targets = self.linear.targets();
        let mut sums = self.linear.sums(inputs[0])?;
        // A single target goes through PROBIT alone: so ONNX Runtime.
        if targets > 1 || self.post == PostTransform::Probit {
            sums.chunks_exact_mut(targets).for_each(|row| self.post.apply(row));
        }
        Ok(vec![tensor(&[sums.len() / targets, targets], sums)?])
    }
}

#[derive(Debug)]
struct LinearClassifier {
    linear: Coefficients,
    labels: Labels,
    post: PostTransform,
}

pub(super) fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let labels = labels(node, "classlabels_ints")?;
    let intercepts = node.get_attr_opt_vec::<f32>("intercepts")?.unwrap_or_default().len();
    let targets = if intercepts > 0 { intercepts } else { labels.len() };
    let linear = Coefficients::read(node, targets)?;
    ensure!(
        labels.len() == targets || (labels.len() == 2 && targets == 1),
        "expected one class label per row of coefficients ({targets}), found {}",
        labels.len()
    );
    host(LinearClassifier { linear, labels, post: post_transform(node)? }, 1)
}

impl LinearClassifier {
    /// One row of coefficients for two classes.
    fn is_one_for_two(&self) -> bool {
        self.linear.targets() == 1 && self.labels.len() == 2
    }
}

impl Kernel for LinearClassifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn output_count(&self) -> usize {
        2
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        expect_width(&inputs[0], self.linear.features)?;
        let rows = batch(&inputs[0]);
        Ok(vec![
            (label_type(&self.labels), vec![rows.clone()]),
            (f32::datum_type(), vec![rows, self.labels.len().to_dim()]),
        ])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let classes = self.labels.len();
        let mut scores = self.linear.sums(inputs[0])?;
        let chosen: Vec<usize>;
        if self.is_one_for_two() {
            chosen = scores.iter().map(|sum| usize::from(*sum > 0.0)).collect();
            scores = scores.iter().flat_map(|sum| self.post.apply_to_one(*sum, true)).collect();
        } else {
            chosen = scores.chunks_exact(classes).map(largest).collect();
            scores.chunks_exact_mut(classes).for_each(|row| self.post.apply(row));
        }
        let rows = chosen.len();
        Ok(vec![label_tensor(&self.labels, chosen.into_iter())?, tensor(&[rows, classes], scores)?])
    }
}
