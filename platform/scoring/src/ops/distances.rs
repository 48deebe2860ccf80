//! Distances between each two rows of two tables: `CDist` of `com.microsoft`, and what
//! `graph::distances` makes of loops.

use std::ops::{AddAssign, Sub};

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, DimLike, Tensor, TractResult, bail, ensure,
};

use super::kernel::{Built, Kernel, ValueType, host, tensor, values, width};

/// What is summed over the features of two rows, and what becomes of the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    Squares,
    RootOfSquares,
    Magnitudes,
    /// Magnitudes to a power, without a root.
    Powers(f32),
}

#[derive(Debug)]
struct Distances {
    metric: Metric,
}

pub(super) fn cdist(_: &ParsingContext, node: &NodeProto) -> Built {
    let metric = match node.get_attr_opt::<&str>("metric")?.unwrap_or("sqeuclidean") {
        "sqeuclidean" => Metric::Squares,
        "euclidean" => Metric::RootOfSquares,
        "cityblock" => Metric::Magnitudes,
        "powers" => Metric::Powers(node.get_attr("exponent")?),
        other => bail!("expected metric euclidean or sqeuclidean, found {other}"),
    };
    host(Distances { metric }, 2)
}

/// A float that distances are computed in.
trait Real: Datum + Copy + Default + AddAssign + Sub<Output = Self> {
    fn magnitude(self) -> Self;
    fn square(self) -> Self;
    fn power(self, exponent: f32) -> Self;
    fn root(self) -> Self;
}

macro_rules! real {
    ($kind:ty) => {
        impl Real for $kind {
            fn magnitude(self) -> Self {
                self.abs()
            }

            fn square(self) -> Self {
                self * self
            }

            fn power(self, exponent: f32) -> Self {
                self.powf(exponent.into())
            }

            fn root(self) -> Self {
                self.sqrt()
            }
        }
    };
}

real!(f32);
real!(f64);

impl Kernel for Distances {
    fn name(&self) -> &'static str {
        "CDist"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        let ((kind, left), (other, right)) = (&inputs[0], &inputs[1]);
        ensure!(
            kind == other && matches!(kind, DatumType::F32 | DatumType::F64),
            "expected two tables of float or of double, found {kind:?} and {other:?}"
        );
        ensure!(
            left.len() == 2 && right.len() == 2,
            "expected two tables, found {} and {} dimensions",
            left.len(),
            right.len()
        );
        if let (Ok(left), Ok(right)) = (left[1].to_usize(), right[1].to_usize()) {
            ensure!(left == right, "rows of {left} and of {right} features have no distance");
        }
        Ok(vec![(*kind, vec![left[0].clone(), right[0].clone()])])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        Ok(vec![match inputs[0].datum_type() {
            DatumType::F32 => self.between::<f32>(inputs)?,
            DatumType::F64 => self.between::<f64>(inputs)?,
            other => bail!("expected floats, found {other:?}"),
        }])
    }
}

impl Distances {
    fn between<T: Real>(&self, inputs: &[&Tensor]) -> TractResult<Tensor> {
        let features = width(inputs[0])?;
        ensure!(width(inputs[1])? == features, "rows of different numbers of features");
        let (left, right) = (values::<T>(inputs[0])?, values::<T>(inputs[1])?);
        let (rows, columns) = (left.len() / features, right.len() / features);
        // Feature by feature, so that the innermost loop runs over neighbours in memory.
        let by_feature: Vec<T> = (0..features)
            .flat_map(|feature| right.iter().skip(feature).step_by(features).copied())
            .collect();
        let mut sums = vec![T::default(); rows * columns];
        if columns > 0 {
            for (row, sums) in left.chunks_exact(features).zip(sums.chunks_exact_mut(columns)) {
                for (value, others) in row.iter().zip(by_feature.chunks_exact(columns)) {
                    self.add(*value, others, sums);
                }
            }
        }
        if self.metric == Metric::RootOfSquares {
            for sum in &mut sums {
                *sum = sum.root();
            }
        }
        tensor(&[rows, columns], sums)
    }

    fn add<T: Real>(&self, value: T, others: &[T], sums: &mut [T]) {
        let pairs = sums.iter_mut().zip(others);
        match self.metric {
            Metric::Squares | Metric::RootOfSquares => {
                pairs.for_each(|(sum, other)| *sum += (value - *other).square());
            }
            Metric::Magnitudes => {
                pairs.for_each(|(sum, other)| *sum += (value - *other).magnitude());
            }
            Metric::Powers(exponent) => {
                pairs.for_each(|(sum, other)| *sum += (value - *other).magnitude().power(exponent));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_hir::internal::tensor2;

    use super::{Distances, Metric};
    use crate::ops::kernel::{Kernel, values};

    #[test]
    fn every_metric_is_its_definition_for_each_two_rows() {
        let left = tensor2(&[[0.0f64, 0.0], [3.0, -1.0]]);
        let right = tensor2(&[[3.0f64, 4.0], [0.0, 0.0], [1.0, 1.0]]);
        for (metric, expected) in [
            (Metric::Squares, [25.0, 0.0, 2.0, 25.0, 10.0, 8.0]),
            (Metric::RootOfSquares, [5.0, 0.0, 2f64.sqrt(), 5.0, 10f64.sqrt(), 8f64.sqrt()]),
            (Metric::Magnitudes, [7.0, 0.0, 2.0, 5.0, 4.0, 4.0]),
            (Metric::Powers(3.0), [91.0, 0.0, 2.0, 125.0, 28.0, 16.0]),
        ] {
            let found = Distances { metric }.eval(&[&left, &right]).expect("floats").remove(0);
            assert_eq!(found.shape(), [2, 3]);
            for (found, expected) in values::<f64>(&found).expect("floats").iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{metric:?}: {found} for {expected}");
            }
        }
    }
}
