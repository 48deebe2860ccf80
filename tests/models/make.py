"""Makes `level.onnx`, the model of the scenarios: `python make.py`. Needs onnx 1.16 or newer.

score = level + visits and twin = 2 * score. `visits` is an integer, so a row without it cannot be scored; with the
same level in every row, anyone can tell from one prediction which state of the data it was made from.
"""

import pathlib

from onnx import TensorProto, checker, helper


def single(name: str, kind: int):
    return helper.make_tensor_value_info(name, kind, ["N", 1])


graph = helper.make_graph(
    [
        helper.make_node("Cast", ["visits"], ["visits_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["level", "visits_float"], ["score"]),
        helper.make_node("Mul", ["score", "two"], ["twin"]),
    ],
    "level",
    [single("level", TensorProto.FLOAT), single("visits", TensorProto.INT64)],
    [single("score", TensorProto.FLOAT), single("twin", TensorProto.FLOAT)],
    [helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
checker.check_model(model)
pathlib.Path(__file__).with_name("level.onnx").write_bytes(model.SerializeToString())
