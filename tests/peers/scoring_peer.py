"""What `cameo bench scoring` and `bench explain` measure Cameo against: ONNX Runtime and the trainers' own libraries.

usage: scoring_peer.py MODELS_DIR, as scoring_models.py filled it

Reads one request per line from standard input and answers each with one line, both JSON, so that the caller can take
turns with it. CPU seconds are those of all threads of this process.

  {"do": "load", "model": NAME, "threads": N}
  {"do": "score", "with": "onnxruntime" | "native", "batch": ROWS, "seconds": S}   rows, cpu_seconds, wall_seconds
  {"do": "outputs", "rows": N}                           scores of the first rows, last output of the graph, last column
  {"do": "explain", "rows": N, "to": PATH}               writes contributions and the base value as little-endian doubles
  {"do": "covers"}                                        training rows by tree and node, preorder, the true branch first
"""

import json
import pathlib
import pickle
import sys
import time

import lightgbm
import numpy as np
import onnxruntime
import sklearn
import xgboost

# Exporters get declared shapes wrong; a warning for each call would be charged as work.
onnxruntime.set_default_logger_severity(3)
folder = pathlib.Path(sys.argv[1])
models = {model["name"]: model for model in json.loads((folder / "models.json").read_text())}


class Model:
    def __init__(self, name, threads):
        known = models[name]
        self.rows = np.fromfile(folder / f"{name}.f32", "<f4").reshape(-1, known["width"])
        self.kind = known["library"]
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that spin between two calls would be charged as work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(folder / f"{name}.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.native = known["native"] and self.load_native(folder / known["native"])

    def load_native(self, path):
        if self.kind == "xgboost":
            booster = xgboost.Booster(model_file=str(path))
            booster.set_param({"nthread": self.threads})
            return booster
        if self.kind == "lightgbm":
            return lightgbm.Booster(model_file=str(path))
        estimator = pickle.loads(path.read_bytes())
        if hasattr(estimator, "n_jobs"):
            estimator.n_jobs = self.threads
        return estimator

    def score(self, engine, rows):
        if engine == "onnxruntime":
            return self.session.run(self.outputs, {self.input: rows})
        if self.kind == "xgboost":
            return self.native.inplace_predict(rows)
        if self.kind == "lightgbm":
            return self.native.predict(rows, num_threads=self.threads)
        return self.native.predict_proba(rows)

    def contributions(self, rows):
        """One column per feature and the base value last."""
        if self.kind == "xgboost":
            return self.native.predict(xgboost.DMatrix(rows, nthread=self.threads), pred_contribs=True)
        return self.native.predict(rows, pred_contrib=True, num_threads=self.threads)


def covers(model):
    if model.kind == "lightgbm":

        def below(node):
            if "leaf_value" in node:
                return [node["leaf_count"]]
            return [node["internal_count"], *below(node["left_child"]), *below(node["right_child"])]

        return [below(tree["tree_structure"]) for tree in model.native.dump_model()["tree_info"]]
    trees = json.loads(model.native.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]

    def below_of(tree, node):
        left, right = tree["left_children"][node], tree["right_children"][node]
        cover = tree["sum_hessian"][node]
        return [cover] if left == -1 else [cover, *below_of(tree, left), *below_of(tree, right)]

    return [below_of(tree, 0) for tree in trees]


def score(model, request):
    batch, work = request["batch"], lambda rows: model.score(request["with"], rows)
    parts = [model.rows[at : at + batch] for at in range(0, len(model.rows) - batch + 1, batch)]
    work(parts[0])
    count, cpu, wall = 0, time.process_time(), time.perf_counter()
    while time.process_time() - cpu < request["seconds"]:
        # Few enough calls between two looks at the clock, many enough that looking costs nothing.
        for _ in range(1 if batch > 1 else 100):
            work(parts[count % len(parts)])
            count += 1
    return {
        "rows": count * batch,
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }


def explain(model, request):
    rows = model.rows[: request["rows"]]
    model.contributions(rows[:4])
    cpu, wall = time.process_time(), time.perf_counter()
    found = model.contributions(rows)
    answer = {"rows": len(rows), "cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    np.asarray(found, "<f8").tofile(request["to"])
    return answer


versions = {
    "onnxruntime": onnxruntime.__version__,
    "xgboost": xgboost.__version__,
    "lightgbm": lightgbm.__version__,
    "scikit-learn": sklearn.__version__,
}
print(json.dumps(versions), flush=True)
loaded = {}
model = None
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "load":
        wanted = request["model"], request["threads"]
        model = loaded.get(wanted) or loaded.setdefault(wanted, Model(*wanted))
        answer = {"native": model.native is not None}
    elif request["do"] == "score":
        answer = score(model, request)
    elif request["do"] == "outputs":
        last = model.score("onnxruntime", model.rows[: request["rows"]])[-1]
        answer = {"scores": np.asarray(last).reshape(request["rows"], -1)[:, -1].astype(float).tolist()}
    elif request["do"] == "covers":
        answer = {"trees": covers(model)}
    else:
        answer = explain(model, request)
    print(json.dumps(answer), flush=True)
