"""Hand-built networks over one matrix: perceptrons, activations, normalisations, sequences."""

import numpy as np


from cases import Export
from network import BOOL, DOUBLE, FLOAT, INT64, Network


def register(cases):
    perceptrons(cases)
    activations(cases)
    layers(cases)
    shapes(cases)


class Networks:
    """Adds networks whose input `x` is the matrix of a table."""

    def __init__(self, cases):
        self.cases, self.data, self.width = cases, cases.data, cases.data.width

    def add(self, name, what, build, table="dense", kind=FLOAT, opset=17, batch="batch_size", **more):
        """`build` gets the network and the name of its input, and marks its outputs."""
        def make():
            random = np.random.default_rng([self.data.draw.seed, len(name), sum(name.encode())])
            network = Network(random, opset, batch)
            build(network, network.input("x", kind, self.width))
            return Export(network.model(), table, {"x": list(self.data.tables[table])})

        self.cases.add(f"network_{name}", what, make, **more)


def perceptrons(cases):
    cases.section = "Perceptrons"
    networks = Networks(cases)
    hidden, width = cases.draw.size(24, 3, 80), networks.width

    def perceptron(network, x):
        value = network.op("Relu", network.linear(x, width, hidden))
        value = network.op("Relu", network.linear(value, hidden, 8))
        network.output("score", network.op("Sigmoid", network.linear(value, 8, 1)), FLOAT, 1)

    for opset in (11, 13, 15, 17, 18, 20, 21, 22):
        networks.add(f"perceptron_opset_{opset}", f"Gemm, Relu, Sigmoid, opset {opset}", perceptron, opset=opset)
    networks.add("unnamed_batch", "batch dimension without a name", perceptron, batch=None)
    networks.add("fixed_batch", "batch dimension of 1, as exported without dynamic axes", perceptron, batch=1)

    def tensorflow(network, x):
        value = network.op("Relu", network.dense(x, width, hidden))
        network.output("score", network.op("Sigmoid", network.dense(value, hidden, 1)), FLOAT, 1)

    networks.add("matmul_and_add", "MatMul, Add, Relu, as TensorFlow writes it", tensorflow)

    def classifier(network, x):
        value = network.op("Relu", network.linear(x, width, hidden))
        logits = network.linear(value, hidden, 4)
        scores = network.op("Softmax", logits, axis=1)
        network.output("scores", scores, FLOAT, 4)
        network.output("label", network.op("ArgMax", scores, axis=1, keepdims=0), INT64)

    for opset in (11, 13, 18):
        networks.add(f"softmax_opset_{opset}", f"Softmax and ArgMax, opset {opset}", classifier, opset=opset)

    def log_softmax(network, x):
        network.output("scores", network.op("LogSoftmax", network.linear(x, width, 3), axis=-1), FLOAT, 3)

    networks.add("log_softmax", "LogSoftmax", log_softmax)

    def flat(network, x):
        value = network.op("Tanh", network.linear(x, width, hidden))
        network.output("score", network.axes("Squeeze", network.linear(value, hidden, 1), [1]), FLOAT)

    networks.add("squeezed", "Squeeze to one dimension", flat)
    networks.add("squeezed_opset_11", "Squeeze to one dimension, opset 11", flat, opset=11)

    def many(network, x):
        value = network.op("Relu", network.linear(x, width, hidden))
        network.output("mean", network.linear(value, hidden, 1), FLOAT, 1)
        network.output("spread", network.op("Softplus", network.linear(value, hidden, 1)), FLOAT, 1)
        network.output("quantiles", network.linear(value, hidden, 3), FLOAT, 3)
        network.output("churns", network.op("Greater", network.linear(value, hidden, 1), 0.0), BOOL, 1)

    networks.add("several_outputs", "several outputs, one boolean", many)

    def doubles(network, x):
        value = network.op("MatMul", x, network.weights(width, 6).astype(np.float64))
        network.output("score", network.op("Tanh", network.op("Add", value, network.weights(6).astype(np.float64))), DOUBLE, 6)

    networks.add("doubles", "double precision", doubles, table="double", kind=DOUBLE)

    def integers(network, x):
        value = network.op("Div", network.cast(x, FLOAT), 10.0)
        network.output("score", network.linear(value, width, 2), FLOAT, 2)

    networks.add("integers", "integer input, cast inside", integers, table="counts", kind=INT64)

    def flags(network, x):
        network.output("score", network.linear(network.cast(x, FLOAT), width, 2), FLOAT, 2)

    networks.add("flags", "boolean input, cast inside", flags, table="flags", kind=BOOL)

    def imputing(network, x):
        value = network.op("Where", network.op("IsNaN", x), network.weights(width), x)
        network.output("score", network.linear(value, width, 1), FLOAT, 1)

    networks.add("missing", "missing values replaced inside", imputing, table="missing")


