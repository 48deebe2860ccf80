"""What a case of the corpus is, and how scikit-learn estimators become cases."""

import dataclasses
import re
import typing

import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)


@dataclasses.dataclass
class Export:
    """A model, and which columns of which table feed each of its inputs."""

    model: onnx.ModelProto
    table: str
    inputs: dict[str, list[str]]


@dataclasses.dataclass
class Case:
    """One row of the table of cases. `make` trains and exports; it runs in a worker process."""

    name: str
    section: str
    what: str
    make: typing.Callable[[], Export]
    # Part of the message with which Cameo refuses the model, where that is as it should be.
    refused: str | None = None
    # Part of the message with which the exporter or ONNX Runtime fails.
    fails: str | None = None
    # Estimators that the case covers.
    estimators: frozenset[str] = frozenset()


# How the page calls what is learnt, and what is scored.
TARGETS = {
    None: "", "binary": "two classes", "yes_no": "two string labels", "three": "three classes", "words": "string labels",
    "odd": "", "multilabel": "several labels", "multiclass2": "several labels", "regression": "",
    "regression2": "several targets", "count": "counts", "positive": "positive numbers",
}
TABLES = {
    "dense": "", "missing": "NaN", "positive": "", "double": "float64", "double_missing": "float64, NaN", "counts": "int64", "flags": "boolean",
}


class Cases:
    """The table of cases, in order."""

    def __init__(self, data):
        self.data = data
        self.draw = data.draw
        self.cases = []
        self.section = ""

    def add(self, name, what, make, **more):
        assert all(case.name != name for case in self.cases), f"two cases are called {name}"
        self.cases.append(Case(name, self.section, what, make, **more))

    def estimator(self, estimator, target=None, table="dense", note="", options=None, opset=None, train=None, rows=None, **more):
        """An estimator with one matrix input.

        `target` is what it learns (`binary` for `data.binary_y`, `None` for nothing), `table` what it
        is scored on and, unless `train` says otherwise, the kind of values that it learns from.
        """
        kind = type(estimator).__name__ if not hasattr(estimator, "steps") else " → ".join(type(step).__name__ for _, step in estimator.steps)
        named = slug(" ".join([kind, target or "", "" if table == "dense" else table, note]))
        about = ", ".join(filter(None, [TARGETS[target], TABLES[table], note])) or "as it is"
        data = self.data

        def make():
            x = data.training(train or table)[:rows]
            y = None if target is None else getattr(data, f"{target}_y")[:rows]
            fitted = estimator.fit(x) if y is None else estimator.fit(x, y)
            last = fitted.steps[-1][1] if hasattr(fitted, "steps") else fitted
            model = to_onnx(
                fitted,
                initial_types=[("X", tensor_type(data.training(table).dtype, data.width))],
                options={id(last): options} if options else None,
                target_opset=opset,
            )
            return Export(model, table, {"X": list(data.tables[table])})

        self.add(named, f"{kind}: {about}", make, estimators=estimators_of(estimator), **more)

    def frame(self, name, what, estimator, columns, table="known", options=None, opset=None, target=None, **more):
        """An estimator over named columns of several types, one input per column."""
        data = self.data

        def make():
            frame = data.frame[columns]
            fitted = estimator.fit(frame, data.frame_y if target is None else target)
            types = [(column, tensor_type(frame[column].dtype, 1)) for column in columns]
            last = fitted.steps[-1][1] if hasattr(fitted, "steps") else fitted
            model = to_onnx(fitted, initial_types=types, options={id(last): options} if options else None, target_opset=opset)
            # The order of the query is not the order of the training frame.
            return Export(model, table, {column: [column] for column in reversed(columns)})

        self.add(name, what, make, estimators=estimators_of(estimator), **more)


def tensor_type(dtype, width):
    kinds = {"f4": FloatTensorType, "f8": DoubleTensorType, "i8": Int64TensorType, "b1": BooleanTensorType}
    kind = kinds.get(dtype.str[1:], StringTensorType)
    return kind([None, width])


def slug(text):
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def estimators_of(estimator):
    """Names of the classes of an estimator and of what it is made of."""
    found = {type(estimator).__name__}
    if hasattr(estimator, "get_params"):
        for value in estimator.get_params(deep=True).values():
            found |= {type(value).__name__} if hasattr(value, "fit") else set()
    return frozenset(found)
