//! Support vector machines: the kernel function over support vectors, a classifier and a regressor.

mod classifier;
mod coupling;
mod regressor;

pub(super) use classifier::classifier;
pub(super) use regressor::regressor;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractResult, bail, ensure};

/// How a row is compared with a support vector.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Similarity {
    Linear,
    Polynomial { gamma: f32, offset: f32, degree: f32 },
    Radial { gamma: f32 },
    Sigmoid { gamma: f32, offset: f32 },
}

impl Similarity {
    fn read(node: &NodeProto) -> TractResult<Self> {
        let parameters = node.get_attr_opt_vec::<f32>("kernel_params")?.unwrap_or_default();
        let (gamma, offset, degree) = match parameters[..] {
            // Without parameters all are 0, as in ONNX Runtime.
            [] => (0.0, 0.0, 0.0),
            [gamma, offset, degree] => (gamma, offset, degree),
            _ => bail!(
                "expected kernel_params of 3 values (gamma, coef0, degree), found {}",
                parameters.len()
            ),
        };
        ensure!(
            [gamma, offset, degree].iter().all(|parameter| parameter.is_finite()),
            "expected finite kernel_params, found {parameters:?}"
        );
        Ok(match node.get_attr_opt::<&str>("kernel_type")?.unwrap_or("LINEAR") {
            "LINEAR" => Self::Linear,
            "POLY" => Self::Polynomial { gamma, offset, degree },
            "RBF" => Self::Radial { gamma },
            "SIGMOID" => Self::Sigmoid { gamma, offset },
            other => bail!("expected kernel_type LINEAR, POLY, RBF or SIGMOID, found {other}"),
        })
    }

    /// Of a dot product, or for [`Self::Radial`] of a squared distance.
    fn of(self, product: f32) -> f32 {
        match self {
            Self::Linear => product,
            Self::Polynomial { gamma, offset, degree } => {
                power(fused(gamma, product, offset), degree)
            }
            Self::Radial { gamma } => (-gamma * product).exp(),
            Self::Sigmoid { gamma, offset } => fused(gamma, product, offset).tanh(),
        }
    }
}

/// `a * b + c`, rounded once: decisions are small differences of large sums, so their last digits
/// are those of ONNX Runtime only if each step rounds as there. In 64 bits the product is exact.
#[allow(clippy::cast_possible_truncation, reason = "the one rounding")]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

#[allow(clippy::float_cmp, reason = "degrees 2 and 3 are exact in the file")]
fn power(base: f32, degree: f32) -> f32 {
    if degree == 2.0 {
        base * base
    } else if degree == 3.0 {
        base * base * base
    } else {
        base.powf(degree)
    }
}

/// Dot product in order, each step rounded once.
fn fused_dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).fold(0.0, |sum, (left, right)| fused(*left, *right, sum))
}

/// Support vectors and how a row of features is compared with them.
#[derive(Debug)]
struct SupportVectors {
    /// One row of all vectors per feature, so that the innermost loop runs over neighbours in memory.
    by_feature: Vec<f32>,
    count: usize,
    features: usize,
    similarity: Similarity,
}

impl SupportVectors {
    fn read(node: &NodeProto, count: usize) -> TractResult<Self> {
        let values = node.get_attr_opt_vec::<f32>("support_vectors")?.unwrap_or_default();
        ensure!(
            !values.is_empty() && values.len().is_multiple_of(count),
            "expected {count} support vectors of one length, found {} numbers",
            values.len()
        );
        let features = values.len() / count;
        let by_feature = (0..features)
            .flat_map(|feature| values.iter().skip(feature).step_by(features).copied())
            .collect();
        Ok(Self { by_feature, count, features, similarity: Similarity::read(node)? })
    }

    /// Similarity of one row with every support vector.
    fn similarities(&self, row: &[f32], similarities: &mut [f32]) {
        similarities.fill(0.0);
        for (value, vectors) in row.iter().zip(self.by_feature.chunks_exact(self.count)) {
            let sums = similarities.iter_mut().zip(vectors);
            if matches!(self.similarity, Similarity::Radial { .. }) {
                sums.for_each(|(sum, other)| *sum += (value - other) * (value - other));
            } else {
                sums.for_each(|(sum, other)| *sum = fused(*value, *other, *sum));
            }
        }
        for similarity in similarities {
            *similarity = self.similarity.of(*similarity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Similarity, SupportVectors};

    #[test]
    fn every_kernel_is_its_textbook_formula() {
        let (row, vector) = ([1.0f32, 2.0, -1.0], [0.5f32, -1.0, 3.0]);
        let product = 0.5 - 2.0 - 3.0f32;
        let cases = [
            (Similarity::Linear, product),
            (
                Similarity::Polynomial { gamma: 0.5, offset: 1.0, degree: 2.0 },
                (0.5 * product + 1.0).powi(2),
            ),
            (
                Similarity::Polynomial { gamma: 0.5, offset: 1.0, degree: 3.0 },
                (0.5 * product + 1.0).powi(3),
            ),
            (
                Similarity::Polynomial { gamma: -0.5, offset: 1.0, degree: 1.5 },
                (-0.5 * product + 1.0).powf(1.5),
            ),
            (Similarity::Radial { gamma: 0.1 }, (-0.1 * (0.25 + 9.0 + 16.0f32)).exp()),
            (Similarity::Sigmoid { gamma: 0.2, offset: -0.5 }, (0.2 * product - 0.5).tanh()),
        ];
        for (similarity, expected) in cases {
            // The second of two vectors, so that a confused order shows.
            let by_feature = vector.iter().flat_map(|value| [9.0, *value]).collect();
            let vectors = SupportVectors { by_feature, count: 2, features: 3, similarity };
            let mut found = [0f32; 2];
            vectors.similarities(&row, &mut found);
            let error = (found[1] - expected).abs();
            assert!(error <= 1e-6 * expected.abs(), "{similarity:?}: {found:?}");
        }
    }
}
