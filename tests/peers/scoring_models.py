"""Trains the five models of `cameo bench scoring` and `bench explain`, and writes them as ONNX beside their native files.

usage: scoring_models.py OUT_DIR

For each model: NAME.onnx, rows to score as NAME.f32 (little-endian floats, row by row), and the model in the trainer's
own format. models.json lists them.
"""

import json
import pathlib
import pickle
import sys

import lightgbm
import numpy as np
import xgboost
from onnx import TensorProto, checker, helper, numpy_helper
from onnxmltools.convert import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as TreeInput
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

OPERATORS = 15
ROWS_SCORED = 65_536
THREADS = 2

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
listed = []


def customers(width, rows_trained, seed):
    """Rows to train on with their classes, and rows to score. A third of the columns are counts and amounts with ties."""
    features, classes = make_classification(
        rows_trained + ROWS_SCORED,
        width,
        n_informative=width // 2,
        n_redundant=width // 4,
        class_sep=0.6,
        flip_y=0.05,
        random_state=seed,
    )
    features = features.astype(np.float32)
    features[:, ::3] = np.round(np.exp(np.clip(features[:, ::3], -4, 4)))
    return features[:rows_trained], classes[:rows_trained], features[rows_trained:]


def write(name, title, model, rows, library, native):
    (out / f"{name}.onnx").write_bytes(model.SerializeToString())
    rows.astype("<f4").tofile(out / f"{name}.f32")
    listed.append({"name": name, "title": title, "width": rows.shape[1], "library": library, "native": native})
    print(f"{name}: {(out / f'{name}.onnx').stat().st_size:,} bytes", flush=True)


def sklearn_model(name, title, estimator, rows, last):
    with open(out / f"{name}.pickle", "wb") as file:
        pickle.dump(estimator, file)
    given = [("features", FloatTensorType([None, rows.shape[1]]))]
    model = convert_sklearn(estimator, initial_types=given, options={id(last): {"zipmap": False}}, target_opset=OPERATORS)
    write(name, title, model, rows, "scikit-learn", f"{name}.pickle")


features, classes, rows = customers(40, 60_000, seed=1)
boosted = xgboost.XGBClassifier(n_estimators=300, max_depth=6, learning_rate=0.1, n_jobs=THREADS).fit(features, classes)
boosted.save_model(out / "xgboost.json")
model = convert_xgboost(boosted, initial_types=[("features", TreeInput([None, 40]))], target_opset=OPERATORS)
write("xgboost", "XGBoost 300×6, 40 features", model, rows, "xgboost", "xgboost.json")

features, classes, rows = customers(60, 60_000, seed=2)
boosted = lightgbm.LGBMClassifier(n_estimators=500, num_leaves=31, learning_rate=0.05, n_jobs=THREADS, verbose=-1)
boosted.fit(features, classes)
boosted.booster_.save_model(out / "lightgbm.txt")
given = [("features", TreeInput([None, 60]))]
model = convert_lightgbm(boosted, initial_types=given, target_opset=OPERATORS, zipmap=False)
write("lightgbm", "LightGBM 500×31, 60 features", model, rows, "lightgbm", "lightgbm.txt")

features, classes, rows = customers(40, 30_000, seed=3)
forest = RandomForestClassifier(200, max_depth=12, n_jobs=THREADS, random_state=0).fit(features, classes)
sklearn_model("forest", "random forest 200×12, 40 features", forest, rows, forest)
pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(features, classes)
sklearn_model("logistic", "scaler and logistic regression, 40 features", pipeline, rows, pipeline.steps[-1][1])

draws = np.random.default_rng(0)
layers, constants, value = (64, 256, 128, 1), [], "features"
nodes = []
for index, (width, units) in enumerate(zip(layers, layers[1:])):
    weights = (draws.normal(size=(units, width)) / np.sqrt(width)).astype(np.float32)
    biases = (draws.normal(size=units) * 0.1).astype(np.float32)
    constants += [
        numpy_helper.from_array(weights, f"weights_{index}"),
        numpy_helper.from_array(biases, f"biases_{index}"),
    ]
    nodes.append(helper.make_node("Gemm", [value, f"weights_{index}", f"biases_{index}"], [f"sum_{index}"], transB=1))
    last = index == len(layers) - 2
    value = "score" if last else f"layer_{index}"
    nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"sum_{index}"], [value]))
graph = helper.make_graph(
    nodes,
    "network",
    [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", layers[0]])],
    [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPERATORS)], ir_version=8)
checker.check_model(model)
write("network", "network 64-256-128-1", model, draws.normal(size=(ROWS_SCORED, layers[0])), None, None)

(out / "models.json").write_text(json.dumps(listed, indent=1))
