//! `SVMRegressor`, also as a novelty detector of one class.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, Tensor, ToDim, TractResult, ensure};

use super::{SupportVectors, fused_dot};
use crate::ops::kernel::{Built, Kernel, ValueType, batch, expect_width, float_rows, host, tensor};

#[derive(Debug)]
enum Decision {
    /// A weight per support vector.
    Vectors { vectors: SupportVectors, weights: Vec<f32> },
    /// A weight per feature.
    Linear { weights: Vec<f32> },
}

#[derive(Debug)]
struct SvmRegressor {
    decision: Decision,
    offset: f32,
    /// Gives 1 for an inlier and -1 for an outlier in place of the decision.
    one_class: bool,
}

pub(crate) fn regressor(_: &ParsingContext, node: &NodeProto) -> Built {
    let count = node.get_attr_opt::<usize>("n_supports")?.unwrap_or(0);
    let weights = node.get_attr_opt_vec::<f32>("coefficients")?.unwrap_or_default();
    let rho = node.get_attr_opt_vec::<f32>("rho")?.unwrap_or_default();
    let post = node.get_attr_opt::<&str>("post_transform")?.unwrap_or("NONE");
    ensure!(
        post == "NONE",
        "expected post_transform NONE, the only one that runtimes apply to an SVMRegressor, found \
         {post}; put the transform in a node of its own"
    );
    ensure!(rho.len() == 1, "expected one value in rho, found {}", rho.len());
    let decision = if count > 0 {
        ensure!(
            weights.len() == count,
            "expected one coefficient per support vector ({count}), found {}",
            weights.len()
        );
        Decision::Vectors { vectors: SupportVectors::read(node, count)?, weights }
    } else {
        ensure!(!weights.is_empty(), "expected coefficients, found none");
        Decision::Linear { weights }
    };
    let one_class = node.get_attr_opt::<i64>("one_class")?.unwrap_or(0) != 0;
    host(SvmRegressor { decision, offset: rho[0], one_class }, 1)
}

impl SvmRegressor {
    fn features(&self) -> usize {
        match &self.decision {
            Decision::Vectors { vectors, .. } => vectors.features,
            Decision::Linear { weights } => weights.len(),
        }
    }
}

impl Kernel for SvmRegressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        expect_width(&inputs[0], self.features())?;
        Ok(vec![(f32::datum_type(), vec![batch(&inputs[0]), 1.to_dim()])])
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let values = float_rows(inputs[0], self.features())?;
        let mut similarities = match &self.decision {
            Decision::Vectors { weights, .. } => vec![0f32; weights.len()],
            Decision::Linear { .. } => Vec::new(),
        };
        let decisions: Vec<f32> = values
            .chunks_exact(self.features())
            .map(|row| {
                let sum = match &self.decision {
                    Decision::Vectors { vectors, weights } => {
                        vectors.similarities(row, &mut similarities);
                        fused_dot(&similarities, weights)
                    }
                    Decision::Linear { weights } => fused_dot(row, weights),
                };
                match (self.one_class, sum + self.offset) {
                    (false, decision) => decision,
                    (true, decision) if decision > 0.0 => 1.0,
                    (true, _) => -1.0,
                }
            })
            .collect();
        Ok(vec![tensor(&[decisions.len(), 1], decisions)?])
    }
}
