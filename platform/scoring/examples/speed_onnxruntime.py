"""Rows per CPU second of ONNX Runtime on one thread, for the tree ensemble that `speed.rs` measures.

Usage: python speed_onnxruntime.py MODEL INPUTS.f32. Draws inputs around the model's own thresholds, so that every
branch is taken, and writes them to INPUTS.f32 for `speed.rs`.
"""

import collections
import sys
import time

import numpy as np
import onnx
import onnxruntime

ROWS = 1 << 16

model_path, inputs_path = sys.argv[1:]
node = next(n for n in onnx.load(model_path).graph.node if n.op_type.startswith("TreeEnsemble"))
attributes = {a.name: a for a in node.attribute}
thresholds = collections.defaultdict(list)
for feature, mode, value in zip(
    attributes["nodes_featureids"].ints, attributes["nodes_modes"].strings, attributes["nodes_values"].floats
):
    if mode != b"LEAF":
        thresholds[feature].append(value)

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
width = given.shape[1] if isinstance(given.shape[1], int) else max(thresholds) + 1
random = np.random.default_rng(0)
rows = np.zeros((ROWS, width), np.float32)
for feature, values in thresholds.items():
    rows[:, feature] = random.choice(values, ROWS) * random.uniform(0.9, 1.1, ROWS)
rows[random.random(rows.shape) < 0.02] = np.nan
rows.tofile(inputs_path)

for batch in (1024, 8192, ROWS):
    session.run(None, {given.name: rows[:batch]})
    best = 0.0
    for _ in range(3):
        scored, start = 0, time.process_time()
        while time.process_time() - start < 1.0:
            for at in range(0, ROWS, batch):
                session.run(None, {given.name: rows[at : at + batch]})
                scored += batch
        best = max(best, scored / (time.process_time() - start))
    print(f"onnxruntime {onnxruntime.__version__}, batches of {batch:>6}: {best:>12,.0f} rows per CPU second")
