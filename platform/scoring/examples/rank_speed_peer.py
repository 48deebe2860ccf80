"""Ranking beside its peers, in one run and on one thread each.

Usage: python rank_speed_peer.py PROGRAM, where PROGRAM is the built example `rank_speed`
(cargo build --release -p cameo-scoring --example rank_speed).

Two towers with a dot product of 32 values, 100,000 customers and 2,000 items, the best 10: numpy's matrix product with
argpartition over blocks of customers. A LightGBM ensemble over pairs of 20 customer and 10 item columns, 2,000 items:
ONNX Runtime over the same pairs, with argpartition. Both peers are given vectors and pairs that are already in memory,
while Cameo starts from feature columns.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import lightgbm
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

CUSTOMERS, ITEMS, TOP_N, VALUES = 100_000, 2_000, 10, 32
TOWER_FEATURES = 24
CUSTOMER_COLUMNS, ITEM_COLUMNS = 20, 10
SECONDS, ATTEMPTS = 2.0, 3

program = os.path.abspath(sys.argv[1])
os.chdir(tempfile.mkdtemp(prefix="rank-speed-"))
random = np.random.default_rng(0)


def rate(step):
    """Pairs per CPU second of `step`, which says how many pairs it did."""
    step()
    best = 0.0
    for _ in range(ATTEMPTS):
        pairs, start = 0, time.process_time()
        while time.process_time() - start < SECONDS:
            pairs += step()
        best = max(best, pairs / (time.process_time() - start))
    return best


def top(scores):
    found = np.argpartition(-scores, TOP_N, axis=1)[:, :TOP_N]
    return np.take_along_axis(found, np.argsort(-np.take_along_axis(scores, found, 1), axis=1, kind="stable"), 1)


def ours(model, customers, items):
    customers.tofile("customers.f32")
    items.tofile("items.f32")
    widths = str(customers.shape[1]), str(items.shape[1])
    command = [program, model, "customers.f32", widths[0], "items.f32", widths[1], str(TOP_N), str(SECONDS)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def show(name, found, peer_name, peer):
    growth = found["resident_growth_bytes"] / 2**20
    print(f"{name}, by {found['by']}")
    print(f"  cameo {found['pairs_per_cpu_second'] / 1e6:>10,.1f} million pairs per CPU second"
          f" (memory grows by {growth:.1f} MiB after the first batch)")
    print(f"  {peer_name} {peer / 1e6:>10,.1f} million pairs per CPU second; ratio {found['pairs_per_cpu_second'] / peer:.1f}")


def towers():
    nodes, constants = [], []
    for side in ("customer", "item"):
        weights = (random.standard_normal((TOWER_FEATURES, VALUES)) / 5).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"{side}_weights"))
        nodes.append(helper.make_node("MatMul", [side, f"{side}_weights"], [f"{side}_vector"]))
    nodes += [
        helper.make_node("Mul", ["customer_vector", "item_vector"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axes"], ["dot"], keepdims=1),
        helper.make_node("Sigmoid", ["dot"], ["score"]),
    ]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
    graph = helper.make_graph(
        nodes, "towers", [value("customer", TOWER_FEATURES), value("item", TOWER_FEATURES)], [value("score", 1)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, "towers.onnx")
    customers = random.standard_normal((CUSTOMERS, TOWER_FEATURES)).astype(np.float32)
    items = random.standard_normal((ITEMS, TOWER_FEATURES)).astype(np.float32)
    vectors = [
        side @ numpy_helper.to_array(weights) for side, weights in zip((customers, items), constants[:2])
    ]
    at = 0

    def step(block=1024):
        nonlocal at
        part = vectors[0][at : at + block]
        at = (at + block) % (CUSTOMERS - block)
        top(part @ vectors[1].T)
        return len(part) * ITEMS

    show("two towers", ours("towers.onnx", customers, items), "numpy", rate(step))


def forest():
    customers = random.standard_normal((CUSTOMERS // 10, CUSTOMER_COLUMNS)).astype(np.float32)
    items = random.standard_normal((ITEMS, ITEM_COLUMNS)).astype(np.float32)
    pair = lambda rows: np.hstack([np.repeat(rows, ITEMS, 0), np.tile(items, (len(rows), 1))])
    train = pair(customers[:20])
    target = train[:, 0] * train[:, 22] + train[:, 3] - np.abs(train[:, 25]) + train[:, 5] * train[:, 28]
    settings = dict(n_estimators=300, num_leaves=31, n_jobs=1, random_state=1, verbose=-1)
    booster = lightgbm.LGBMRegressor(**settings).fit(train, target)
    kind = [("pair", FloatTensorType([None, CUSTOMER_COLUMNS + ITEM_COLUMNS]))]
    onnx.save(convert_lightgbm(booster, initial_types=kind, target_opset=15), "forest.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession("forest.onnx", options, providers=["CPUExecutionProvider"])
    block = pair(customers[:8])

    def step():
        top(session.run(None, {"pair": block})[0].reshape(8, ITEMS))
        return len(block)

    show("300 trees of 31 leaves", ours("forest.onnx", customers, items), f"onnxruntime {onnxruntime.__version__}", rate(step))


towers()
forest()
