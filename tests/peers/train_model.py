"""Trains the regressor of the peer measurement (300 trees, depth 6, 15 features) and writes it as ONNX.

usage: train_model.py DATA_DIR OUT.onnx
"""

import pathlib
import sys

import duckdb
import numpy as np
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

ROWS_TRAINED = 100_000

data, out = sys.argv[1:3]
lake = duckdb.connect()
lake.execute(f"CREATE VIEW orders AS SELECT * FROM '{data}/orders.parquet'")
query = pathlib.Path(__file__).with_name("features.sql").read_text()
# In the order of the key, so that the first rows are the same ones each time.
table = lake.sql(query).order("customer_id").to_arrow_table()
columns = [table.column(i).to_numpy().astype(np.float32) for i in range(1, table.num_columns)]
features = np.nan_to_num(np.column_stack(columns))[:ROWS_TRAINED]
spend_365d = features[:, table.column_names.index("spend_365d") - 1]
target = (spend_365d * 4 + np.random.default_rng(0).gamma(2, 20, len(features))).astype(np.float32)
model = xgboost.XGBRegressor(n_estimators=300, max_depth=6, learning_rate=0.05, n_jobs=2).fit(features, target)
graph = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, features.shape[1]]))])
# Cameo binds an output to the prediction column of its name; the peer takes the last output, whatever its name.
output = graph.graph.output[0]
for node in graph.graph.node:
    node.output[:] = ["clv" if name == output.name else name for name in node.output]
output.name = "clv"
pathlib.Path(out).write_bytes(graph.SerializeToString())
