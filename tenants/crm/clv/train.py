"""Trains the CLV regressor on the CDNOW purchases and prints its held-out error beside two baselines.

usage: python train.py [ORDERS.parquet]     (writes model.onnx beside this file)

Protocol: features from purchases up to 1997-09-30 only, target = dollars spent from 1997-10-01 to
1998-06-30. One customer in five, chosen by a hash of the id, is never trained on; every printed error
is theirs. The number of trees is chosen by early stopping on a second fifth. The shipped model is the
measured one: it is not refitted on the held-out customers.
"""

import pathlib
import sys

import duckdb
import numpy as np
import onnx
import onnxruntime
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

HERE = pathlib.Path(__file__).parent
ORDERS = HERE / "../../../deploy/demo/lake/crm/cdnow/orders.parquet"
SEED = 19970930
TREES_MAX = 300
EARLY_STOPPING_ROUNDS = 30

# features.sql in DuckDB's dialect, same columns in the same order.
FEATURES = """
SELECT
  customer_id,
  min(days_ago) AS recency_days,
  max(days_ago) AS tenure_days,
  count(*) AS frequency,
  sum(amount_usd) AS monetary_usd,
  avg(amount_usd) AS order_mean_usd,
  max(amount_usd) AS order_max_usd,
  stddev_samp(amount_usd) AS order_deviation_usd,
  (max(days_ago) - min(days_ago))::DOUBLE / nullif(count(*) - 1, 0) AS gap_mean_days,
  sum(cds)::BIGINT AS cds,
  count(*) FILTER (days_ago < 30) AS orders_30d,
  count(*) FILTER (days_ago < 90) AS orders_90d,
  count(*) FILTER (days_ago < 270) AS orders_270d,
  coalesce(sum(amount_usd) FILTER (days_ago < 30), 0) AS spend_30d_usd,
  coalesce(sum(amount_usd) FILTER (days_ago < 90), 0) AS spend_90d_usd,
  coalesce(sum(amount_usd) FILTER (days_ago < 270), 0) AS spend_270d_usd
FROM (SELECT *, date_diff('day', ordered_at, DATE '1997-09-30') AS days_ago FROM orders)
WHERE days_ago >= 0
GROUP BY customer_id
ORDER BY customer_id
"""

TARGET = """
SELECT customer_id, coalesce(sum(amount_usd) FILTER (ordered_at BETWEEN DATE '1997-10-01' AND DATE '1998-06-30'), 0) AS spend
FROM orders GROUP BY customer_id ORDER BY customer_id
"""


def fold(customer_id: np.ndarray) -> np.ndarray:
    """A stable fifth (0..4) for each customer: the finaliser of splitmix64 over the id."""
    z = customer_id.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(5)).astype(int)


def gini(actual: np.ndarray, score: np.ndarray) -> float:
    """Gini of the ranking by `score`, divided by that of the perfect ranking, so that perfect is 1.

    Tied scores take the mean of their actual values, so the order of the rows cannot flatter a model.
    """

    def area(by: np.ndarray) -> float:
        _, group = np.unique(-by, return_inverse=True)
        mean = np.bincount(group, actual) / np.bincount(group)
        lorenz = np.cumsum(mean[np.sort(group)]) / actual.sum()
        return float(np.sum(lorenz) - (len(actual) + 1) / 2)

    return area(score) / area(actual)


def recency_frequency_cells(recency: np.ndarray, frequency: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The marketer's heuristic: five recency bands by five frequency bands (1, 2, 3, 4-6, 7+)."""
    return np.searchsorted(edges, recency) * 5 + np.searchsorted([1.5, 2.5, 3.5, 6.5], frequency)


def main() -> None:
    lake = duckdb.connect(config={"threads": 1})
    orders = sys.argv[1] if len(sys.argv) > 1 else str(ORDERS)
    lake.execute("CREATE VIEW orders AS SELECT * FROM read_parquet(?)".replace("?", f"'{orders}'"))
    table = lake.sql(FEATURES).to_arrow_table()
    columns = table.column_names[1:]
    ids = table["customer_id"].to_numpy()
    features = np.column_stack(
        [table[name].cast("float64").to_numpy(zero_copy_only=False) for name in columns]
    ).astype(np.float32)
    target = lake.sql(TARGET).to_arrow_table()
    assert (target["customer_id"].to_numpy() == ids).all()
    spend = target["spend"].to_numpy()

    folds = fold(ids)
    held_out, validation, fitting = folds == 0, folds == 1, folds > 1
    training = ~held_out

    model = xgboost.XGBRegressor(
        objective="reg:squarederror",
        n_estimators=TREES_MAX,
        max_depth=4,
        learning_rate=0.03,
        min_child_weight=40,
        subsample=0.7,
        colsample_bytree=0.6,
        reg_lambda=10.0,
        tree_method="hist",
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
        random_state=SEED,
        n_jobs=1,
    )
    model.fit(features[fitting], spend[fitting], eval_set=[(features[validation], spend[validation])], verbose=False)
    trees = model.best_iteration + 1
    model.set_params(n_estimators=trees, early_stopping_rounds=None)
    model.fit(features[training], spend[training])

    graph = convert_xgboost(model, initial_types=[("features", FloatTensorType([None, len(columns)]))], target_opset=15)
    output = graph.graph.output[0]
    for node in graph.graph.node:
        node.output[:] = ["clv" if name == output.name else name for name in node.output]
    output.name = "clv"
    graph.graph.name = "clv"  # the exporter takes a random one, and two trainings should give the same bytes
    graph.doc_string = "Dollars spent in the 39 weeks after 1997-09-30. Features in order: " + ", ".join(columns)
    onnx.checker.check_model(graph)
    encoded = graph.SerializeToString()
    (HERE / "model.onnx").write_bytes(encoded)

    session = onnxruntime.InferenceSession(encoded, providers=["CPUExecutionProvider"])
    scores = session.run(["clv"], {"features": features})[0].reshape(-1)
    drift = np.abs(scores - model.predict(features)).max()
    assert drift < 1e-2, f"the exported graph differs from the trained model by {drift}"

    recency, frequency = features[:, columns.index("recency_days")], features[:, columns.index("frequency")]
    edges = np.quantile(recency[training], [0.2, 0.4, 0.6, 0.8])
    cells = recency_frequency_cells(recency, frequency, edges)
    known = np.bincount(cells[training], minlength=25)
    cell_mean = np.where(
        known > 0,
        np.bincount(cells[training], spend[training], minlength=25) / np.maximum(known, 1),
        spend[training].mean(),
    )

    actual = spend[held_out]
    print(f"customers {len(ids)}, held out {held_out.sum()}, mean spend held out {actual.mean():.2f} USD")
    print(f"trees {trees}, features {len(columns)}, model.onnx {len(encoded)} bytes, export difference {drift:.1e}")
    print(f"{'':24}{'RMSE':>8}{'MAE':>8}{'Gini':>8}")
    for name, predicted in [
        ("mean", np.full(held_out.sum(), spend[training].mean())),
        ("recency-frequency cells", cell_mean[cells[held_out]]),
        ("model", np.maximum(scores[held_out].astype(np.float64), 0)),
    ]:
        error = predicted - actual
        print(f"{name:24}{np.sqrt(np.mean(error**2)):8.2f}{np.mean(np.abs(error)):8.2f}{gini(actual, predicted):8.3f}")


if __name__ == "__main__":
    main()