def activations(cases):
    cases.section = "Activations"
    networks = Networks(cases)
    width = networks.width
    simple = [
        ("Relu", {}, 17), ("LeakyRelu", {"alpha": 0.1}, 17), ("Elu", {"alpha": 0.7}, 17), ("Selu", {}, 17), ("Celu", {"alpha": 0.8}, 17),
        ("Sigmoid", {}, 17), ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}, 17), ("Tanh", {}, 17), ("Softplus", {}, 17), ("Softsign", {}, 17),
        ("HardSwish", {}, 17), ("ThresholdedRelu", {"alpha": 0.4}, 17), ("Mish", {}, 18), ("Gelu", {}, 20), ("Gelu", {"approximate": "tanh"}, 20),
        ("Erf", {}, 17), ("Sin", {}, 17), ("Cos", {}, 17), ("Exp", {}, 17), ("Abs", {}, 17), ("Neg", {}, 17), ("Floor", {}, 17), ("Ceil", {}, 17),
        ("Round", {}, 17), ("Sign", {}, 17), ("Atan", {}, 17), ("Sinh", {}, 17), ("Cosh", {}, 17), ("Asinh", {}, 17),
    ]
    for operator, attributes, opset in simple:
        def build(network, x, operator=operator, attributes=attributes):
            network.output("score", network.op(operator, network.linear(x, width, 5), **attributes), FLOAT, 5)

        approximate = " by tanh" if "approximate" in attributes else ""
        networks.add(f"{operator.lower()}{approximate.replace(' ', '_')}", f"{operator}{approximate}", build, opset=opset)
    positive = [("Sqrt", {}), ("Log", {}), ("Reciprocal", {})]
    for operator, attributes in positive:
        def build(network, x, operator=operator):
            network.output("score", network.op(operator, network.op("Add", network.op("Abs", x), 0.5)), FLOAT, width)

        networks.add(operator.lower(), operator, build)

    def silu(network, x):
        value = network.linear(x, width, 5)
        network.output("score", network.op("Mul", value, network.op("Sigmoid", value)), FLOAT, 5)

    networks.add("silu", "SiLU from Sigmoid and Mul", silu)

    def gelu(network, x):
        value = network.linear(x, width, 5)
        erf = network.op("Add", network.op("Erf", network.op("Div", value, 1.4142135)), 1.0)
        network.output("score", network.op("Mul", network.op("Mul", value, erf), 0.5), FLOAT, 5)

    networks.add("gelu_from_erf", "GELU from Erf", gelu, opset=13)

    def prelu(network, x):
        network.output("score", network.op("PRelu", network.linear(x, width, 5), network.weights(5)), FLOAT, 5)

    networks.add("prelu", "PRelu", prelu)

    def clip(network, x):
        network.output("score", network.op("Clip", network.linear(x, width, 5), -0.5, 0.5), FLOAT, 5)

    networks.add("clip", "Clip", clip)

    def powers(network, x):
        value = network.op("Pow", network.op("Max", network.op("Abs", x), 0.1), 1.7)
        network.output("score", network.op("Min", value, 3.0), FLOAT, width)

    networks.add("powers", "Pow, Max, Min", powers)

    def gate(network, x):
        left, right = network.op("Split", network.linear(x, width, 8), axis=-1, count=2)
        network.output("score", network.op("Mul", left, network.op("Sigmoid", right)), FLOAT, 4)

    networks.add("gated", "gated linear unit (Split)", gate, opset=13)


