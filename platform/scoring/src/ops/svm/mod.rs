//! Support vector machines: the kernel function over support vectors, a classifier and a regressor.

mod classifier;
mod coupling;
mod regressor;

pub(super) use classifier::classifier;
pub(super) use regressor::regressor;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractResult, bail, ensure};

use super::kernel::dot;

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

    fn of(self, row: &[f32], vector: &[f32]) -> f32 {
        match self {
            Self::Linear => dot(row, vector),
            Self::Polynomial { gamma, offset, degree } => {
                power(gamma * dot(row, vector) + offset, degree)
            }
            Self::Radial { gamma } => (-gamma * squared_distance(row, vector)).exp(),
            Self::Sigmoid { gamma, offset } => (gamma * dot(row, vector) + offset).tanh(),
        }
    }
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

/// In eight partial sums, which the compiler keeps in one vector register.
fn squared_distance(left: &[f32], right: &[f32]) -> f32 {
    let (left_chunks, left_rest) = left.as_chunks::<8>();
    let (right_chunks, right_rest) = right.as_chunks::<8>();
    let mut partial = [0f32; 8];
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..8 {
            let difference = left[lane] - right[lane];
            partial[lane] += difference * difference;
        }
    }
    let rest: f32 =
        left_rest.iter().zip(right_rest).map(|(left, right)| (left - right) * (left - right)).sum();
    partial.iter().sum::<f32>() + rest
}

/// Support vectors, one row each, and how a row of features is compared with them.
#[derive(Debug)]
struct SupportVectors {
    values: Vec<f32>,
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
        Ok(Self { features: values.len() / count, values, similarity: Similarity::read(node)? })
    }

    /// Similarity of one row with every support vector.
    fn similarities(&self, row: &[f32], similarities: &mut [f32]) {
        for (similarity, vector) in
            similarities.iter_mut().zip(self.values.chunks_exact(self.features))
        {
            *similarity = self.similarity.of(row, vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Similarity, squared_distance};

    #[test]
    fn every_kernel_is_its_textbook_formula() {
        let (row, vector) = ([1.0, 2.0, -1.0], [0.5, -1.0, 3.0]);
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
            let found = similarity.of(&row, &vector);
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{similarity:?}: {found}");
        }
    }

    #[test]
    fn a_distance_counts_every_feature_also_beyond_whole_registers() {
        for width in 1..40u16 {
            let left: Vec<f32> = (0..width).map(f32::from).collect();
            let right = vec![0f32; usize::from(width)];
            let expected: u32 = (0..u32::from(width)).map(|value| value * value).sum();
            let error = f64::from(squared_distance(&left, &right)) - f64::from(expected);
            assert!(error.abs() < 0.5, "{width}: {error}");
        }
    }
}
