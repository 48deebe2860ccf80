"""Which of the estimators that skl2onnx converts the corpus covers, and why some are left out."""

from skl2onnx import supported_converters
from skl2onnx._supported_operators import build_sklearn_operator_name_map

# Estimators without a case, with the reason.
WITHOUT_CASE = {
    "DictVectorizer": "takes one dictionary per row; a query gives columns",
    "FeatureHasher": "its converter writes operators of a vendor's domain",
    "_ConstantPredictor": "private to scikit-learn: what OneVsRestClassifier makes of a class that never occurs",
}


def uncovered(lines):
    """Estimators that neither a case nor a reason mentions; must be empty."""
    covered = {name for line in lines for name in line["estimators"]}
    supported = {kind.__name__ for kind in build_sklearn_operator_name_map() if kind is not None}
    return sorted(supported - covered - set(WITHOUT_CASE))