def layers(cases):
    cases.section = "Layers"
    networks = Networks(cases)
    width = networks.width

    def add(name, what, build, **more):
        networks.add(name, what, build, **more)

    def batch_norm(network, x):
        value = network.linear(x, width, 6)
        statistics = [network.weights(6), network.weights(6), network.weights(6), np.abs(network.weights(6)) + 0.5]
        network.output("score", network.op("Relu", network.op("BatchNormalization", value, *statistics)), FLOAT, 6)

    for opset in (11, 15):
        add(f"batch_norm_opset_{opset}", f"BatchNormalization, opset {opset}", batch_norm, opset=opset)

    def layer_norm(network, x):
        value = network.op("LayerNormalization", network.linear(x, width, 6), network.weights(6), network.weights(6), axis=-1)
        network.output("score", value, FLOAT, 6)

    add("layer_norm", "LayerNormalization", layer_norm)

    def layer_norm_in_parts(network, x):
        centred = network.op("Sub", x, network.axes("ReduceMean", x, [-1], keepdims=1))
        variance = network.axes("ReduceMean", network.op("Pow", centred, 2.0), [-1], keepdims=1)
        value = network.op("Div", centred, network.op("Sqrt", network.op("Add", variance, 1e-5)))
        network.output("score", network.linear(value, width, 2), FLOAT, 2)

    add("layer_norm_in_parts", "layer normalisation from ReduceMean, Pow, Sqrt", layer_norm_in_parts, opset=13)
    add("layer_norm_in_parts_opset_18", "layer normalisation in parts, opset 18", layer_norm_in_parts, opset=18)

    def rms_norm(network, x):
        mean = network.axes("ReduceMean", network.op("Mul", x, x), [-1], keepdims=1)
        network.output("score", network.op("Div", x, network.op("Sqrt", network.op("Add", mean, 1e-6))), FLOAT, width)

    add("rms_norm", "root-mean-square normalisation", rms_norm)

    def dropout(network, x):
        value = network.op("Dropout", network.linear(x, width, 6))
        network.output("score", network.linear(value, 6, 1), FLOAT, 1)

    add("dropout", "Dropout at inference", dropout)

    def residual(network, x):
        value = network.linear(x, width, 6)
        for _ in range(2):
            value = network.op("Add", value, network.op("Relu", network.linear(value, 6, 6)))
        network.output("score", network.linear(value, 6, 1), FLOAT, 1)

    add("residual", "residual blocks", residual)

    def autoencoder(network, x):
        decoded = network.linear(network.op("Relu", network.linear(x, width, 3)), 3, width)
        error = network.op("Sub", x, decoded)
        network.output("reconstruction_error", network.axes("ReduceMean", network.op("Mul", error, error), [1], keepdims=0), FLOAT)

    add("autoencoder", "autoencoder, error of the reconstruction", autoencoder)

    def machine(network, x):
        factors = network.weights(width, 4)
        total = network.op("MatMul", x, factors)
        squares = network.op("MatMul", network.op("Mul", x, x), factors**2)
        pairs = network.axes("ReduceSum", network.op("Sub", network.op("Mul", total, total), squares), [1], keepdims=1)
        network.output("score", network.op("Sigmoid", network.op("Add", network.linear(x, width, 1), network.op("Mul", pairs, 0.05))), FLOAT, 1)

    add("factorisation_machine", "factorisation machine", machine)

    def cross(network, x):
        value = x
        for _ in range(2):
            value = network.op("Add", network.op("Mul", x, network.linear(value, width, width)), value)
        network.output("score", network.linear(network.op("Concat", value, network.op("Relu", network.linear(x, width, 6)), axis=1), width + 6, 1), FLOAT, 1)

    add("deep_and_cross", "deep and cross network", cross)

    def experts(network, x):
        gates = network.op("Softmax", network.linear(x, width, 3), axis=-1)
        outputs = network.op("Concat", *(network.linear(x, width, 1) for _ in range(3)), axis=1)
        network.output("score", network.axes("ReduceSum", network.op("Mul", gates, outputs), [1], keepdims=1), FLOAT, 1)

    add("experts", "mixture of experts", experts)

    def quantised(network, x):
        scale, zero = np.float32(0.05), np.uint8(128)
        quantised_x = network.op("DequantizeLinear", network.op("QuantizeLinear", x, scale, zero), scale, zero)
        network.output("score", network.linear(quantised_x, width, 2), FLOAT, 2)

    add("quantised", "QuantizeLinear and DequantizeLinear", quantised)

    def dynamic(network, x):
        weights = network.random.integers(-100, 100, (width, 4)).astype(np.int8)
        value, scale, zero = network.op("DynamicQuantizeLinear", x, count=3)
        product = network.cast(network.op("MatMulInteger", value, weights, zero), FLOAT)
        network.output("score", network.op("Mul", product, network.op("Mul", scale, 0.01)), FLOAT, 4)

    add("dynamically_quantised", "DynamicQuantizeLinear and MatMulInteger", dynamic)


