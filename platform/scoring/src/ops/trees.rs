//! Tree ensembles inside a larger graph: the kernels of [`crate::trees`] over a tract tensor.

use std::fmt;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DimLike, Tensor, ToDim, TractResult, ensure, format_err,
};

use super::kernel::{Built, Kernel, ValueType, batch, floats, host, tensor, width};
use super::linear::label_tensor;
use crate::scores::Labels;
use crate::trees::{self, Matrix, Model};

struct Ensemble {
    model: Model,
}

pub(super) fn ensemble(_: &ParsingContext, node: &NodeProto) -> Built {
    host(Ensemble { model: trees::read(node).map_err(|error| format_err!("{error}"))? }, 1)
}

impl fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.model)
    }
}

impl Kernel for Ensemble {
    fn name(&self) -> &'static str {
        "TreeEnsemble"
    }

    fn output_count(&self) -> usize {
        if self.model.labels().is_some() { 2 } else { 1 }
    }

    fn infer(&self, inputs: &[ValueType]) -> TractResult<Vec<ValueType>> {
        if let Some(found) = inputs[0].1.last().and_then(|width| width.to_usize().ok()) {
            ensure!(
                found >= self.model.feature_count(),
                "its trees read feature {} and its input has {found} columns",
                self.model.feature_count() - 1
            );
        }
        let rows = batch(&inputs[0]);
        let scores = (f32::datum_type(), vec![rows.clone(), self.model.width().to_dim()]);
        Ok(match self.model.labels() {
            None => vec![scores],
            Some(Labels::Integers(_)) => vec![(i64::datum_type(), vec![rows]), scores],
            Some(Labels::Strings(_)) => vec![(String::datum_type(), vec![rows]), scores],
        })
    }

    fn eval(&self, inputs: &[&Tensor]) -> TractResult<Vec<Tensor>> {
        let width = width(inputs[0])?;
        ensure!(
            width >= self.model.feature_count(),
            "expected at least {} features, found {width}",
            self.model.feature_count()
        );
        let values = floats(inputs[0])?;
        let rows = values.len() / width;
        let mut scores = vec![0f32; rows * self.model.width()];
        let mut chosen = vec![0u32; if self.model.labels().is_some() { rows } else { 0 }];
        self.model.score(&Matrix { values: &values, width }, rows, &mut scores, &mut chosen);
        let scores = tensor(&[rows, self.model.width()], scores)?;
        Ok(match self.model.labels() {
            None => vec![scores],
            Some(labels) => {
                vec![label_tensor(labels, chosen.into_iter().map(|index| index as usize))?, scores]
            }
        })
    }
}
