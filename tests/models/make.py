"""Makes the models of the scenarios: `python make.py`. Needs onnx 1.16 or newer.

`level.onnx`:

score = level + visits and twin = 2 * score. `visits` is an integer, so a row without it cannot be scored; with the
same level in every row, anyone can tell from one prediction which state of the data it was made from.

`../fixtures/ranking/marketing/offers/model.onnx` scores a customer with an offer:
score = visits * visits_weight + level * level_weight + bonus, as the dot product of two vectors and a bias.
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

graph = helper.make_graph(
    [
        helper.make_node("Cast", ["visits"], ["visits_float"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["visits_float", "level"], ["customer_vector"], axis=1),
        helper.make_node("Concat", ["visits_weight", "level_weight"], ["offer_vector"], axis=1),
        helper.make_node("Mul", ["customer_vector", "offer_vector"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axes"], ["dot"], keepdims=1),
        helper.make_node("Add", ["dot", "bonus"], ["score"]),
    ],
    "offers",
    [single("level", TensorProto.FLOAT), single("visits", TensorProto.INT64)]
    + [single(name, TensorProto.FLOAT) for name in ["visits_weight", "level_weight", "bonus"]],
    [single("score", TensorProto.FLOAT)],
    [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
checker.check_model(model)
folder = pathlib.Path(__file__).parent.parent / "fixtures/ranking/marketing/offers"
(folder / "model.onnx").write_bytes(model.SerializeToString())