def shapes(cases):
    cases.section = "Shapes and sequences"
    networks = Networks(cases)
    width = networks.width
    steps = next(steps for steps in (4, 3, 2, 1) if width % steps == 0)
    depth = width // steps
    add = networks.add

    def sequence(network, x):
        return network.op("Reshape", x, np.array([-1, steps, depth], np.int64))

    def attention(network, x):
        tokens = sequence(network, x)
        query, key, value = (network.op("MatMul", tokens, network.weights(depth, 4)) for _ in range(3))
        scores = network.op("MatMul", query, network.op("Transpose", key, perm=[0, 2, 1]))
        mixed = network.op("MatMul", network.op("Softmax", network.op("Div", scores, 2.0), axis=-1), value)
        network.output("score", network.linear(network.op("Flatten", mixed, axis=1), steps * 4, 1), FLOAT, 1)

    add("attention", "attention over tokens", attention)

    def convolution(network, x):
        value = network.op("Reshape", x, np.array([0, 1, -1], np.int64))
        value = network.op("Relu", network.op("Conv", value, network.weights(4, 1, 3), network.weights(4), kernel_shape=[3], pads=[1, 1]))
        pooled = network.op("Flatten", network.op("GlobalAveragePool", value), axis=1)
        network.output("score", network.linear(pooled, 4, 1), FLOAT, 1)

    add("convolution", "Conv and GlobalAveragePool over a series", convolution)

    def pooling(network, x):
        value = network.axes("Unsqueeze", x, [1])
        value = network.op("MaxPool", value, kernel_shape=[2], strides=[2])
        network.output("score", network.axes("ReduceMax", value, [2], keepdims=0), FLOAT, 1)

    add("pooling", "MaxPool over a series", pooling)

    def recurrent(operator, gates, from_zeros):
        def build(network, x):
            steps_first = network.op("Transpose", sequence(network, x), perm=[1, 0, 2])
            states = []
            if from_zeros:
                rows = network.op("Gather", network.op("Shape", steps_first), np.array([1], np.int64), axis=0)
                shape = network.op("Concat", np.array([1], np.int64), rows, np.array([5], np.int64), axis=0)
                states = ["", *[network.op("Expand", 0.0, shape) for _ in range(2 if operator == "LSTM" else 1)]]
            outputs = network.op(
                operator, steps_first, network.weights(1, gates * 5, depth, scale=0.4), network.weights(1, gates * 5, 5, scale=0.4),
                network.weights(1, 2 * gates * 5), *states, hidden_size=5, count=2,
            )
            network.output("score", network.linear(network.axes("Squeeze", outputs[1], [0]), 5, 1), FLOAT, 1)

        return build

    for operator, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        add(operator.lower(), f"{operator} over steps, states from zeros as PyTorch writes them", recurrent(operator, gates, True))
        add(f"{operator.lower()}_without_state", f"{operator} over steps without initial states", recurrent(operator, gates, False))

    def dynamic_shape(network, x):
        rows = network.op("Gather", network.op("Shape", x), np.array([0], np.int64), axis=0)
        shape = network.op("Concat", rows, np.array([steps, depth], np.int64), axis=0)
        value = network.op("Reshape", x, shape)
        network.output("score", network.axes("ReduceSum", value, [2], keepdims=0), FLOAT, steps)

    add("dynamic_shape", "Reshape by Shape, Gather, Concat", dynamic_shape)

    def slices(network, x):
        half = width // 2
        left = network.op("Slice", x, np.array([0], np.int64), np.array([half], np.int64), np.array([1], np.int64))
        right = network.op("Slice", x, np.array([-half], np.int64), np.array([2**31], np.int64), np.array([1], np.int64))
        network.output("score", network.op("Sub", left, right), FLOAT, half)

    add("slices", "Slice from the front and the back", slices)

    def padded(network, x):
        value = network.op("Pad", x, np.array([0, 1, 0, 2], np.int64), np.float32(0.5))
        network.output("score", network.linear(value, width + 3, 2), FLOAT, 2)

    add("padded", "Pad", padded)

    def einsum(network, x):
        value = network.op("Einsum", sequence(network, x), network.weights(depth, 3), equation="bsd,dk->bsk")
        network.output("score", network.op("Flatten", value, axis=1), FLOAT, steps * 3)

    add("einsum", "Einsum", einsum)

    def expanded(network, x):
        rows = network.op("Gather", network.op("Shape", x), np.array([0], np.int64), axis=0)
        shape = network.op("Concat", rows, np.array([2], np.int64), axis=0)
        token = network.op("Expand", network.weights(1, 2), shape)
        network.output("score", network.linear(network.op("Concat", x, token, axis=1), width + 2, 1), FLOAT, 1)

    add("expanded", "a learned token for every row (Expand)", expanded)

    def constant_of_shape(network, x):
        rows = network.op("Gather", network.op("Shape", x), np.array([0], np.int64), axis=0)
        ones = network.op("ConstantOfShape", network.op("Concat", rows, np.array([1], np.int64), axis=0))
        network.output("score", network.linear(network.op("Concat", x, ones, axis=1), width + 1, 1), FLOAT, 1)

    add("constant_of_shape", "ConstantOfShape of the batch", constant_of_shape)

    def tops(network, x):
        values, places = network.op("TopK", x, np.array([3], np.int64), axis=1, count=2)
        network.output("values", values, FLOAT, 3)
        network.output("places", places, INT64, 3)

    add("top_k", "TopK", tops)

    def conditions(network, x):
        high = network.op("And", network.op("Greater", x, 0.5), network.op("Not", network.op("Less", x, -2.0)))
        value = network.op("Where", network.op("Or", high, network.op("Equal", x, 0.0)), network.op("Mul", x, 2.0), x)
        network.output("score", value, FLOAT, width)

    add("conditions", "Greater, Less, Equal, And, Or, Not, Where", conditions)

    def cumulative(network, x):
        network.output("score", network.op("CumSum", x, np.array(1, np.int64)), FLOAT, width)

    add("cumulative", "CumSum", cumulative)

    def reductions(network, x):
        kinds = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
        value = network.op("Concat", *(network.axes(kind, x, [1], keepdims=1) for kind in kinds), axis=1)
        network.output("score", value, FLOAT, len(kinds))

    add("reductions", "all reductions, opset 17", reductions)
    add("reductions_opset_18", "all reductions, opset 18", reductions, opset=18)

    def buckets(network, x):
        wide = network.axes("Unsqueeze", x, [2])
        bucket = network.axes("ReduceSum", network.cast(network.op("Greater", wide, np.array([-1, 0, 1], np.float32)), INT64), [2], keepdims=0)
        hot = network.op("OneHot", bucket, np.array(4, np.int64), np.array([0, 1], np.float32), axis=-1)
        network.output("score", network.linear(network.op("Flatten", hot, axis=1), width * 4, 1), FLOAT, 1)

    add("buckets", "bucketised and one-hot inside", buckets)
