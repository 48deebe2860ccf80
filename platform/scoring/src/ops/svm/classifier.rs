//! `SVMClassifier`: votes of one-against-one decisions, and scores as ONNX Runtime gives them.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, Tensor, ToDim, TractResult, ensure, format_err};

use super::SupportVectors;
use super::coupling::{couple, platt};
use crate::ops::kernel::{
    Built, Kernel, ValueType, batch, dot, expect_width, float_rows, host, tensor,
};
use crate::ops::labels::{label_tensor, label_type, labels, post_transform};
use crate::scores::{Labels, PostTransform, largest};

/// Most classes: ONNX Runtime's bound too, and what keeps the pairs of classes countable.
const CLASSES_MAX: usize = 4_096;

/// Where a decision comes from.
#[derive(Debug)]
enum Machine {
    Pairs(Pairs),
    /// One row of feature weights per class, all with the same offset.
    Linear {
        weights: Vec<f32>,
        features: usize,
        offset: f32,
    },
}

/// One decision for each two classes, over the support vectors of both.
#[derive(Debug)]
struct Pairs {
    vectors: SupportVectors,
    /// First support vector of each class, and the end.
    starts: Vec<usize>,
    /// `[classes - 1, vectors]`: for a vector of class `i`, its weight against each other class in order.
    weights: Vec<f32>,
    offsets: Vec<f32>,
    /// Slope and offset of Platt's sigmoid for each pair.
    platt: Option<Vec<(f32, f32)>>,
}

#[derive(Debug)]
struct SvmClassifier {
    machine: Machine,
    labels: Labels,
    post: PostTransform,
    /// What the largest of two scores of a linear machine must exceed for the second class to be
    /// chosen whichever is larger: so ONNX Runtime, which knows only one score from LIBLINEAR.
    second_above: f32,
}

pub(crate) fn classifier(_: &ParsingContext, node: &NodeProto) -> Built {
    let labels = labels(node, "classlabels_ints")?;
    let classes = labels.len();
    ensure!(
        (1..=CLASSES_MAX).contains(&classes),
        "expected 1 to {CLASSES_MAX} class labels, found {classes}"
    );
    let weights = node.get_attr_opt_vec::<f32>("coefficients")?.unwrap_or_default();
    let rho = node.get_attr_opt_vec::<f32>("rho")?.unwrap_or_default();
    let counts: Vec<usize> = node.get_attr_opt_vec("vectors_per_class")?.unwrap_or_default();
    let probabilities = node.get_attr_opt_vec::<f32>("prob_a")?.is_some_and(|a| !a.is_empty());
    let second_above = match weights.iter().all(|weight| *weight >= 0.0) {
        _ if probabilities => f32::INFINITY,
        true => 0.5f32.next_down(),
        false => 0.0,
    };
    let machine = if counts.iter().any(|count| *count > 0) {
        Machine::Pairs(Pairs::read(node, classes, &counts, weights, rho)?)
    } else {
        ensure!(
            !weights.is_empty() && weights.len().is_multiple_of(classes),
            "expected one row of coefficients per class ({classes}), found {} numbers",
            weights.len()
        );
        let offset =
            *rho.first().ok_or_else(|| format_err!("expected a value in rho, found none"))?;
        Machine::Linear { features: weights.len() / classes, weights, offset }
    };
    host(SvmClassifier { machine, labels, post: post_transform(node)?, second_above }, 1)
}

impl Pairs {
    fn read(
        node: &NodeProto,
        classes: usize,
        counts: &[usize],
        weights: Vec<f32>,
        offsets: Vec<f32>,
    ) -> TractResult<Self> {
        ensure!(
            counts.len() == classes && classes > 1,
            "expected at least two classes and one entry of vectors_per_class for each, found {} \
             entries and {classes} classes",
            counts.len()
        );
        let mut starts = vec![0usize];
        for count in counts {
            let end = starts[starts.len() - 1]
                .checked_add(*count)
                .ok_or_else(|| format_err!("vectors_per_class overflows"))?;
            starts.push(end);
        }
        let vectors = SupportVectors::read(node, starts[classes])?;
        let pairs = classes * (classes - 1) / 2;
        ensure!(
            weights.len() == (classes - 1) * starts[classes],
            "expected {} coefficients ({} for each of {} support vectors), found {}",
            (classes - 1) * starts[classes],
            classes - 1,
            starts[classes],
            weights.len()
        );
        ensure!(
            offsets.len() == pairs,
            "expected one value of rho per pair of classes ({pairs}), found {}",
            offsets.len()
        );
        let slopes = node.get_attr_opt_vec::<f32>("prob_a")?.unwrap_or_default();
        let shifts = node.get_attr_opt_vec::<f32>("prob_b")?.unwrap_or_default();
        ensure!(
            slopes.len() == shifts.len() && (slopes.is_empty() || slopes.len() == pairs),
            "expected prob_a and prob_b of {pairs} values each (one per pair of classes) or none, \
             found {} and {}",
            slopes.len(),
            shifts.len()
        );
        let platt = (!slopes.is_empty()).then(|| slopes.into_iter().zip(shifts).collect());
        Ok(Self { vectors, starts, weights, offsets, platt })
    }

