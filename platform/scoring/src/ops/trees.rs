//! Tree ensembles inside a larger graph: the kernels of [`crate::trees`] over a tract tensor.

use std::fmt;
use std::sync::OnceLock;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    Datum, DatumType, DimLike, Tensor, ToDim, TractResult, ensure, format_err,
};

use super::kernel::{Built, Kernel, ValueType, batch, floats, host, tensor, values, width};
use super::labels::label_tensor;
use crate::scores::Labels;
use crate::trees::{self, Features, Matrix, Model, Precision};

struct Ensemble {
    model: Model,
    /// The model over doubles where the attributes are floats and the input turns out to be of doubles.
    over_doubles: OnceLock<Model>,
}

pub(super) fn ensemble(_: &ParsingContext, node: &NodeProto) -> Built {
    let model = trees::read(node).map_err(|error| format_err!("{error}"))?;
    host(Ensemble { model, over_doubles: OnceLock::new() }, 1)
}

impl Ensemble {
    /// The model for an input of a type.
    fn over(&self, kind: DatumType) -> &Model {
        if kind == f64::datum_type() && self.model.precision() == Precision::Single {
            self.over_doubles.get_or_init(|| self.model.for_double_input())
        } else {
            &self.model
        }
    }

    fn score(
        &self,
        model: &Model,
        features: &impl Features,
        rows: usize,
    ) -> TractResult<Vec<Tensor>> {
        let shape = [rows, model.width()];
        let mut chosen = vec![0u32; if model.labels().is_some() { rows } else { 0 }];
        let scores = if model.gives_double() {
            let mut scores = vec![0f64; rows * model.width()];
            model.score_double(features, rows, &mut scores, &mut chosen);
            tensor(&shape, scores)?
        } else {
            let mut scores = vec![0f32; rows * model.width()];
            model.score(features, rows, &mut scores, &mut chosen);
            tensor(&shape, scores)?
        };
        Ok(match self.model.labels() {
            None => vec![scores],
            Some(labels) => {
                vec![label_tensor(labels, chosen.into_iter().map(|index| index as usize))?, scores]
            }
        })
    }
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
        let kind = if self.model.gives_double() { f64::datum_type() } else { f32::datum_type() };
        let scores = (kind, vec![rows.clone(), self.model.width().to_dim()]);
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
        let kind = inputs[0].datum_type();
        let model = self.over(kind);
        if kind == f64::datum_type() {
            let values = values::<f64>(inputs[0])?;
            self.score(model, &Matrix { values, width }, values.len() / width)
        } else {
            let values = floats(inputs[0])?;
            self.score(model, &Matrix { values: &values[..], width }, values.len() / width)
        }
    }
}
