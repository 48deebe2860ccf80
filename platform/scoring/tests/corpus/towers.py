"""Hand-built networks over several inputs: embeddings, two towers, scores of all items."""

import numpy as np
from onnx import helper

from cases import Export
from network import FLOAT, INT64, STRING, Network

CUSTOMERS, ITEMS = 40, 90


def register(cases):
    cases.section = "Embeddings and towers"
    data = cases.data

    def add(name, what, build, inputs, table="known", opset=17, **more):
        """`inputs`: name → value type, width (0 for one value per row) and columns."""
        def make():
            network = Network(np.random.default_rng([data.draw.seed, len(name)]), opset)
            for input_name, (kind, width, _) in inputs.items():
                network.input(input_name, kind, *([width] if width else []))
            build(network)
            return Export(network.model(), table, {input_name: columns for input_name, (_, _, columns) in inputs.items()})

        cases.add(f"network_{name}", what, make, **more)

    visits, age = (INT64, 0, ["visits"]), (INT64, 0, ["age"])
    spend, recency = (FLOAT, 1, ["spend"]), (FLOAT, 1, ["recency"])
    size = cases.draw.size(8, 2, 24)

    def embedding(network):
        value = network.op("Gather", network.weights(CUSTOMERS, size), "visits", axis=0)
        value = network.op("Concat", value, "spend", axis=1)
        network.output("score", network.op("Sigmoid", network.linear(value, size + 1, 1)), FLOAT, 1)

    add("embedding", "an embedding beside a number", embedding, {"visits": visits, "spend": spend})

    def towers(network):
        customer = network.op("Concat", network.op("Gather", network.weights(CUSTOMERS, size), "visits", axis=0), "spend", "recency", axis=1)
        customer = network.op("Tanh", network.linear(customer, size + 2, size))
        item = network.linear(network.op("Gather", network.weights(ITEMS, size), "age", axis=0), size, size)
        product = network.axes("ReduceSum", network.op("Mul", customer, item), [1], keepdims=1)
        network.output("score", network.op("Sigmoid", product), FLOAT, 1)
        norm = network.axes("ReduceL2", customer, [1], keepdims=1)
        network.output("vector", network.op("Div", customer, network.op("Add", norm, 1e-6)), FLOAT, size)

    add("two_towers", "two towers, their product and a vector", towers, {"visits": visits, "age": age, "spend": spend, "recency": recency})
    add("two_towers_opset_18", "two towers, opset 18", towers, {"visits": visits, "age": age, "spend": spend, "recency": recency}, opset=18)

    def all_items(network):
        customer = network.op("Gather", network.weights(CUSTOMERS, size), "visits", axis=0)
        scores = network.op("MatMul", customer, network.weights(size, ITEMS))
        best, places = network.op("TopK", scores, np.array([5], np.int64), axis=1, count=2)
        network.output("score", best, FLOAT, 5)
        network.output("item", places, INT64, 5)

    add("best_items", "the five best items for each customer", all_items, {"visits": visits})

    def bag(network):
        ids = network.op("Concat", network.axes("Unsqueeze", "visits", [1]), network.axes("Unsqueeze", "age", [1]), axis=1)
        vectors = network.op("Gather", network.weights(ITEMS, size), ids, axis=0)
        network.output("score", network.linear(network.axes("ReduceMean", vectors, [1], keepdims=0), size, 2), FLOAT, 2)

    add("bag_of_embeddings", "mean of embeddings", bag, {"visits": visits, "age": age})

    def wide_and_deep(network):
        deep = network.op("Gather", network.weights(CUSTOMERS, size), "visits", axis=0)
        deep = network.op("Relu", network.linear(deep, size, 4))
        wide = network.op("OneHot", "visits", np.array(CUSTOMERS, np.int64), np.array([0, 1], np.float32), axis=-1)
        value = network.op("Concat", wide, deep, "spend", axis=1)
        network.output("score", network.op("Sigmoid", network.linear(value, CUSTOMERS + 5, 1)), FLOAT, 1)

    add("wide_and_deep", "wide and deep network", wide_and_deep, {"visits": visits, "spend": spend})

    def strings(network):
        place = f"/LabelEncoder_{next(network.numbers)}"
        network.nodes.append(helper.make_node(
            "LabelEncoder", ["plan"], [place], domain="ai.onnx.ml", keys_strings=["basic", "plus", "premium"], values_int64s=[1, 2, 3], default_int64=0,
        ))
        value = network.op("Gather", network.weights(4, size), place, axis=0)
        network.output("score", network.linear(network.op("Concat", value, "spend", axis=1), size + 1, 1), FLOAT, 1)

    add("strings", "an embedding of strings, unknown ones included", strings, {"plan": (STRING, 0, ["plan"]), "spend": spend}, table="unseen")
