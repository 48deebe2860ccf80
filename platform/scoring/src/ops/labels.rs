//! What classifiers share: their class labels and how these become a tensor.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, DatumType, Tensor, TractResult, format_err};

use super::kernel::tensor;
use crate::scores::{Labels, PostTransform};

/// The class labels of a node; `integers` is what its operator calls those that are no strings.
pub(super) fn labels(node: &NodeProto, integers: &str) -> TractResult<Labels> {
    let strings = node.get_attr_opt_vec::<String>("classlabels_strings")?.unwrap_or_default();
    Ok(if strings.is_empty() {
        Labels::Integers(node.get_attr_opt_vec(integers)?.unwrap_or_default())
    } else {
        Labels::Strings(strings)
    })
}

pub(super) fn post_transform(node: &NodeProto) -> TractResult<PostTransform> {
    let name = node.get_attr_opt::<&str>("post_transform")?.unwrap_or("NONE");
    PostTransform::parse(name).ok_or_else(|| {
        format_err!(
            "expected post_transform NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT, found {name}"
        )
    })
}

pub(super) fn label_type(labels: &Labels) -> DatumType {
    match labels {
        Labels::Integers(_) => i64::datum_type(),
        Labels::Strings(_) => String::datum_type(),
    }
}

/// The labels of class indices.
pub(super) fn label_tensor(
    labels: &Labels,
    chosen: impl ExactSizeIterator<Item = usize>,
) -> TractResult<Tensor> {
    let rows = chosen.len();
    match labels {
        Labels::Integers(labels) => tensor(&[rows], chosen.map(|index| labels[index]).collect()),
        Labels::Strings(labels) => {
            tensor(&[rows], chosen.map(|index| labels[index].clone()).collect())
        }
    }
}