    /// Decisions of all pairs in the order (0, 1), (0, 2) … and the class with most votes.
    fn decide(&self, similarities: &[f32], decisions: &mut [f32], votes: &mut [u32]) -> usize {
        let classes = votes.len();
        let count = similarities.len();
        votes.fill(0);
        let mut pair = 0;
        for first in 0..classes - 1 {
            for second in first + 1..classes {
                let weighted = |of: usize, against: usize| -> f64 {
                    let range = self.starts[of]..self.starts[of + 1];
                    let weights = &self.weights[against * count..][range.clone()];
                    let products = weights.iter().zip(&similarities[range]);
                    products.map(|(weight, similarity)| f64::from(weight * similarity)).sum()
                };
                // The row of a class against another leaves out the class itself.
                let sum = weighted(first, second - 1)
                    + weighted(second, first)
                    + f64::from(self.offsets[pair]);
                #[allow(clippy::cast_possible_truncation, reason = "a score is a 32-bit float")]
                {
                    decisions[pair] = sum as f32;
                }
                votes[if sum > 0.0 { first } else { second }] += 1;
                pair += 1;
            }
        }
        let most = votes.iter().copied().max().unwrap_or(0);
        votes.iter().position(|count| *count == most).unwrap_or(0)
    }
}

impl SvmClassifier {
    fn features(&self) -> usize {
        match &self.machine {
            Machine::Pairs(pairs) => pairs.vectors.features,
            Machine::Linear { features, .. } => *features,
        }
    }

    /// Scores per row: one per class, or one per pair of classes without probabilities (two for one pair).
    fn width(&self) -> usize {
        match &self.machine {
            Machine::Pairs(Pairs { platt: None, offsets, .. }) => offsets.len().max(2),
            _ => self.labels.len(),
        }
    }

    fn by_pairs(&self, machine: &Pairs, values: &[f32]) -> (Vec<usize>, Vec<f32>) {
        let classes = self.labels.len();
        let mut similarities = vec![0f32; machine.starts[classes]];
        let mut decisions = vec![0f32; machine.offsets.len()];
        let mut votes = vec![0u32; classes];
        let mut probable = Probable::new(classes);
        let (mut chosen, mut scores) = (Vec::new(), Vec::new());
        for row in values.chunks_exact(self.features()) {
            machine.vectors.similarities(row, &mut similarities);
            chosen.push(machine.decide(&similarities, &mut decisions, &mut votes));
            match &machine.platt {
                Some(platt) => {
                    let start = scores.len();
                    scores.extend_from_slice(probable.of(&decisions, platt));
                    self.post.apply(&mut scores[start..]);
                }
                None => self.without_probabilities(&decisions, &mut scores),
            }
        }
        (chosen, scores)
    }

    /// The specification leaves two classes open; ONNX Runtime complements the one decision, and
    /// negates it when there is no post transform.
    fn without_probabilities(&self, decisions: &[f32], scores: &mut Vec<f32>) {
        if let [decision] = decisions {
            scores.extend(match self.post {
                PostTransform::None => [-decision, *decision],
                post => post.apply_to_one(*decision, true),
            });
            return;
        }
        let start = scores.len();
        scores.extend_from_slice(decisions);
        self.post.apply(&mut scores[start..]);
    }

    fn by_weights(&self, weights: &[f32], offset: f32, values: &[f32]) -> (Vec<usize>, Vec<f32>) {
        let (classes, features) = (self.labels.len(), self.features());
        let (mut chosen, mut scores) = (Vec::new(), Vec::new());
        for row in values.chunks_exact(features) {
            let start = scores.len();
            scores.extend(weights.chunks_exact(features).map(|weights| dot(row, weights) + offset));
            let row = &mut scores[start..];
            let best = largest(row);
            let second = classes == 2 && row[best] > self.second_above;
            chosen.push(if second { 1 } else { best });
            match row {
                [one] if self.post == PostTransform::Probit => {
                    *one = self.post.apply_to_one(*one, true)[0];
                }
                [_] => {}
                row => self.post.apply(row),
            }
        }
        (chosen, scores)
    }
}

/// Class probabilities from decisions, with room that is reused between rows.
struct Probable {
    pairs: Vec<f32>,
    probabilities: Vec<f32>,
    scratch: Vec<f32>,
}

impl Probable {
    fn new(classes: usize) -> Self {
        Self {
            pairs: vec![0.0; classes * classes],
            probabilities: vec![0.0; classes],
            scratch: Vec::new(),
        }
    }

    fn of(&mut self, decisions: &[f32], sigmoids: &[(f32, f32)]) -> &[f32] {
        let classes = self.probabilities.len();
        let mut at = decisions.iter().zip(sigmoids);
        for first in 0..classes {
            for (second, (decision, (slope, offset))) in (first + 1..classes).zip(&mut at) {
                let probability = platt(*decision, *slope, *offset);
                self.pairs[first * classes + second] = probability;
                self.pairs[second * classes + first] = 1.0 - probability;
            }
        }
        couple(&self.pairs, &mut self.probabilities, &mut self.scratch);
        &self.probabilities
    }
}

impl Kernel for SvmClassifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn output_count(&self) -> usize {
        2
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        expect_width(&inputs[0], self.features())?;
        let rows = batch(&inputs[0]);
        Ok(vec![
            (label_type(&self.labels), vec![rows.clone()]),
            (f32::datum_type(), vec![rows, self.width().to_dim()]),
        ])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let values = float_rows(inputs[0], self.features())?;
        let (chosen, scores) = match &self.machine {
            Machine::Pairs(pairs) => self.by_pairs(pairs, &values),
            Machine::Linear { weights, offset, .. } => self.by_weights(weights, *offset, &values),
        };
        let rows = chosen.len();
        Ok(vec![
            label_tensor(&self.labels, chosen.into_iter())?,
            tensor(&[rows, self.width()], scores)?,
        ])
    }
}
