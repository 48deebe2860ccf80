"""Builds networks node by node, as an exporter of a deep-learning framework writes them."""

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
INT64, INT32, BOOL, STRING = TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING
# Version of the file format by operator set, as frameworks write it.
FORMAT_VERSIONS = {11: 6, 13: 7, 15: 8, 17: 8, 18: 8, 20: 9, 21: 10, 22: 10}


class Network:
    """A graph under construction. Values are names."""

    def __init__(self, random, opset=17, batch="batch_size"):
        self.random, self.opset, self.batch = random, opset, batch
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []
        self.numbers = itertools.count()

    def input(self, name, kind, *dims):
        self.inputs.append(helper.make_tensor_value_info(name, kind, [self.batch, *dims]))
        return name

    def output(self, name, value, kind, *dims):
        self.op("Identity", value, to=name)
        self.outputs.append(helper.make_tensor_value_info(name, kind, [self.batch, *dims]))

    def op(self, operator, *inputs, to=None, count=1, **attributes):
        """One node; constants among the inputs may be NumPy arrays or plain numbers."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        outputs = [to] if to else [f"/{operator}_{next(self.numbers)}" for _ in range(count)]
        self.nodes.append(helper.make_node(operator, names, outputs, name=outputs[0], **attributes))
        return outputs[0] if count == 1 else outputs

    def constant(self, value):
        value = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
        name = f"constant_{next(self.numbers)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def weights(self, *shape, scale=None):
        scale = scale or 1 / np.sqrt(shape[0] if len(shape) > 1 else 4)
        return self.random.normal(0, scale, shape).astype(np.float32)

    def linear(self, value, width_in, width_out):
        """A dense layer as PyTorch writes it."""
        return self.op("Gemm", value, self.weights(width_out, width_in, scale=1 / np.sqrt(width_in)), self.weights(width_out), transB=1)

    def dense(self, value, width_in, width_out):
        """A dense layer as TensorFlow writes it."""
        return self.op("Add", self.op("MatMul", value, self.weights(width_in, width_out)), self.weights(width_out))

    def cast(self, value, kind):
        output = f"/Cast_{next(self.numbers)}"
        self.nodes.append(helper.make_node("Cast", [value], [output], to=kind))
        return output

    def axes(self, operator, value, axes, **attributes):
        """An operator whose axes moved from an attribute to an input (ReduceSum at 13, the others at 18)."""
        since = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13}.get(operator, 18)
        if self.opset >= since:
            return self.op(operator, value, np.array(axes, np.int64), **attributes)
        return self.op(operator, value, axes=axes, **attributes)

    def model(self):
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=FORMAT_VERSIONS[self.opset], producer_name="corpus"
        )
        onnx.checker.check_model(model)
        return model
