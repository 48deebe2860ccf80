"""Trains the gender classifier on generated customers and prints its held-out quality.

usage: python train.py     (writes model.onnx beside this file)

deploy/demo/customers.sql makes the customers; only here is its hidden gender read, as the label. The
first 200,000 customers are trained on, the next 100,000 measured.

The graph takes one [N, 1] tensor per feature column, named like the column, and holds its whole
preparation: a missing value (NaN) becomes the training mean, counts and amounts are taken as
log(1 + x), everything is standardised. Only core ai.onnx operators.
"""

import pathlib

import duckdb
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

HERE = pathlib.Path(__file__).parent
CUSTOMERS = HERE / "../../../deploy/demo/customers.sql"
ROWS_TRAINED, ROWS_MEASURED = 200_000, 100_000
OPSET = 15

COLUMNS = [
    "birth_year", "beauty_views", "electronics_views", "sports_views", "home_views",
    "purchases", "basket_mean_jpy", "night_share", "app_opens", "coupon_used",
]  # fmt: skip
LOGARITHMIC = {
    "beauty_views", "electronics_views", "sports_views", "home_views", "purchases", "basket_mean_jpy", "app_opens",
}  # fmt: skip


def customers(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Features [rows, 10] in float32, NaN where unknown, and the hidden gender (1 = male)."""
    script = CUSTOMERS.read_text().replace("{customers}", str(rows))
    lake = duckdb.connect(config={"threads": 1})
    lake.execute(script[: script.index("COPY (")])
    table = lake.sql("SELECT *, has_used_coupon::INTEGER AS coupon_used FROM customers ORDER BY user_id").to_arrow_table()
    features = [table[name].cast("float64").to_numpy(zero_copy_only=False) for name in COLUMNS]
    return np.column_stack(features).astype(np.float32), table["is_male"].cast("int8").to_numpy()


def graph(fill: np.ndarray, mean: np.ndarray, deviation: np.ndarray, weights: np.ndarray, intercept: float) -> onnx.ModelProto:
    """The classifier as ONNX: one input per column, outputs in percent."""
    constants, nodes, prepared = [], [], []

    def constant(name: str, values: np.ndarray | float) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    one, hundred = constant("one", [[1.0]]), constant("hundred", [[100.0]])
    for position, name in enumerate(COLUMNS):
        value = name
        if name in LOGARITHMIC:
            value = node("Log", [node("Add", [value, one], f"{name}_plus_one")], f"{name}_log")
        missing = node("IsNaN", [value], f"{name}_missing")
        prepared.append(node("Where", [missing, constant(f"{name}_fill", [[fill[position]]]), value], f"{name}_filled"))
    matrix = node("Concat", prepared, "matrix", axis=1)
    centred = node("Sub", [matrix, constant("mean", mean[None, :])], "centred")
    scaled = node("Div", [centred, constant("deviation", deviation[None, :])], "scaled")
    product = node("MatMul", [scaled, constant("weights", weights[:, None])], "product")
    logit = node("Add", [product, constant("intercept", [[intercept]])], "logit")

    # Each share from its own exponential: 100 - male would lose the digits of a small female share in float32,
    # and runtimes approximate Sigmoid differently in its tails.
    def percent(exponent: str, output: str) -> None:
        odds = node("Exp", [exponent], f"{output}_odds_against")
        node("Div", [hundred, node("Add", [odds, one], f"{output}_whole")], output)

    percent(node("Neg", [logit], "logit_negated"), "male_percentile")
    percent(logit, "female_percentile")

    def port(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1])

    body = helper.make_graph(
        nodes, "gender", [port(name) for name in COLUMNS], [port("male_percentile"), port("female_percentile")], constants
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="train.py")
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    features, is_male = customers(ROWS_TRAINED + ROWS_MEASURED)
    prepared = features.copy()
    for position, name in enumerate(COLUMNS):
        if name in LOGARITHMIC:
            prepared[:, position] = np.log1p(features[:, position])
    training = slice(0, ROWS_TRAINED)
    mean, deviation = np.nanmean(prepared[training], axis=0), np.nanstd(prepared[training], axis=0)
    scaled = np.nan_to_num((prepared - mean) / deviation)  # a gap takes the mean, which is 0 here
    model = LogisticRegression(C=1.0, max_iter=1000).fit(scaled[training], is_male[training])

    encoded = graph(mean, mean, deviation, model.coef_[0], float(model.intercept_[0])).SerializeToString()
    (HERE / "model.onnx").write_bytes(encoded)

    session = onnxruntime.InferenceSession(encoded, providers=["CPUExecutionProvider"])
    feed = {name: features[:, [position]] for position, name in enumerate(COLUMNS)}
    male, female = (output.reshape(-1) for output in session.run(["male_percentile", "female_percentile"], feed))
    drift = np.abs(male / 100 - model.predict_proba(scaled)[:, 1]).max()
    assert drift < 1e-5, f"the graph differs from the trained model by {drift}"
    assert np.abs(male + female - 100).max() < 1e-4

    measured = slice(ROWS_TRAINED, None)
    actual, score = is_male[measured], male[measured]
    guess = score >= 50
    print(f"trained on {ROWS_TRAINED}, measured on {ROWS_MEASURED}, male {actual.mean():.3f}, model.onnx {len(encoded)} bytes")
    print(f"ROC AUC {roc_auc_score(actual, score):.4f} (constant guess 0.5)")
    print(f"accuracy {accuracy_score(actual, guess):.4f} (always the larger group {max(actual.mean(), 1 - actual.mean()):.4f})")
    print(f"precision {precision_score(actual, guess):.4f}, recall {recall_score(actual, guess):.4f} for male at 50 percent")
    for low in range(0, 100, 20):
        chosen = (score >= low) & (score < low + 20)
        print(f"  predicted {low:2}-{low + 20:3} %: {chosen.sum():6} customers, male {100 * actual[chosen].mean():5.1f} %")
    print("weights " + ", ".join(f"{name} {weight:+.2f}" for name, weight in zip(COLUMNS, model.coef_[0])))


if __name__ == "__main__":
    main()
