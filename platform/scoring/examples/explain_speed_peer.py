"""Rows per CPU second of the trainers' own exact TreeSHAP on one thread, beside `explain_speed.rs`.

Usage: python explain_speed_peer.py NATIVE INPUTS.f32 WIDTH, where NATIVE is an XGBoost .json or a LightGBM .txt.
"""

import sys
import time

import numpy as np

ROWS = 256
native, inputs, width = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = np.fromfile(inputs, np.float32).reshape(-1, width)[:ROWS]

if native.endswith(".json"):
    import xgboost

    booster = xgboost.Booster(model_file=native)
    booster.set_param({"nthread": 1})
    matrix = xgboost.DMatrix(rows, nthread=1)
    explain = lambda: booster.predict(matrix, pred_contribs=True)
    name = f"xgboost {xgboost.__version__} pred_contribs"
else:
    import lightgbm

    booster = lightgbm.Booster(model_file=native)
    explain = lambda: booster.predict(rows, pred_contrib=True, num_threads=1)
    name = f"lightgbm {lightgbm.__version__} pred_contrib"

explain()
best = 0.0
for _ in range(3):
    start = time.process_time()
    explain()
    best = max(best, len(rows) / (time.process_time() - start))
print(f"{name}: {best:,.0f} rows per CPU second")
